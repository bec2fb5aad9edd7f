"""A link that lets somebody in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters import account_repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.models import Invitation
from docutalk_gateway.adapters.tokens import hash_token, new_token
from docutalk_gateway.domain import Role


async def create_invitation(
    db: Database,
    cause: Cause,
    actor: Actor,
    *,
    invited_by: UUID,
    email: str | None,
    lifetime: timedelta,
    workspace_id: UUID | None = None,
    role: Role | None = None,
) -> tuple[Invitation, str]:
    """What is stored, and the token, which cannot be had again. Whether there is an account with `email` makes no difference."""
    token = new_token()
    invitation = Invitation(
        id=uuid7(),
        token_hash=hash_token(token),
        email=email,
        workspace_id=workspace_id,
        role=role.value if role is not None else None,
        invited_by=invited_by,
        expires_at=datetime.now(UTC) + lifetime,
    )
    async with db.transaction(cause) as tx:
        await account_repository.add_invitation(tx.session, invitation)
        note(tx.session, Action.INVITED, actor, workspace_id=workspace_id, target_id=invitation.id, role=invitation.role)
    return invitation, token
