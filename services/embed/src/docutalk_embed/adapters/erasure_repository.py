"""Every query that erases: first a mark that keeps whatever comes late out, then a piece at a time, each in a transaction of its
own, so that nobody waits long and a process that is killed goes on from where it was."""

# ruff: noqa: S608 - what is put into the statements are constants of this module; values are parameters.
from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from docutalk_common.db import Transaction
from pydantic_core import from_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

CHUNKS_AT_ONCE = 1_000
"""With their vectors and mentions some tenths of a second."""
ROWS_AT_ONCE = 20_000

_OF_WORKSPACE = ("lexemes", "named_places", "configurations", "workspaces")
"""Tables that count what a workspace holds. That with the workspace's row is the last: a switch of the model looks there for
whom to tell."""
_KEY = "hashtextextended('workspace ' || CAST(:workspace_id AS text), 0)"


async def may_store(session: AsyncSession, workspace_id: UUID) -> bool:
    """Whether something of the workspace may be stored in this transaction: it was not erased, and its erasure does not begin
    before the transaction ends. Call it before anything of the workspace is locked."""
    await session.execute(text(f"SELECT pg_advisory_xact_lock_shared({_KEY})"), {"workspace_id": str(workspace_id)})
    return not await is_erased(session, workspace_id)


async def is_erased(session: AsyncSession, workspace_id: UUID) -> bool:
    """Whether the workspace was erased, or is being erased, as this transaction sees it."""
    found = await session.scalar(
        text("SELECT true FROM erased_workspaces WHERE workspace_id = :workspace_id"), {"workspace_id": workspace_id}
    )
    return bool(found)


async def begin_erasure(session: AsyncSession, workspace_id: UUID) -> bool:
    """Keeps the workspace out from the commit on. Waits until everybody has committed who is storing something of it. False
    when it was erased, and its receipt given, before."""
    await session.execute(text(f"SELECT pg_advisory_xact_lock({_KEY})"), {"workspace_id": str(workspace_id)})
    keys = {"workspace_id": workspace_id}
    await session.execute(
        text("INSERT INTO erased_workspaces (workspace_id) VALUES (:workspace_id) ON CONFLICT DO NOTHING"), keys
    )
    open_ = await session.scalar(
        text("SELECT removed IS NOT NULL FROM erased_workspaces WHERE workspace_id = :workspace_id"), keys
    )
    return bool(open_)


async def documents_of(session: AsyncSession, workspace_id: UUID) -> list[UUID]:
    """All documents of a workspace, also those of which only the mark of their deletion is left."""
    found = await session.scalars(
        text("SELECT document_id FROM documents WHERE workspace_id = :workspace_id ORDER BY document_id"),
        {"workspace_id": workspace_id},
    )
    return list(found)


class Erasure:
    """Removes a piece of a workspace that is marked as erased, inside of a transaction that the caller owns."""

    def __init__(self, transaction: Transaction, workspace_id: UUID) -> None:
        self._session = transaction.session
        self._workspace_id = workspace_id

    async def remove_chunks(self, document_ids: Sequence[UUID]) -> bool:
        """Removes up to `CHUNKS_AT_ONCE` chunks of these documents, with their vectors and mentions. Whether some may be left."""
        keys = {"documents": list(document_ids), "limit": CHUNKS_AT_ONCE}
        found = await self._session.scalars(
            text("SELECT chunk_id FROM chunks WHERE document_id = ANY(CAST(:documents AS uuid[])) LIMIT :limit FOR UPDATE"), keys
        )
        chunks = {"chunks": list(found)}
        # They would go with their chunks, but uncounted.
        mentions = await self._run("DELETE FROM mentions WHERE chunk_id = ANY(CAST(:chunks AS uuid[]))", chunks)
        removed = await self._run("DELETE FROM chunks WHERE chunk_id = ANY(CAST(:chunks AS uuid[]))", chunks)
        await self._count({"chunks": removed, "mentions": mentions})
        return removed == CHUNKS_AT_ONCE

    async def remove_documents(self, document_ids: Sequence[UUID]) -> None:
        """Removes what is left of these documents, with their names, when their chunks are gone."""
        keys = {"documents": list(document_ids)}
        await self._run("DELETE FROM index_batches WHERE document_id = ANY(CAST(:documents AS uuid[]))", keys)
        removed = await self._run("DELETE FROM documents WHERE document_id = ANY(CAST(:documents AS uuid[]))", keys)
        await self._count({"documents": removed})

    async def remove_counts(self) -> bool:
        """Removes up to `ROWS_AT_ONCE` rows of each table of words and places, at last what the workspace chose for its
        searches. Whether some may be left."""
        keys = {"workspace_id": self._workspace_id, "limit": ROWS_AT_ONCE}
        for table in _OF_WORKSPACE:
            some = f"SELECT ctid FROM {table} WHERE workspace_id = :workspace_id LIMIT :limit"
            if await self._run(f"DELETE FROM {table} WHERE ctid = ANY(ARRAY({some}))", keys) == ROWS_AT_ONCE:
                return True
        return False

    async def end(self) -> dict[str, int] | None:
        """What was removed, after the messages about the workspace that wait to be sent were removed too. None when somebody
        else has told it."""
        keys = {"workspace_id": self._workspace_id}
        removed = await self._session.scalar(
            text("SELECT CAST(removed AS text) FROM erased_workspaces WHERE workspace_id = :workspace_id FOR UPDATE"), keys
        )
        if removed is None:
            return None
        await self._session.execute(
            text("DELETE FROM outbox WHERE split_part(subject, '.', 6) = :workspace_id"),
            {"workspace_id": str(self._workspace_id)},
        )
        await self._session.execute(text("UPDATE erased_workspaces SET removed = NULL WHERE workspace_id = :workspace_id"), keys)
        return {kind: int(count) for kind, count in from_json(removed).items()}

    async def _run(self, statement: str, parameters: dict[str, Any]) -> int:
        done = await self._session.execute(text(statement), parameters)
        return int(done.rowcount)  # type: ignore[attr-defined]

    async def _count(self, removed: dict[str, int]) -> None:
        """Adds to what is gone so far, in the transaction in which it goes."""
        for kind, count in removed.items():
            await self._session.execute(
                text(
                    "UPDATE erased_workspaces SET removed = removed || jsonb_build_object(CAST(:kind AS text),"
                    " coalesce(CAST(removed ->> CAST(:kind AS text) AS bigint), 0) + CAST(:count AS bigint))"
                    " WHERE workspace_id = :workspace_id"
                ),
                {"kind": kind, "count": count, "workspace_id": self._workspace_id},
            )


async def forget_user(session: AsyncSession, user_id: UUID) -> int:
    """Takes a person's name off the changes of model that they started; how many those were."""
    forgotten = await session.execute(
        text("UPDATE model_changes SET started_by = NULL WHERE started_by = :user_id"), {"user_id": user_id}
    )
    return int(forgotten.rowcount)  # type: ignore[attr-defined]


async def is_first_receipt(session: AsyncSession, consumer: str, erasure_id: UUID) -> bool:
    """Whether this consumer has not told of this erasure yet. The same deletion may come under another message's id, when
    nothing is left to count."""
    added = await session.scalar(
        text("INSERT INTO inbox (consumer, message_id) VALUES (:consumer, :id) ON CONFLICT DO NOTHING RETURNING consumer"),
        {"consumer": consumer, "id": str(erasure_id)},
    )
    return added is not None
