"""An account with a workspace of its own."""

from __future__ import annotations

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import User, Workspace
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.domain import EmailTaken


async def register_user(
    db: Database,
    passwords: Passwords,
    cause: Cause,
    *,
    email: str,
    password: str,
    display_name: str | None,
    is_admin: bool = False,
) -> User:
    """Makes a user and their default workspace. Raises `EmailTaken`."""
    hashed = await passwords.hash(password)
    user_id = uuid7()
    workspace = Workspace(id=uuid7(), name="My documents", description=None)
    user = User(id=user_id, email=email, password_hash=hashed, display_name=display_name, is_admin=is_admin)
    async with db.transaction(cause) as tx:
        if not await repository.add_user(tx.session, user, workspace):
            raise EmailTaken
        stored = await repository.user_by_id(tx.session, user_id)
        assert stored is not None
        return stored
