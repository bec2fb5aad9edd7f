"""What the queries about a document, its versions, its pages and its batches have in common.

Each change of a document is one conditional `UPDATE`: it holds only for the version (and attempt) it speaks of, never for a
deleted document, and returns nothing where it did not apply. So late, repeated and reordered messages need no further thought
in the use cases.

A transaction that changes a document and its batches changes the document first; the other way about two of them waited for
each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from docutalk_common.contracts.ingest import Document, ExtractDocument, IndexChunks
from docutalk_common.db import Cause
from docutalk_common.telemetry import current_traceparent
from sqlalchemy import ColumnElement, Select, Table, and_, delete, func, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_ingest.adapters.tables import batches, documents

DISPATCH_CHANNEL = "ingest_dispatch"
"""Notified in every transaction that adds work to hand out, or makes room for more."""

SHOWN = [documents.c[name] for name in Document.model_fields if name in documents.c]
"""The columns of a document that others see."""

# For whoever names documents by their ids. Opaque on purpose: a plain `IS NULL` lets the planner take one of the partial indexes,
# and of a table that it has not analysed since 10,000 rows came in at once it takes the wrong one: 8 ms instead of 1.
ALIVE = func.num_nulls(documents.c.deleted_at) == 1


def current(document_id: UUID, version: int, attempt: int | None = None) -> ColumnElement[bool]:
    """That a document exists and is at this version, and at this attempt."""
    which = [documents.c.document_id == document_id, documents.c.version == version, ALIVE]
    if attempt is not None:
        which.append(documents.c.attempt == attempt)
    return and_(*which)


@dataclass(frozen=True)
class WaitingWork:
    """A piece of work that is handed out now, and what led to it."""

    message: ExtractDocument | IndexChunks
    cause: Cause
    traceparent: str | None


def stored_cause(cause: Cause | None) -> dict[str, str | None]:
    """What is kept with a document until its work is handed out."""
    if cause is None:
        return {}
    return {
        "correlation_id": str(cause.correlation_id),
        "causation_id": str(cause.causation_id) if cause.causation_id else None,
        "actor": cause.actor,
        "traceparent": current_traceparent(),
    }


def cause_of(stored: dict[str, str | None]) -> tuple[Cause, str | None]:
    """What led to the work, and the trace it belongs to."""
    correlation, causation = stored.get("correlation_id"), stored.get("causation_id")
    if correlation is None:
        return Cause.new(), None
    cause = Cause(UUID(correlation), UUID(causation) if causation else None, stored.get("actor"))
    return cause, stored.get("traceparent")


def room_in_line(
    table: Table, waiting: ColumnElement[bool], released: ColumnElement[bool], workspace_id: UUID
) -> Select[tuple[bool, int, int]]:
    """Whether anybody waits, how much is in flight in all, and how much of it is of this workspace."""
    mine = func.count().filter(table.c.workspace_id == workspace_id)
    in_flight = select(func.count().label("total"), mine.label("mine")).select_from(table).where(released).subquery()
    return select(
        select(literal(1)).select_from(table).where(waiting).exists().label("waiting"), in_flight.c.total, in_flight.c.mine
    )


class DocumentRows:
    """Documents within the transaction of `session`; base of the repositories."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def _change(self, which: ColumnElement[bool], **values: Any) -> Document | None:
        changed = await self._change_all(which, **values)
        return changed[0] if changed else None

    async def _change_all(self, which: ColumnElement[bool], **values: Any) -> list[Document]:
        statement = update(documents).where(which).values(updated_at=func.now(), **values).returning(*SHOWN)
        return [Document.model_validate(dict(row)) for row in (await self._session.execute(statement)).mappings()]

    async def _one(self, statement: Select[Any]) -> Document | None:
        row = (await self._session.execute(statement)).mappings().one_or_none()
        return Document.model_validate(dict(row)) if row else None

    async def _begin_next_version(self, document_id: UUID) -> None:
        """Of a document whose version has come to its end: the next one that was imported with it waits for its turn."""
        begun = (await self._session.execute(_BEGIN_NEXT, {"document": document_id})).one_or_none()
        if begun is not None:
            await self._session.execute(
                delete(batches).where(batches.c.document_id == document_id, batches.c.version < begun.version)
            )
            await self._wake_dispatcher()

    async def _wake_dispatcher(self) -> None:
        """Lets the dispatcher look at once when this transaction is committed."""
        await self._session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": DISPATCH_CHANNEL})


# As when a new version is uploaded: what was served is served until this one is ready.
_BEGIN_NEXT = text(
    """
    UPDATE documents d SET version = v.version, attempt = 1, content_type = v.content_type, size = v.size, sha256 = v.sha256,
      object_key = v.object_key, status = 'queued', code = NULL, reason = NULL, page_count = NULL, pages_done = 0,
      chunk_count = NULL, chunks_done = 0, batch_count = NULL, metadata = '{}', extractor = NULL, text_hash = NULL,
      password = NULL, unlocked_key = NULL, released_at = NULL, progressed_at = NULL, queued_at = now(), updated_at = now()
    FROM versions v
    WHERE d.document_id = :document AND v.document_id = d.document_id
      AND v.version = (SELECT min(n.version) FROM versions n WHERE n.document_id = d.document_id AND n.version > d.version)
    RETURNING d.version
    """
)
