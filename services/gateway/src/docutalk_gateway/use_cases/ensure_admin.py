"""The first administrator, from settings."""

from __future__ import annotations

from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters import account_repository
from docutalk_gateway.adapters.audit_log import SYSTEM
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.domain import EmailTaken
from docutalk_gateway.use_cases.register_user import add_account


async def ensure_admin(db: Database, passwords: Passwords, *, email: str, password: str) -> bool:
    """Makes the administrator unless the installation has one; several gateways may try at once. Returns whether it was made.

    Whoever is one already keeps their password, and nobody comes back by the settings who was removed or has another address:
    changing the settings is no way to change a password. An account that has the address stays what it is.
    """
    async with db.read() as session:
        if await account_repository.any_administrator(session):
            return False
    hashed = await passwords.hash(password)
    try:
        async with db.transaction(Cause.new()) as tx:
            # Who registers at this moment is not the first.
            await account_repository.lock_first_account(tx.session)
            if await account_repository.any_administrator(tx.session):
                return False
            await add_account(
                tx.session,
                SYSTEM,
                email=email,
                password_hash=hashed,
                display_name="Administrator",
                email_vouched=True,
                is_admin=True,
            )
    except EmailTaken:
        return False
    return True
