"""Invitations: links by which people come into a workspace, or to an account. Made by owners and by administrators."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from docutalk_common.errors import NotFound
from fastapi import APIRouter, Path, Request, Response

from docutalk_gateway.adapters import account_repository, models, repository
from docutalk_gateway.adapters.tokens import hash_token
from docutalk_gateway.api import account_shapes, shapes
from docutalk_gateway.api.context import Caller, Member, Page, Paging, SignedIn, gateway_of
from docutalk_gateway.api.links import link_to
from docutalk_gateway.use_cases.accept_invitation import accept_invitation as join
from docutalk_gateway.use_cases.accept_invitation import find_invitation
from docutalk_gateway.use_cases.create_invitation import create_invitation
from docutalk_gateway.use_cases.withdraw_invitation import withdraw_invitation

# No `Idempotency-Key`: the stored answer to replay would hold the token in clear, and an invitation works once by itself.
router = APIRouter(tags=["invitations"])

_OF_WORKSPACE = "/workspaces/{workspace_id}/invitations"
_OF_ACCOUNTS = "/admin/invitations"
Token = Annotated[str, Path(max_length=200, description="The token of an invitation")]


@router.post(_OF_WORKSPACE, status_code=201)
async def add_invitation(
    request: Request, access: Member, body: account_shapes.NewInvitation
) -> account_shapes.CreatedInvitation:
    """Makes a link by which one person becomes a member, for as long as you may make one. Owners only. Whether somebody has an
    account already makes no difference, and is not told."""
    stored, token = await create_invitation(
        access.gateway.db,
        access.cause,
        access.actor,
        invited_by=access.user_id,
        email=body.email,
        lifetime=timedelta(hours=body.expires_in_hours),
        workspace_id=access.workspace_id,
        role=body.role,
    )
    return _created(request, stored, token)


@router.get(_OF_WORKSPACE)
async def list_invitations(access: Member, page: Page) -> shapes.Listing[account_shapes.Invitation]:
    """The links that have not been used and have not expired, newest first. Owners only."""
    return await _listing(access, access.workspace_id, page)


@router.delete(_OF_WORKSPACE + "/{invitation_id}", status_code=204, response_class=Response)
async def remove_invitation(access: Member, invitation_id: UUID) -> None:
    """Withdraws a link that has not been used. Owners only."""
    db = access.gateway.db
    await withdraw_invitation(db, access.cause, access.actor, workspace_id=access.workspace_id, invitation_id=invitation_id)


@router.post(_OF_ACCOUNTS, status_code=201)
async def add_account_invitation(
    request: Request, caller: SignedIn, body: account_shapes.NewAccountInvitation
) -> account_shapes.CreatedInvitation:
    """Makes a link by which one person registers, also while registration is closed."""
    stored, token = await create_invitation(
        caller.gateway.db,
        caller.cause,
        caller.actor,
        invited_by=caller.user_id,
        email=body.email,
        lifetime=timedelta(hours=body.expires_in_hours),
    )
    return _created(request, stored, token)


@router.get(_OF_ACCOUNTS)
async def list_account_invitations(caller: SignedIn, page: Page) -> shapes.Listing[account_shapes.Invitation]:
    """The links to an account, and to no workspace, that have not been used and have not expired, newest first."""
    return await _listing(caller, None, page)


@router.delete(_OF_ACCOUNTS + "/{invitation_id}", status_code=204, response_class=Response)
async def remove_account_invitation(caller: SignedIn, invitation_id: UUID) -> None:
    """Withdraws a link to an account that has not been used."""
    await withdraw_invitation(caller.gateway.db, caller.cause, caller.actor, workspace_id=None, invitation_id=invitation_id)


@router.get("/invited/{token}")
async def get_invited(request: Request, token: Token) -> account_shapes.Invited:
    """What an invitation is. Who has no account registers with its token, who has one signs in and accepts it."""
    async with gateway_of(request).db.read() as session:
        return account_shapes.Invited.of(await find_invitation(session, hash_token(token)))


@router.post("/invited/{token}/accept")
async def accept_invitation(caller: SignedIn, token: Token) -> shapes.Workspace:
    """Makes you a member, and uses the invitation up. If you are one with a higher role already, you keep it."""
    async with caller.gateway.db.read() as session:
        user = await repository.user_by_id(session, caller.user_id)
    if user is None:
        raise NotFound("This account does not exist any more.")
    workspace, role = await join(caller.gateway.db, caller.cause, caller.actor, user=user, token=token)
    return shapes.Workspace.of(workspace, role)


def _created(request: Request, stored: models.Invitation, token: str) -> account_shapes.CreatedInvitation:
    shown = account_shapes.Invitation.of(stored).model_dump()
    return account_shapes.CreatedInvitation(**shown, token=token, link=link_to(request, f"/invited/{token}"))


async def _listing(caller: Caller, workspace_id: UUID | None, page: Paging) -> shapes.Listing[account_shapes.Invitation]:
    async with caller.gateway.db.read() as session:
        found, total = await account_repository.invitations_of(session, workspace_id, offset=page.offset, limit=page.per_page)
    items = [account_shapes.Invitation.of(invitation) for invitation in found]
    return shapes.Listing(items=items, total=total, page=page.page, per_page=page.per_page)
