"""Whether somebody who was let in would still be: asked again by what stays open."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import repository, share_repository
from docutalk_gateway.use_cases.identify_caller import Credentials, Grant


async def still_enters(session: AsyncSession, credentials: Credentials, workspace_id: UUID) -> bool:
    """Whether the sign-in, the key or the visit still holds, and still leads into this workspace."""
    now = datetime.now(UTC)
    if credentials.grant is not None:
        return await _still_shared(session, credentials.user_id, credentials.grant, now)
    if credentials.sign_in_id is not None:
        user = await repository.signed_in_user(session, credentials.sign_in_id)
    else:
        user = await repository.user_of_key(session, credentials.key_id, now) if credentials.key_id is not None else None
    return user is not None and await repository.workspace_of(session, workspace_id, user.id) is not None


async def _still_shared(session: AsyncSession, visit_id: UUID, grant: Grant, now: datetime) -> bool:
    share = await share_repository.share_of_visit(session, visit_id, now)
    return share is not None and grant.permissions.issubset(share.permissions)
