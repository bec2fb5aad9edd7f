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
from sqlalchemy import ColumnElement, Select, Table, and_, func, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_ingest.adapters.tables import documents

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

    async def _wake_dispatcher(self) -> None:
        """Lets the dispatcher look at once when this transaction is committed."""
        await self._session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": DISPATCH_CHANNEL})
