"""The first administrator, from settings."""

from __future__ import annotations

from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters import account_repository, repository
from docutalk_gateway.adapters.audit_log import SYSTEM
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.domain import EmailTaken
from docutalk_gateway.use_cases.register_user import add_account


async def ensure_admin(db: Database, passwords: Passwords, *, email: str, password: str) -> bool:
    """Makes the administrator unless the account exists; several gateways may try at once. Returns whether it was made.

    An existing account keeps its password: changing the setting is no way to change a password.
    """
    async with db.read() as session:
        if await repository.user_by_email(session, email) is not None:
            return False
    hashed = await passwords.hash(password)
    try:
        async with db.transaction(Cause.new()) as tx:
            # Who registers at this moment is not the first.
            await account_repository.lock_first_account(tx.session)
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
