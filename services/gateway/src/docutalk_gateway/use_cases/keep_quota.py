"""What a workspace may hold and how often it may be asked, looked at where something is added to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from docutalk_common.contracts.ingest import GetUsage, WorkspaceUsage
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.telemetry import get_logger
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import quota_repository, repository
from docutalk_gateway.adapters.erasure_repository import hold_workspace
from docutalk_gateway.adapters.models import Workspace
from docutalk_gateway.adapters.quota_repository import QUESTIONS, STORAGE
from docutalk_gateway.domain import NO_LIMITS, Limits, QuestionsUsedUp, QuotaExceeded, WorkspaceArchived

log = get_logger(__name__)

USAGE_SECONDS = 2.0
NOTHING = WorkspaceUsage()


async def hold_open(session: AsyncSession, workspace_id: UUID, user_id: UUID) -> Workspace:
    """To be called before something is added to a workspace in somebody's name; see `hold_workspace`. Raises `NotFound` and
    `WorkspaceArchived`."""
    workspace = await hold_workspace(session, workspace_id, user_id)
    if workspace is None:
        raise NotFound("There is no such workspace.")
    if workspace.archived_at is not None:
        raise WorkspaceArchived
    return workspace


@dataclass(frozen=True)
class Room:
    """What a workspace may hold, and what is in ingest. Without limits nothing is counted."""

    workspace_id: UUID
    limits: Limits = NO_LIMITS
    there: WorkspaceUsage = NOTHING

    async def lock(self, session: AsyncSession) -> None:
        """To be called before anything is added: of two who add at once the second counts what the first added."""
        if self.limits.are_of_storage:
            await quota_repository.lock_count(session, self.workspace_id, STORAGE)

    async def check(self, session: AsyncSession, *, new_documents: bool = True) -> None:
        """To be called when it is added: raises `QuotaExceeded` when it is too much, and it must be taken back then. Without
        `new_documents` only bytes were added: a limit that was lowered since is not in the way of those that are there."""
        if not self.limits.are_of_storage:
            return
        uploaded = await quota_repository.uploaded(session, self.workspace_id)
        if new_documents:
            _check("documents", self.limits.max_documents, uploaded.documents + self.there.collected_documents)
        # Superseded versions are forgotten here after a day, and kept there.
        older = max(0, self.there.older_bytes - uploaded.older_bytes)
        _check("bytes", self.limits.max_bytes, uploaded.bytes + older + self.there.collected_bytes)


def _check(what: str, most: int | None, held: int) -> None:
    if most is not None and held > most:
        raise QuotaExceeded(
            f"The limit of {what} of this workspace is {most:,}, and it would hold {held:,}. Nothing of this request was stored."
            " Delete documents that nobody needs, or let an administrator raise the limit."
        )


@dataclass(frozen=True)
class StorageQuota:
    """Where limits are known from: the workspace's own, and else those of `defaults`."""

    db: Database
    requests: RequestClient
    defaults: Limits
    cause: Cause

    async def room_of(self, workspace_id: UUID) -> Room:
        """To be asked before a transaction. Of what sources brought, and of older versions, ingest tells; while it is away that
        is not counted: an upload is accepted then, too."""
        async with self.db.read() as session:
            workspace = await repository.workspace_by_id(session, workspace_id)
        if workspace is None:
            raise NotFound("There is no such workspace.")
        limits = quota_repository.limits_of(workspace, self.defaults)
        return Room(workspace_id, limits, await self._there(workspace_id) if limits.are_of_storage else NOTHING)

    async def _there(self, workspace_id: UUID) -> WorkspaceUsage:
        question = GetUsage(workspace_id=workspace_id)
        try:
            return await self.requests.ask(
                "rpc.ingest.v1.workspace.usage", question, WorkspaceUsage, cause=self.cause, timeout=USAGE_SECONDS
            )
        except RequestFailed as error:
            log.info("what is in ingest is not counted now", workspace_id=str(workspace_id), reason=str(error))
            return NOTHING


async def limit_questions(session: AsyncSession, workspace: Workspace, defaults: Limits) -> None:
    """To be called when a question is stored. Raises `QuestionsUsedUp` when it is one too many; it must be taken back then."""
    most = quota_repository.limits_of(workspace, defaults).max_questions_per_day
    if most is None:
        return
    await quota_repository.lock_count(session, workspace.id, QUESTIONS)
    today = start_of_day()
    if await quota_repository.questions_since(session, workspace.id, today) > most:
        ends = today + timedelta(days=1)
        raise QuestionsUsedUp(most, max(1.0, (ends - datetime.now(UTC)).total_seconds()))


def start_of_day() -> datetime:
    """The last midnight, UTC, from which a day's questions are counted."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
