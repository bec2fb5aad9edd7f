"""Who is a member of a workspace, as what, and no longer."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from docutalk_gateway.adapters import repository
from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import Member, Page
from docutalk_gateway.api.idempotency import HEADER_PARAMETER, IdempotentRoute
from docutalk_gateway.domain import NotAllowed, Role
from docutalk_gateway.use_cases import remove_member as removal
from docutalk_gateway.use_cases import transfer_ownership as transfer
from docutalk_gateway.use_cases.change_member import change_member

router = APIRouter(tags=["workspaces"], route_class=IdempotentRoute)


class RoleChange(shapes.Body):
    """What a member shall be."""

    role: Role


class NewOwner(shapes.Body):
    """A member who shall own the workspace."""

    user_id: UUID


@router.get("/workspaces/{workspace_id}/members")
async def list_members(access: Member, page: Page) -> shapes.Listing[shapes.Member]:
    """Who is a member, and as what, oldest first."""
    async with access.gateway.db.read() as session:
        found, total = await repository.members_of(session, access.workspace_id, offset=page.offset, limit=page.per_page)
    items = [shapes.Member.of(member, user) for member, user in found]
    return shapes.Listing(items=items, total=total, page=page.page, per_page=page.per_page)


@router.patch("/workspaces/{workspace_id}/members/{user_id}")
async def patch_member(access: Member, user_id: UUID, body: RoleChange) -> shapes.Member:
    """Gives a member another role. Owners only; the last owner stays one."""
    changed = await change_member(
        access.gateway.db, access.cause, access.actor, workspace_id=access.workspace_id, user_id=user_id, role=body.role
    )
    return shapes.Member.of(*changed)


@router.delete("/workspaces/{workspace_id}/members/{user_id}", status_code=204, response_class=Response)
async def remove_member(access: Member, user_id: UUID) -> None:
    """Ends a membership: an owner that of anybody, everybody their own. From the next request on the workspace is closed to them,
    their event streams end within seconds, and so do the share links that they made. The last owner stays."""
    if user_id != access.user_id and access.role is not Role.OWNER:
        raise NotAllowed("Only an owner of this workspace may remove others. You may leave it yourself.")
    await removal.remove_member(access.gateway.db, access.cause, access.actor, workspace_id=access.workspace_id, user_id=user_id)


@router.post("/workspaces/{workspace_id}/owner", openapi_extra={"parameters": [HEADER_PARAMETER]})
async def transfer_ownership(access: Member, body: NewOwner) -> shapes.Workspace:
    """Makes a member an owner in your place; you are an editor then."""
    workspace = await transfer.transfer_ownership(
        access.gateway.db,
        access.cause,
        access.actor,
        workspace_id=access.workspace_id,
        owner_id=access.user_id,
        user_id=body.user_id,
    )
    return shapes.Workspace.of(workspace, Role.EDITOR)
