"""Every query about sources, their runs and their items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.ingest import CreateSource, ExportedSource, RunStatus, Source, SourceRun
from sqlalchemy import and_, case, delete, func, or_, select, text, true, update
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_ingest.adapters.source_tables import source_items, source_runs, sources
from docutalk_ingest.adapters.sources.item import Item, Validators
from docutalk_ingest.adapters.tables import documents, versions
from docutalk_ingest.adapters.tombstones import NOBODY, admit

GOING_ON = (RunStatus.QUEUED, RunStatus.RUNNING)
KEPT_RUNS = 200
NO_RUN = UUID(int=0)
COLLECTED = "collected"
FAILED = "failed"

_SOURCE = [sources.c[name] for name in Source.model_fields if name in sources.c]
_RUN = [source_runs.c[name] for name in SourceRun.model_fields]


@dataclass(frozen=True)
class KnownItem:
    """What is known of an item from this and earlier runs."""

    validators: Validators
    content_hash: str | None
    document_id: UUID | None
    last_seen_run: UUID
    removed: bool
    """Somebody deleted its document."""


@dataclass(frozen=True)
class NewSource:
    """A source that is to be added; one that was made elsewhere says when."""

    described: CreateSource | ExportedSource
    config: Mapping[str, Any]
    next_run_at: datetime | None

    def row(self) -> dict[str, Any]:
        """Its columns, but for its workspace and who made it."""
        made = self.described if isinstance(self.described, ExportedSource) else None
        return {
            **self.described.model_dump(mode="json", include={"kind", "name", "schedule"}),
            "source_id": self.described.source_id,
            "config": dict(self.config),
            "next_run_at": self.next_run_at,
            "paused": made.paused if made else False,
            "listed": 0,
            "created_at": made.created_at if made else func.now(),
            "updated_at": func.now(),
        }


@dataclass(frozen=True)
class Unlinked:
    """A document of a source of which no item tells: it was imported. `sha256` and `object_key` are of its newest version."""

    document_id: UUID
    filename: str
    origin: str
    sha256: str
    object_key: str
    content_type: str


@dataclass(frozen=True)
class Appointment:
    """A source that is to run at a time."""

    workspace_id: UUID
    source_id: UUID
    at: datetime


class SourceRepository:
    """Sources, within the transaction of `session`. A deleted source is found nowhere but where that is said."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    # --- sources

    async def add(self, request: CreateSource, config: Mapping[str, Any], next_run_at: datetime | None) -> bool:
        """False when the id is taken. Raises `WorkspaceErased`."""
        new = NewSource(request, config, next_run_at)
        return bool(await self.add_all(request.workspace_id, request.created_by, [new]))

    async def add_all(self, workspace_id: UUID, created_by: UUID, new: Sequence[NewSource]) -> list[UUID]:
        """The ids of those whose ids were not taken. Raises `WorkspaceErased`."""
        if await admit(self._session, [workspace_id], [created_by]):
            created_by = NOBODY
        about = {"workspace_id": workspace_id, "created_by": created_by}
        statement = insert(sources).on_conflict_do_nothing().returning(sources.c.source_id)
        added: list[UUID] = []
        # One by one: a configuration may have a megabyte.
        for source in new:
            added += await self._session.scalars(statement.values(**source.row(), **about))
        return added

    async def lock(self, source_id: UUID, workspace_id: UUID | None = None) -> Source | None:
        """The source without its last run; no other transaction changes it, or collects for it, until this one ends."""
        which = and_(sources.c.source_id == source_id, sources.c.deleted_at.is_(None))
        if workspace_id is not None:
            which = and_(which, sources.c.workspace_id == workspace_id)
        row = (await self._session.execute(select(*_SOURCE).where(which).with_for_update())).mappings().one_or_none()
        return Source.model_validate(dict(row)) if row else None

    async def change(self, source_id: UUID, **values: Any) -> None:
        """Sets columns of a source that is locked."""
        await self._session.execute(
            update(sources).where(sources.c.source_id == source_id).values(updated_at=func.now(), **values)
        )

    async def get(self, workspace_id: UUID, source_id: UUID) -> Source | None:
        """The source as the API shows it."""
        found = await self._shown(and_(sources.c.workspace_id == workspace_id, sources.c.source_id == source_id), 1, 1)
        return found[0] if found else None

    async def find(self, workspace_id: UUID, *, page: int, per_page: int) -> tuple[list[Source], int]:
        """A page of sources, newest first, and how many there are in all."""
        which = sources.c.workspace_id == workspace_id
        total = await self._session.scalar(select(func.count()).select_from(sources).where(which, sources.c.deleted_at.is_(None)))
        return await self._shown(which, page, per_page), total or 0

    async def _shown(self, which: Any, page: int, per_page: int) -> list[Source]:
        statement = (
            select(*_SOURCE)
            .where(which, sources.c.deleted_at.is_(None))
            .order_by(sources.c.created_at.desc(), sources.c.source_id.desc())
            .limit(per_page)
            .offset((page - 1) * per_page)
        )
        rows = (await self._session.execute(statement)).mappings().all()
        ids = [row["source_id"] for row in rows]
        last = select(*_RUN).where(source_runs.c.source_id.in_(ids)).ext(distinct_on(source_runs.c.source_id))
        last = last.order_by(source_runs.c.source_id, source_runs.c.queued_at.desc(), source_runs.c.run_id.desc())
        runs = {row["source_id"]: SourceRun.model_validate(dict(row)) for row in (await self._session.execute(last)).mappings()}
        counted = (
            select(documents.c.source_id, func.count())
            .where(documents.c.source_id.in_(ids), documents.c.deleted_at.is_(None))
            .group_by(documents.c.source_id)
        )
        counts = {row[0]: row[1] for row in await self._session.execute(counted)}
        return [
            Source.model_validate(
                {**row, "last_run": runs.get(row["source_id"]), "document_count": counts.get(row["source_id"], 0)}
            )
            for row in rows
        ]

    async def count_documents(self, source_id: UUID) -> int:
        """How many documents the source has."""
        which = and_(documents.c.source_id == source_id, documents.c.deleted_at.is_(None))
        return await self._session.scalar(select(func.count()).select_from(documents).where(which)) or 0

    async def remove(self, source_id: UUID) -> None:
        """Forgets a source with its runs and items. Documents that are left are nobody's."""
        await self._session.execute(update(documents).where(documents.c.source_id == source_id).values(source_id=None))
        await self._session.execute(delete(sources).where(sources.c.source_id == source_id))

    async def doomed_documents(self, most: int) -> tuple[UUID, UUID, UUID | None, list[UUID]] | None:
        """A source that was deleted with its documents: its workspace, its id, who did it, and some of what is left of them."""
        row = (
            await self._session.execute(
                select(sources.c.workspace_id, sources.c.source_id, sources.c.deleted_by)
                .where(sources.c.deleted_at.is_not(None))
                .order_by(sources.c.deleted_at)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
        ).one_or_none()
        if row is None:
            return None
        left = select(documents.c.document_id).where(documents.c.source_id == row.source_id, documents.c.deleted_at.is_(None))
        return row.workspace_id, row.source_id, row.deleted_by, list(await self._session.scalars(left.limit(most)))

    # --- when they are due

    async def to_set(self, *, overdue_before: datetime, most: int = 5000) -> list[Appointment]:
        """Sources for which the server's clock is not set to their next run, or did not go off for longer than it should."""
        statement = (
            select(sources.c.workspace_id, sources.c.source_id, sources.c.next_run_at)
            .where(
                sources.c.next_run_at.is_not(None),
                sources.c.deleted_at.is_(None),
                or_(sources.c.armed_at.is_distinct_from(sources.c.next_run_at), sources.c.next_run_at < overdue_before),
            )
            .order_by(sources.c.next_run_at)
            .limit(most)
        )
        return [Appointment(*row) for row in await self._session.execute(statement)]

    async def note_set(self, appointments: Sequence[Appointment]) -> list[Appointment]:
        """The server has taken these; what was changed since is set again. Returns those whose source will not run any more."""
        for appointment in appointments:
            await self._session.execute(
                update(sources)
                .where(sources.c.source_id == appointment.source_id, sources.c.next_run_at == appointment.at)
                .values(armed_at=appointment.at)
            )
        ids = [appointment.source_id for appointment in appointments]
        which = and_(sources.c.source_id.in_(ids), sources.c.next_run_at.is_not(None), sources.c.deleted_at.is_(None))
        running = set(await self._session.scalars(select(sources.c.source_id).where(which)))
        return [appointment for appointment in appointments if appointment.source_id not in running]

    # --- runs

    async def add_run(self, source: Source, trigger: Literal["created", "manual", "schedule"]) -> SourceRun | None:
        """A run that waits for its work. None while another one is going on."""
        statement = (
            insert(source_runs)
            .values(
                run_id=uuid7(),
                source_id=source.source_id,
                workspace_id=source.workspace_id,
                trigger=trigger,
                status=RunStatus.QUEUED,
                queued_at=func.clock_timestamp(),
            )
            .on_conflict_do_nothing()
            .returning(*_RUN)
        )
        row = (await self._session.execute(statement)).mappings().one_or_none()
        if row is None:
            return None
        old = select(source_runs.c.run_id).where(source_runs.c.source_id == source.source_id)
        old = old.order_by(source_runs.c.queued_at.desc()).offset(KEPT_RUNS)
        await self._session.execute(delete(source_runs).where(source_runs.c.run_id.in_(old)))
        return SourceRun.model_validate(dict(row))

    async def begin_run(self, run_id: UUID) -> SourceRun | None:
        """The run, now running, also when it was before: its worker died. None when it has come to its end."""
        statement = (
            update(source_runs)
            .where(source_runs.c.run_id == run_id, source_runs.c.status.in_(GOING_ON))
            .values(status=RunStatus.RUNNING, started_at=func.coalesce(source_runs.c.started_at, func.now()))
            .returning(*_RUN)
        )
        row = (await self._session.execute(statement)).mappings().one_or_none()
        return SourceRun.model_validate(dict(row)) if row else None

    async def hold_running(self, run_id: UUID) -> UUID | None:
        """Whose source it is, if the run is still wanted; it is neither paused nor deleted until this transaction ends."""
        statement = (
            select(sources.c.created_by)
            .select_from(sources.join(source_runs, sources.c.source_id == source_runs.c.source_id))
            .where(
                source_runs.c.run_id == run_id,
                source_runs.c.status == RunStatus.RUNNING,
                sources.c.paused.is_(False),
                sources.c.deleted_at.is_(None),
            )
            .with_for_update(of=sources, read=True)
        )
        created_by: UUID | None = await self._session.scalar(statement)
        return created_by

    async def note_found(self, run_id: UUID, found: int) -> None:
        """How many items the run will look at."""
        await self._session.execute(update(source_runs).where(source_runs.c.run_id == run_id).values(found=found))

    async def count(self, run_id: UUID, what: Literal["new", "changed", "unchanged", "failed"], by: int = 1) -> None:
        """So many more items came to this end."""
        column = source_runs.c[what]
        await self._session.execute(update(source_runs).where(source_runs.c.run_id == run_id).values({column: column + by}))

    async def finish_run(self, run_id: UUID, status: RunStatus, reason: str | None) -> SourceRun | None:
        """The run at its end; `done` with nothing but failures is `failed`. None when it had come to one before, or its source
        is gone."""
        in_vain = and_(source_runs.c.failed > 0, source_runs.c.failed == source_runs.c.found)
        statement = (
            update(source_runs)
            .where(source_runs.c.run_id == run_id, source_runs.c.status.in_(GOING_ON))
            .values(
                status=case((in_vain, RunStatus.FAILED), else_=status) if status == RunStatus.DONE else status,
                reason=reason,
                finished_at=func.now(),
            )
            .returning(*_RUN)
        )
        row = (await self._session.execute(statement)).mappings().one_or_none()
        return SourceRun.model_validate(dict(row)) if row else None

    async def cancel_run(self, source_id: UUID, reason: str) -> SourceRun | None:
        """Ends the run that is going on, if there is one: also one whose work was lost."""
        statement = select(source_runs.c.run_id).where(source_runs.c.source_id == source_id, source_runs.c.status.in_(GOING_ON))
        run_id = await self._session.scalar(statement)
        return await self.finish_run(run_id, RunStatus.CANCELLED, reason) if run_id is not None else None

    async def runs(self, source_id: UUID, *, page: int, per_page: int) -> tuple[list[SourceRun], int]:
        """A page of runs, newest first, and how many there are in all."""
        which = source_runs.c.source_id == source_id
        statement = select(*_RUN).where(which).order_by(source_runs.c.queued_at.desc(), source_runs.c.run_id.desc())
        rows = (await self._session.execute(statement.limit(per_page).offset((page - 1) * per_page))).mappings().all()
        total = await self._session.scalar(select(func.count()).select_from(source_runs).where(which))
        return [SourceRun.model_validate(dict(row)) for row in rows], total or 0

    # --- items

    async def listing(self, source_id: UUID) -> tuple[Validators, int]:
        """What the host of the list said at the last run without a failure, and how many items there were."""
        row = (
            await self._session.execute(
                select(sources.c.etag, sources.c.last_modified, sources.c.listed).where(sources.c.source_id == source_id)
            )
        ).one()
        return Validators(row.etag, row.last_modified), row.listed

    async def items(self, source_id: UUID) -> dict[str, KnownItem]:
        """Every item by its key."""
        statement = (
            select(
                source_items,
                and_(source_items.c.document_id.is_not(None), documents.c.document_id.is_(None)).label("removed"),
            )
            .select_from(
                source_items.outerjoin(
                    documents,
                    and_(documents.c.document_id == source_items.c.document_id, documents.c.deleted_at.is_(None)),
                )
            )
            .where(source_items.c.source_id == source_id)
        )
        return {
            row["item_key"]: KnownItem(
                Validators(row["etag"], row["last_modified"]),
                row["content_hash"],
                row["document_id"],
                row["last_seen_run"],
                row["removed"],
            )
            for row in (await self._session.execute(statement)).mappings()
        }

    async def unlinked(self, source_id: UUID) -> list[Unlinked]:
        """Documents of the source that none of its items names."""
        linked = select(source_items.c.document_id).where(
            source_items.c.source_id == source_id, source_items.c.document_id == documents.c.document_id
        )
        newest = select(versions).where(versions.c.document_id == documents.c.document_id)
        newest = newest.order_by(versions.c.version.desc()).limit(1)
        file = newest.lateral("file")
        statement = (
            select(
                documents.c.document_id,
                documents.c.filename,
                func.coalesce(documents.c.origin, ""),
                file.c.sha256,
                file.c.object_key,
                file.c.content_type,
            )
            .select_from(documents.join(file, true()))
            .where(documents.c.source_id == source_id, documents.c.deleted_at.is_(None), ~linked.exists())
            .order_by(documents.c.document_id)
        )
        return [Unlinked(*row) for row in await self._session.execute(statement)]

    async def link(self, source_id: UUID, item: Item, document_id: UUID, content_hash: str | None) -> None:
        """The item has a document already, which no run has looked at."""
        values = {
            "document_id": document_id,
            "origin": item.origin,
            "content_hash": content_hash,
            "last_seen_run": NO_RUN,
            "status": COLLECTED,
        }
        await self._session.execute(
            insert(source_items)
            .values(source_id=source_id, item_key=item.key, **values)
            .on_conflict_do_update(
                index_elements=[source_items.c.source_id, source_items.c.item_key],
                set_=values,
                where=source_items.c.document_id.is_(None),
            )
        )

    async def claim(self, run: SourceRun, item: Item, *, validators: Validators, content_hash: str, document_id: UUID) -> bool:
        """Takes an item with new content for this run and this document. False when another worker of the run has done it."""
        values = {
            "document_id": document_id,
            "origin": item.origin,
            "etag": validators.etag,
            "last_modified": validators.last_modified,
            "content_hash": content_hash,
            "last_seen_run": run.run_id,
            "status": COLLECTED,
            "reason": None,
        }
        statement = (
            insert(source_items)
            .values(source_id=run.source_id, item_key=item.key, **values)
            .on_conflict_do_update(
                index_elements=[source_items.c.source_id, source_items.c.item_key],
                set_=values,
                where=source_items.c.last_seen_run != run.run_id,
            )
            .returning(source_items.c.item_key)
        )
        return await self._session.scalar(statement) is not None

    async def note_failed(self, source_id: UUID, run_id: UUID, item: Item, reason: str) -> bool:
        """The item was not to be had in this run; what is known of it stays. False when this run has done it already."""
        values = {"origin": item.origin, "last_seen_run": run_id, "status": FAILED, "reason": reason}
        statement = (
            insert(source_items)
            .values(source_id=source_id, item_key=item.key, **values)
            .on_conflict_do_update(
                index_elements=[source_items.c.source_id, source_items.c.item_key],
                set_=values,
                where=source_items.c.last_seen_run != run_id,
            )
            .returning(source_items.c.item_key)
        )
        return await self._session.scalar(statement) is not None

    async def note_unchanged(self, source_id: UUID, run_id: UUID, unchanged: Mapping[str, Validators]) -> int:
        """These items are as they were. Returns how many of them this run had not done yet."""
        done = await self._session.scalars(
            _UNCHANGED,
            {
                "source": source_id,
                "run": run_id,
                "keys": list(unchanged),
                "etags": [validators.etag for validators in unchanged.values()],
                "dates": [validators.last_modified for validators in unchanged.values()],
            },
        )
        return len(done.all())

    async def first_failures(self, source_id: UUID, run_id: UUID) -> list[str]:
        """What went wrong with up to three items of the run."""
        which = and_(
            source_items.c.source_id == source_id, source_items.c.last_seen_run == run_id, source_items.c.status == FAILED
        )
        found = await self._session.scalars(select(source_items.c.reason).where(which).order_by(source_items.c.item_key).limit(3))
        return [reason or "" for reason in found]


_UNCHANGED = text(
    """
    UPDATE source_items i SET last_seen_run = :run, status = 'collected', reason = NULL, etag = u.etag, last_modified = u.date
    FROM unnest(CAST(:keys AS text[]), CAST(:etags AS text[]), CAST(:dates AS text[])) AS u(item_key, etag, date)
    WHERE i.source_id = :source AND i.item_key = u.item_key AND i.last_seen_run <> :run
    RETURNING i.item_key
    """
)
