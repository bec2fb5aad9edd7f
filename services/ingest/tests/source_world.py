"""Sources and the running service that collects them, for tests."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from docutalk_common.contracts.ingest import (
    ChangeSource,
    CollectSource,
    CreateSource,
    DeleteSource,
    Document,
    DocumentList,
    GetSource,
    ListDocuments,
    ListRuns,
    RunList,
    RunSource,
    RunStatus,
    Schedule,
    Source,
    SourceKind,
    SourceRemoved,
    SourceRun,
)
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.process import wait_until
from docutalk_ingest.adapters.source_repository import SourceRepository
from docutalk_ingest.adapters.source_tables import sources
from docutalk_ingest.app import ingest
from docutalk_ingest.settings import IngestSettings
from docutalk_local.testing import TestStack
from sqlalchemy import delete

SECONDS = 20.0
ENDED = (RunStatus.DONE, RunStatus.FAILED, RunStatus.CANCELLED)


def source_settings(stack: TestStack, **more: str) -> IngestSettings:
    """The service's own environment, with this machine open for sources and no pause between requests."""
    environment = {
        **stack.service_environment("ingest"),
        "DOCUTALK_SOURCE_ALLOW_NETWORKS": "127.0.0.0/8",
        "DOCUTALK_SOURCE_PAUSE_SECONDS": "0",
        "DOCUTALK_SOURCE_MIN_INTERVAL_SECONDS": "1",
        "DOCUTALK_EXTRACT_SLOTS": "10000",
        **more,
    }
    return IngestSettings.from_environment(environment)


@contextlib.asynccontextmanager
async def collecting(stack: TestStack, **more: str) -> AsyncIterator[Database]:
    """The service in this process. Sources that tests leave behind go: they would run on in the next ones."""
    async with ingest(source_settings(stack, **more)) as db:
        try:
            yield db
        finally:
            async with db.transaction(Cause.new()) as transaction:
                await transaction.session.execute(delete(sources))


async def added(db: Database, kind: SourceKind, config: dict[str, Any], **more: Any) -> tuple[Source, CollectSource]:
    """A source with a queued run, and the work for it, which nobody has sent."""
    next_run_at: datetime | None = more.pop("next_run_at", None)
    request = CreateSource(
        workspace_id=more.pop("workspace_id", None) or uuid4(),
        source_id=uuid4(),
        kind=kind,
        name="A source",
        config=config,
        schedule=more.pop("schedule", None),
        created_by=uuid4(),
    )
    async with db.transaction(Cause.new()) as transaction:
        repository = SourceRepository(transaction.session)
        assert await repository.add(request, config, next_run_at)
        source = await repository.lock(request.source_id)
        assert source is not None
        run = await repository.add_run(source, "created")
        assert run is not None
    return source, CollectSource(workspace_id=source.workspace_id, source_id=source.source_id, run_id=run.run_id)


async def runs_of(db: Database, source_id: UUID) -> list[SourceRun]:
    """The runs of a source, newest first."""
    async with db.read() as session:
        return (await SourceRepository(session).runs(source_id, page=1, per_page=50))[0]


@dataclass
class Sources:
    """The sources of one workspace, as the gateway asks for them."""

    requests: RequestClient
    workspace_id: UUID
    user: UUID

    async def create(self, kind: SourceKind, config: dict[str, Any], schedule: Schedule | None = None) -> Source:
        """A new source; its first run has begun or will."""
        request = CreateSource(
            workspace_id=self.workspace_id,
            source_id=uuid4(),
            kind=kind,
            name="A source",
            config=config,
            schedule=schedule,
            created_by=self.user,
        )
        return await self.requests.ask("rpc.ingest.v1.source.create", request, Source)

    async def get(self, source_id: UUID) -> Source:
        request = GetSource(workspace_id=self.workspace_id, source_id=source_id)
        return await self.requests.ask("rpc.ingest.v1.source.get", request, Source)

    async def change(self, source_id: UUID, **fields: Any) -> Source:
        request = ChangeSource(
            workspace_id=self.workspace_id, source_id=source_id, fields=list(fields), changed_by=self.user, **fields
        )
        return await self.requests.ask("rpc.ingest.v1.source.change", request, Source)

    async def delete(self, source_id: UUID, *, with_documents: bool) -> SourceRemoved:
        request = DeleteSource(
            workspace_id=self.workspace_id, source_id=source_id, with_documents=with_documents, deleted_by=self.user
        )
        return await self.requests.ask("rpc.ingest.v1.source.delete", request, SourceRemoved)

    async def start(self, source_id: UUID) -> SourceRun:
        request = RunSource(workspace_id=self.workspace_id, source_id=source_id, started_by=self.user)
        return await self.requests.ask("rpc.ingest.v1.source.run", request, SourceRun)

    async def runs(self, source_id: UUID) -> list[SourceRun]:
        request = ListRuns(workspace_id=self.workspace_id, source_id=source_id)
        return (await self.requests.ask("rpc.ingest.v1.source.runs", request, RunList)).items

    async def documents(self, source_id: UUID | None = None) -> list[Document]:
        """The documents of a source, or of the workspace, by name."""
        request = ListDocuments(workspace_id=self.workspace_id, source_id=source_id, per_page=100)
        found = await self.requests.ask("rpc.ingest.v1.document.list", request, DocumentList)
        return sorted(found.items, key=lambda document: document.filename)

    async def ended(self, source_id: UUID) -> SourceRun:
        """The newest run, once it has come to its end."""

        async def over() -> bool:
            return (await self.runs(source_id))[0].status in ENDED

        await wait_until(over, seconds=SECONDS, what="the run comes to its end")
        return (await self.runs(source_id))[0]

    async def collected(self, kind: SourceKind, config: dict[str, Any]) -> tuple[Source, SourceRun]:
        """A new source after its first run."""
        source = await self.create(kind, config)
        return source, await self.ended(source.source_id)

    async def again(self, source_id: UUID) -> SourceRun:
        """Another run at its end."""
        await self.start(source_id)
        return await self.ended(source_id)


def counts(run: SourceRun) -> tuple[int, int, int, int, int]:
    """Found, new, changed, unchanged, failed."""
    return run.found, run.new, run.changed, run.unchanged, run.failed
