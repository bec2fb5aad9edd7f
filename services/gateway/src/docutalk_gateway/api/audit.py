"""The audit log: who signed in, let somebody in, took something along or deleted it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from docutalk_gateway.adapters import audit_log, models
from docutalk_gateway.adapters.audit_log import Action, ActorKind, EntryFilter
from docutalk_gateway.api.context import Caller, Member, Page, Paging, SignedIn
from docutalk_gateway.api.search_shapes import Moment
from docutalk_gateway.api.shapes import Listing

router = APIRouter(tags=["audit log"])


class AuditEntry(BaseModel):
    """Something that somebody did. `actor_id` is a user's, also when a key acted for them, or that of a visit to a share link;
    `actor_name` is a member's. `target_id` is what it was done to: a workspace, a share link, a user, as `action` says."""

    id: UUID
    at: datetime
    action: Action
    actor: ActorKind
    actor_id: UUID | None
    actor_name: str | None
    workspace_id: UUID | None
    target_id: UUID | None
    details: dict[str, str | int | bool | None]


class FullAuditEntry(AuditEntry):
    """With where it came from; `actor_name` is that of whoever has an account."""

    address: str | None
    user_agent: str | None


@dataclass(frozen=True)
class _Wanted:
    """What both lists may be narrowed to."""

    action: Annotated[Action | None, Query(description="What was done")] = None
    actor_id: Annotated[UUID | None, Query(description="By whom")] = None
    since: Annotated[Moment | None, Query(description="From this moment on")] = None
    until: Annotated[Moment | None, Query(description="Before this moment")] = None

    def within(self, workspace_id: UUID | None) -> EntryFilter:
        return EntryFilter(self.action, self.actor_id, workspace_id, self.since, self.until)


Wanted = Annotated[_Wanted, Depends()]


@router.get("/admin/audit-log")
async def get_audit_log(
    caller: SignedIn, page: Page, wanted: Wanted, workspace_id: UUID | None = None
) -> Listing[FullAuditEntry]:
    """Everything that is audited, newest first."""
    found, total = await _entries(caller, wanted.within(workspace_id), page, members_only=False)
    items = [FullAuditEntry.model_validate(_fields(*pair)) for pair in found]
    return Listing(items=items, total=total, page=page.page, per_page=page.per_page)


@router.get("/workspaces/{workspace_id}/audit-log")
async def get_workspace_audit_log(access: Member, page: Page, wanted: Wanted) -> Listing[AuditEntry]:
    """What was done in a workspace, newest first. Sign-ins are not the business of its owners, and neither is from where its
    members come."""
    found, total = await _entries(access, wanted.within(access.workspace_id), page, members_only=True)
    items = [AuditEntry.model_validate(_fields(*pair)) for pair in found]
    return Listing(items=items, total=total, page=page.page, per_page=page.per_page)


async def _entries(
    caller: Caller, wanted: EntryFilter, page: Paging, *, members_only: bool
) -> tuple[Sequence[tuple[models.AuditEntry, str | None]], int]:
    async with caller.gateway.db.read() as session:
        return await audit_log.entries(session, wanted, members_only=members_only, offset=page.offset, limit=page.per_page)


def _fields(entry: models.AuditEntry, name: str | None) -> dict[str, object]:
    return {
        **{field: getattr(entry, field) for field in FullAuditEntry.model_fields if field != "actor_name"},
        "actor_name": name,
    }
