"""Every query about what workspaces hold and may hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters.models import Member, PostedMessage, Upload, Workspace
from docutalk_gateway.domain import Limits, Role

STORAGE, QUESTIONS = 6, 7
"""What is counted, in the keys of locks: others have 1 to 5."""


@dataclass(frozen=True)
class Held:
    """Documents, and the bytes of all versions of them that are known; `older_bytes` of those that are superseded."""

    documents: int = 0
    bytes: int = 0
    older_bytes: int = 0


NOTHING = Held()


@dataclass(frozen=True)
class WorkspaceAccount:
    """A workspace as an administrator sees it: how much, not what."""

    workspace: Workspace
    owner_ids: list[UUID]
    members: int
    uploaded: Held


def limits_of(workspace: Workspace, defaults: Limits) -> Limits:
    """The limits of a workspace: its own, and else the installation's."""
    own = (workspace.max_documents, workspace.max_bytes, workspace.max_questions_per_day)
    general = (defaults.max_documents, defaults.max_bytes, defaults.max_questions_per_day)
    return Limits(*(general[i] if limit is None else limit for i, limit in enumerate(own)))


async def lock_count(session: AsyncSession, workspace_id: UUID, what: int) -> None:
    """Until the end of the transaction nobody else counts what this workspace holds, and adds to it. `what`: see above."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(str(workspace_id), what))))


async def uploaded(session: AsyncSession, workspace_id: UUID) -> Held:
    """What was uploaded to a workspace, as far as it is not deleted."""
    found = await uploaded_to(session, [workspace_id])
    return found.get(workspace_id, NOTHING)


async def uploaded_to(session: AsyncSession, workspace_ids: Sequence[UUID]) -> dict[UUID, Held]:
    """The same for several; nothing for those without uploads."""
    # Each document has one current version, and to count those is faster than to tell documents apart.
    documents = func.count().filter(Upload.superseded_at.is_(None))
    older = func.coalesce(func.sum(Upload.size).filter(Upload.superseded_at.is_not(None)), 0)
    rows = await session.execute(
        select(Upload.workspace_id, documents, func.sum(Upload.size), older)
        .where(Upload.workspace_id.in_(workspace_ids))
        .group_by(Upload.workspace_id)
    )
    return {row[0]: Held(row[1], int(row[2]), int(row[3])) for row in rows}


async def questions_since(session: AsyncSession, workspace_id: UUID, since: datetime) -> int:
    """How many questions were asked in a workspace."""
    asked = select(func.count()).where(PostedMessage.workspace_id == workspace_id, PostedMessage.created_at >= since)
    return await session.scalar(asked) or 0


async def count_members(session: AsyncSession, workspace_id: UUID) -> int:
    """How many members a workspace has."""
    return await session.scalar(select(func.count()).where(Member.workspace_id == workspace_id)) or 0


async def workspace_accounts(session: AsyncSession, *, offset: int, limit: int) -> tuple[list[WorkspaceAccount], int]:
    """A page of all workspaces, newest first, and how many there are."""
    rows = await session.scalars(select(Workspace).order_by(Workspace.id.desc()).offset(offset).limit(limit))
    total = await session.scalar(select(func.count()).select_from(Workspace))
    return await _accounts(session, list(rows)), total or 0


async def workspace_account(session: AsyncSession, workspace: Workspace) -> WorkspaceAccount:
    """One of them."""
    [account] = await _accounts(session, [workspace])
    return account


async def _accounts(session: AsyncSession, workspaces: Sequence[Workspace]) -> list[WorkspaceAccount]:
    ids = [workspace.id for workspace in workspaces]
    held = await uploaded_to(session, ids)
    members: dict[UUID, list[tuple[UUID, Role]]] = {workspace_id: [] for workspace_id in ids}
    rows = await session.execute(
        select(Member.workspace_id, Member.user_id, Member.role).where(Member.workspace_id.in_(ids)).order_by(Member.user_id)
    )
    for workspace_id, user_id, role in rows:
        members[workspace_id].append((user_id, Role(role)))
    return [
        WorkspaceAccount(
            workspace,
            owner_ids=[user_id for user_id, role in members[workspace.id] if role is Role.OWNER],
            members=len(members[workspace.id]),
            uploaded=held.get(workspace.id, NOTHING),
        )
        for workspace in workspaces
    ]
