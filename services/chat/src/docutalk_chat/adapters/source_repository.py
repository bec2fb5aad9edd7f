"""Queries about citations and the documents behind them, which may change or go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from docutalk_common.contracts.chat import Citation
from sqlalchemy import Row, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_chat.adapters.models import citations, documents

# Between what happens to a document and the storing of an answer that cites it one waits for the other: without this, each could
# look before the other has committed, and the citation would never be marked.
_STORING = text(
    "SELECT pg_advisory_xact_lock_shared(hashtextextended(cited.id, 0))"
    " FROM (SELECT DISTINCT unnest(CAST(:documents AS text[])) AS id ORDER BY id) AS cited"
)
_CHANGING = text("SELECT pg_advisory_xact_lock(hashtextextended(:document, 0))")


async def store_citations(db: AsyncSession, cited: Mapping[UUID, Sequence[Citation]]) -> dict[UUID, list[Citation]]:
    """Stores the citations of some answers, and returns them marked whose document changed or went while the answer was made,
    or on its way here. A mark that one brings stays."""
    ids = {citation.document_id for of_answer in cited.values() for citation in of_answer}
    if not ids:
        return {answer_id: [] for answer_id in cited}
    await db.execute(_STORING, {"documents": [str(one) for one in ids]})
    rows = await db.execute(select(documents).where(documents.c.document_id.in_(ids)))
    known = {row.document_id: row for row in rows}
    marked = {id_: [_mark(citation, known.get(citation.document_id)) for citation in group] for id_, group in cited.items()}
    await db.execute(
        insert(citations),
        [
            {
                "answer_id": answer_id,
                "ordinal": ordinal,
                "start_offset": citation.start,
                "end_offset": citation.end,
                **citation.model_dump(exclude={"start", "end"}),
            }
            for answer_id, group in marked.items()
            for ordinal, citation in enumerate(group)
        ],
    )
    return marked


def _mark(citation: Citation, row: Row[Any] | None) -> Citation:
    if row is None:
        return citation
    changed = row.ready_at if row.version is not None and row.version > citation.version else None
    marks = {
        "source_deleted_at": citation.source_deleted_at or row.deleted_at,
        "source_changed_at": citation.source_changed_at or changed,
    }
    return citation.model_copy(update=marks)


async def mark_source_deleted(db: AsyncSession, workspace_id: UUID, document_id: UUID, deleted_at: datetime) -> int | None:
    """Marks every citation of a document, also those that are stored later. Returns how many there are now; None when the
    deletion is known already."""
    await db.execute(_CHANGING, {"document": str(document_id)})
    added = await db.scalar(
        insert(documents)
        .values(document_id=document_id, workspace_id=workspace_id, deleted_at=deleted_at)
        .on_conflict_do_update(
            index_elements=[documents.c.document_id],
            set_={"workspace_id": workspace_id, "deleted_at": deleted_at},
            where=documents.c.deleted_at.is_(None),
        )
        .returning(documents.c.document_id)
    )
    if added is None:
        return None
    marked = await db.execute(
        update(citations).where(citations.c.document_id == document_id).values(source_deleted_at=deleted_at)
    )
    return int(marked.rowcount)  # type: ignore[attr-defined]


async def mark_source_changed(db: AsyncSession, workspace_id: UUID, document_id: UUID, version: int, ready_at: datetime) -> None:
    """Marks the citations of earlier versions, also those that are stored later. An older version than the one that is known
    changes nothing."""
    await db.execute(_CHANGING, {"document": str(document_id)})
    newer = await db.scalar(
        insert(documents)
        .values(document_id=document_id, workspace_id=workspace_id, version=version, ready_at=ready_at)
        .on_conflict_do_update(
            index_elements=[documents.c.document_id],
            set_={"workspace_id": workspace_id, "version": version, "ready_at": ready_at},
            where=or_(documents.c.version.is_(None), documents.c.version < version),
        )
        .returning(documents.c.document_id)
    )
    if newer is not None:
        await db.execute(
            update(citations)
            .where(
                citations.c.document_id == document_id,
                citations.c.version < version,
                # When the quoted version ceased to be the latest, not when the next one did.
                citations.c.source_changed_at.is_(None),
            )
            .values(source_changed_at=ready_at)
        )


async def citations_of(db: AsyncSession, answer_ids: Iterable[UUID]) -> dict[UUID, list[Citation]]:
    """The citations of some answers, in the order in which they were given."""
    rows = await db.execute(
        select(citations).where(citations.c.answer_id.in_(list(answer_ids))).order_by(citations.c.answer_id, citations.c.ordinal)
    )
    found: dict[UUID, list[Citation]] = defaultdict(list)
    for row in rows:
        found[row.answer_id].append(
            Citation(
                marker=row.marker,
                document_id=row.document_id,
                version=row.version,
                filename=row.filename,
                page=row.page,
                start=row.start_offset,
                end=row.end_offset,
                quote=row.quote,
                source_deleted_at=row.source_deleted_at,
                source_changed_at=row.source_changed_at,
            )
        )
    return found
