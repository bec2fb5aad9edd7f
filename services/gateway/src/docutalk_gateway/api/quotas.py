"""What a workspace holds, what it may hold, and all workspaces as an administrator sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from docutalk_common.contracts import ingest
from docutalk_common.errors import NotFound
from fastapi import APIRouter
from pydantic import BaseModel, Field

from docutalk_gateway.adapters import quota_repository, repository
from docutalk_gateway.adapters.quota_repository import WorkspaceAccount
from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import Member, Page, SignedIn
from docutalk_gateway.domain import Limits
from docutalk_gateway.use_cases.change_quota import change_quota
from docutalk_gateway.use_cases.keep_quota import start_of_day

router = APIRouter(tags=["workspaces"])
admin = APIRouter(tags=["operations"])

COUNT_MAX = 2**63 - 1
QUESTIONS_MAX = 2**31 - 1


class WorkspaceLimits(BaseModel):
    """How much a workspace may hold in all, and how often it may be asked from midnight to midnight (UTC); null: no limit."""

    max_documents: int | None
    max_bytes: int | None
    max_questions_per_day: int | None

    @classmethod
    def of(cls, limits: Limits) -> Self:
        """Those that hold."""
        return cls.model_validate(limits, from_attributes=True)


class Usage(BaseModel):
    """`bytes` are of the files of all versions that are kept, `pages` of what is read and found."""

    documents: int
    bytes: int
    pages: int
    sources: int
    questions_today: int
    members: int
    limits: WorkspaceLimits


class QuotaChanges(shapes.Body):
    """What to change; a field that is left out stays. Null: as the installation's settings say."""

    max_documents: Annotated[int, Field(ge=0, le=COUNT_MAX)] | None = None
    max_bytes: Annotated[int, Field(ge=0, le=COUNT_MAX)] | None = None
    max_questions_per_day: Annotated[int, Field(ge=0, le=QUESTIONS_MAX)] | None = None


class AdministeredWorkspace(BaseModel):
    """A workspace without what is its members' own. `own_limits` were set for it, null where none was; `limits` hold. Documents
    and bytes are of what was uploaded; what sources brought comes on top."""

    id: UUID
    created_at: datetime
    archived_at: datetime | None
    owner_ids: list[UUID]
    members: int
    uploaded_documents: int
    uploaded_bytes: int
    own_limits: WorkspaceLimits
    limits: WorkspaceLimits

    @classmethod
    def of(cls, account: WorkspaceAccount, defaults: Limits) -> Self:
        """From the tables."""
        workspace = account.workspace
        return cls(
            id=workspace.id,
            created_at=workspace.created_at,
            archived_at=workspace.archived_at,
            owner_ids=account.owner_ids,
            members=account.members,
            uploaded_documents=account.uploaded.documents,
            uploaded_bytes=account.uploaded.bytes,
            own_limits=WorkspaceLimits.model_validate(workspace, from_attributes=True),
            limits=WorkspaceLimits.of(quota_repository.limits_of(workspace, defaults)),
        )


@router.get("/workspaces/{workspace_id}/usage")
async def get_usage(access: Member) -> Usage:
    """What a workspace holds, how often it was asked today (UTC), and its limits."""
    gateway, workspace_id = access.gateway, access.workspace_id
    question = ingest.GetUsage(workspace_id=workspace_id)
    held = await gateway.broker.requests.ask("rpc.ingest.v1.workspace.usage", question, ingest.WorkspaceUsage, cause=access.cause)
    async with gateway.db.read() as session:
        workspace = await repository.workspace_by_id(session, workspace_id)
        if workspace is None:
            raise NotFound("There is no such workspace.")
        return Usage(
            documents=held.documents,
            bytes=held.bytes,
            pages=held.pages,
            sources=held.sources,
            questions_today=await quota_repository.questions_since(session, workspace_id, start_of_day()),
            members=await quota_repository.count_members(session, workspace_id),
            limits=WorkspaceLimits.of(quota_repository.limits_of(workspace, gateway.settings.limits)),
        )


@admin.get("/admin/workspaces")
async def list_all_workspaces(caller: SignedIn, page: Page) -> shapes.Listing[AdministeredWorkspace]:
    """All workspaces, newest first: how large they are and what they may hold. What they are called, and what is in them, only
    their members see."""
    gateway = caller.gateway
    async with gateway.db.read() as session:
        found, total = await quota_repository.workspace_accounts(session, offset=page.offset, limit=page.per_page)
    items = [AdministeredWorkspace.of(account, gateway.settings.limits) for account in found]
    return shapes.Listing(items=items, total=total, page=page.page, per_page=page.per_page)


@admin.patch("/admin/workspaces/{workspace_id}")
async def patch_quota(caller: SignedIn, workspace_id: UUID, body: QuotaChanges) -> AdministeredWorkspace:
    """Sets what one workspace may hold and how often it may be asked. What is there stays, however much it is."""
    gateway = caller.gateway
    account = await change_quota(
        gateway.db, caller.cause, caller.actor, workspace_id=workspace_id, changes=body.model_dump(exclude_unset=True)
    )
    return AdministeredWorkspace.of(account, gateway.settings.limits)
