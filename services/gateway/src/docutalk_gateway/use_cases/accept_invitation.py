"""Somebody follows an invitation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import account_repository, member_repository, repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.models import Invitation, User, Workspace
from docutalk_gateway.adapters.tokens import hash_token
from docutalk_gateway.domain import Conflict, NotAllowed, Role

_ABOVE = {Role.VIEWER: (Role.EDITOR, Role.OWNER), Role.EDITOR: (Role.OWNER,), Role.OWNER: ()}


@dataclass(frozen=True)
class Invited:
    """An invitation that can be accepted: who invites, and whereto if it is not for an account alone."""

    invitation: Invitation
    inviter: User
    workspace: Workspace | None


def _over() -> NotFound:
    return NotFound("This invitation is not valid (any more). Ask for a new one.")


async def find_invitation(session: AsyncSession, token_hash: bytes, *, email: str | None = None) -> Invited:
    """Raises `NotFound`, the same way for a token that nobody made and for one that is over. With `email`: also `NotAllowed` when
    the invitation is for another address."""
    found = await account_repository.invited(session, token_hash)
    if found is None:
        raise _over()
    invitation = found[0]
    if email is not None and invitation.email is not None and invitation.email.lower() != email.lower():
        raise NotAllowed("This invitation is for another e-mail address. Use that one, or ask for a new invitation.")
    return Invited(*found)


async def accept(session: AsyncSession, actor: Actor, token_hash: bytes, user: User, *, now: datetime) -> Invited:
    """Uses an invitation up for this user, who becomes a member if it names a workspace. Raises as `find_invitation` does."""
    found = await find_invitation(session, token_hash, email=user.email)
    invitation = found.invitation
    if not await account_repository.take_invitation(session, invitation.id, user.id, now):
        raise _over()
    if invitation.workspace_id is not None and invitation.role is not None:
        role = Role(invitation.role)
        await account_repository.join_workspace(session, invitation.workspace_id, user.id, role, above=_ABOVE[role])
        await member_repository.set_first_default(session, invitation.workspace_id, user.id)
    note(
        session,
        Action.INVITATION_ACCEPTED,
        actor,
        workspace_id=invitation.workspace_id,
        target_id=invitation.id,
        role=invitation.role,
    )
    return found


async def accept_invitation(db: Database, cause: Cause, actor: Actor, *, user: User, token: str) -> tuple[Workspace, Role]:
    """Makes somebody who has an account a member, and returns where and as what. A higher role than the invitation's is kept.
    Raises as `find_invitation` does, and `Conflict` for an invitation that only makes accounts."""
    async with db.transaction(cause) as tx:
        found = await accept(tx.session, actor, hash_token(token), user, now=datetime.now(UTC))
        if found.workspace is None:
            raise Conflict("This invitation makes an account, and you have one already. Somebody else may use it.")
        joined = await repository.workspace_of(tx.session, found.workspace.id, user.id)
        assert joined is not None
        return joined
