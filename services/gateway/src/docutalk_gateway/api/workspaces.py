"""Workspaces."""

from __future__ import annotations

from docutalk_common.errors import NotFound
from fastapi import APIRouter, Response

from docutalk_gateway.adapters import repository
from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import Access, Member, Page, SignedIn
from docutalk_gateway.api.idempotency import HEADER_PARAMETER, IdempotentRoute
from docutalk_gateway.domain import Role
from docutalk_gateway.use_cases.archive_workspace import set_archived
from docutalk_gateway.use_cases.change_workspace import change_workspace
from docutalk_gateway.use_cases.create_workspace import create_workspace

router = APIRouter(tags=["workspaces"], route_class=IdempotentRoute)


@router.get("/workspaces")
async def list_workspaces(caller: SignedIn, page: Page) -> shapes.Listing[shapes.Workspace]:
    """The workspaces that you are a member of, oldest first."""
    async with caller.gateway.db.read() as session:
        found, total = await repository.workspaces_of(session, caller.user_id, offset=page.offset, limit=page.per_page)
    items = [shapes.Workspace.of(workspace, role) for workspace, role in found]
    return shapes.Listing(items=items, total=total, page=page.page, per_page=page.per_page)


@router.post("/workspaces", status_code=201, openapi_extra={"parameters": [HEADER_PARAMETER]})
async def add_workspace(caller: SignedIn, body: shapes.NewWorkspace, response: Response) -> shapes.Workspace:
    """Makes a workspace that you own."""
    workspace = await create_workspace(
        caller.gateway.db,
        caller.cause,
        caller.actor,
        owner_id=caller.user_id,
        name=body.name,
        description=body.description,
        system_prompt=body.system_prompt,
    )
    response.headers["Location"] = f"/api/v1/workspaces/{workspace.id}"
    return shapes.Workspace.of(workspace, Role.OWNER)


@router.get("/workspaces/{workspace_id}")
async def get_workspace(access: Member) -> shapes.Workspace:
    """One workspace."""
    async with access.gateway.db.read() as session:
        found = await repository.workspace_of(session, access.workspace_id, access.user_id)
    if found is None:
        raise NotFound("There is no such workspace.")
    return shapes.Workspace.of(*found)


@router.patch("/workspaces/{workspace_id}")
async def patch_workspace(access: Member, body: shapes.WorkspaceChanges) -> shapes.Workspace:
    """Changes its name, description or system prompt. Owners only."""
    changed = await change_workspace(
        access.gateway.db,
        access.cause,
        workspace_id=access.workspace_id,
        user_id=access.user_id,
        changes=body.model_dump(exclude_unset=True),
    )
    return shapes.Workspace.of(*changed)


@router.post("/workspaces/{workspace_id}/archive", openapi_extra={"parameters": [HEADER_PARAMETER]})
async def archive_workspace(access: Member) -> shapes.Workspace:
    """Lets a workspace rest: it can be read, searched, exported, restored and deleted; documents and questions are refused."""
    return await _archive(access, archived=True)


@router.post("/workspaces/{workspace_id}/restore", openapi_extra={"parameters": [HEADER_PARAMETER]})
async def restore_workspace(access: Member) -> shapes.Workspace:
    """Takes up an archived workspace again."""
    return await _archive(access, archived=False)


async def _archive(access: Access, *, archived: bool) -> shapes.Workspace:
    workspace = await set_archived(
        access.gateway.db, access.cause, access.actor, workspace_id=access.workspace_id, archived=archived
    )
    return shapes.Workspace.of(workspace, access.role)
