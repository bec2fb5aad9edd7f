"""An administrator makes others administrators, and lets accounts in or keeps them out."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import account_repository, member_repository, repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.models import User
from docutalk_gateway.domain import Conflict


async def change_user(
    db: Database,
    cause: Cause,
    actor: Actor,
    *,
    user_id: UUID,
    is_admin: bool | None,
    disabled: bool | None,
    email_vouched: bool | None,
) -> User:
    """None leaves it as it is. Who is disabled is let in by nothing from the next request on; their keys work again when they are
    enabled, their sign-ins and share links do not. Raises `NotFound`, and `Conflict` rather than leave the installation without
    administrator."""
    now = datetime.now(UTC)
    async with db.transaction(cause) as tx:
        await account_repository.lock_administrators(tx.session)
        user = await account_repository.lock_account(tx.session, user_id)
        if user is None:
            raise NotFound("There is no such account.")
        if (is_admin is False or disabled) and await account_repository.is_last_administrator(tx.session, user_id):
            raise Conflict("This is the only administrator. Make somebody else one first.")
        if is_admin is not None:
            user.is_admin = is_admin
        if disabled is not None and disabled != (user.disabled_at is not None):
            user.disabled_at = now if disabled else None
        if email_vouched is not None:
            user.email_vouched = email_vouched
        if disabled:
            await repository.end_sign_ins(tx.session, user_id, now)
            await member_repository.revoke_links(tx.session, user_id, now)
        note(
            tx.session,
            Action.USER_CHANGED,
            actor,
            target_id=user_id,
            is_admin=is_admin,
            disabled=disabled,
            email_vouched=email_vouched,
        )
        return user
