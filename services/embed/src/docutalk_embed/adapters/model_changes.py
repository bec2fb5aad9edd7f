"""Every query of a change of model: which one is open, how far it is, and what its steps do to the tables.

While a change is open the installation has two models: the serving one, which searches compare with, and the one that follows,
whose vectors are kept up to date as well. Whoever stores chunks shares the lock of the models until the commit; a step that
changes which models there are takes it alone. So the number of missing vectors that a switch counts is true when it commits,
and nobody writes into a table that is about to go.
"""

# ruff: noqa: S608 - what is put into the statements are names of tables, made of numbers; values are parameters.
from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from docutalk_common.contracts.embed import ChangeState, ModelChange
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Transaction
from docutalk_common.errors import RequestFailed
from pgvector import HalfVector
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.adapters.model_registry import ModelRecord, Vectors, find_following, find_serving

CHANGES_CHANNEL = "embed_model_changes"
"""Wakes the filler."""
FIRST = UUID(int=0)
"""The cursor before the first passage."""

_MODELS_LOCK = zlib.crc32(b"models of embed")
# Making or dropping a table of vectors locks the chunks against all who write, a drop also against all who read, and whoever
# comes later waits behind a lock that is waited for. So it is waited for only this long, and asked for again. Less than
# PostgreSQL takes to look for deadlocks (1 s): it is never a search that is told to give way.
_TABLE_LOCK_TIMEOUT = "300ms"
# Batches in flight hold the models' lock; only other batches wait behind a step that waits for it.
_MODELS_LOCK_TIMEOUT = "2s"
_GIVE_WAY_SECONDS = 8.0

_LOCK_NOT_AVAILABLE = "55P03"
_DEADLOCK = "40P01"

T = TypeVar("T")


@dataclass(frozen=True)
class OpenChange:
    """The change that has not ended, and its two models as they are now."""

    change_id: UUID
    from_model: str
    to_model: str
    state: ChangeState
    reason: str | None
    cursor: UUID
    passages_per_second: float | None
    serving: ModelRecord
    following: ModelRecord


@dataclass(frozen=True)
class MissingPassage:
    """A chunk without a vector of a model."""

    chunk_id: UUID
    text: str


async def find_open(session: AsyncSession) -> OpenChange | None:
    """The open change, as this transaction sees it."""
    found = await session.execute(
        text(
            "SELECT c.change_id, f.name, t.name, c.state, c.reason, c.cursor, c.passages_per_second FROM model_changes c"
            " JOIN models f ON f.id = c.from_model JOIN models t ON t.id = c.to_model WHERE c.ended_at IS NULL"
        )
    )
    row = found.first()
    if row is None:
        return None
    change_id, from_model, to_model, state, reason, cursor, rate = row
    following = await find_following(session)
    assert following is not None, "an open change has two models"
    serving = await find_serving(session)
    return OpenChange(change_id, from_model, to_model, ChangeState(state), reason, cursor, rate, serving, following)


async def find_companion(session: AsyncSession) -> ModelRecord | None:
    """The model that follows, if new passages are to get its vectors at once: not while its change is paused or its provider
    is known to be away."""
    waits = await session.scalar(text("SELECT state = 'paused' OR reason IS NOT NULL FROM model_changes WHERE ended_at IS NULL"))
    return await find_following(session) if waits is False else None


async def list_changes(session: AsyncSession, change_id: UUID | None = None) -> list[ModelChange]:
    """All changes, newest first, or the one."""
    found = await session.execute(
        text(
            "SELECT c.change_id, f.name, t.name, c.state, c.reason, c.passages_done, c.passages_total, c.passages_per_second,"
            " c.started_by, c.started_at, c.completed_at, c.switched_at, c.ended_at FROM model_changes c"
            " JOIN models f ON f.id = c.from_model JOIN models t ON t.id = c.to_model"
            " WHERE CAST(:change_id AS uuid) IS NULL OR c.change_id = :change_id"
            " ORDER BY c.started_at DESC, c.change_id DESC"
        ),
        {"change_id": change_id},
    )
    changes = []
    for id_, from_model, to_model, state, reason, done, total, rate, started_by, *times in found:
        moves = rate if state == ChangeState.RUNNING and reason is None and rate else None
        started_at, completed_at, switched_at, ended_at = times
        changes.append(
            ModelChange(
                change_id=id_,
                from_model=from_model,
                to_model=to_model,
                state=ChangeState(state),
                reason=reason,
                passages_done=done,
                passages_total=total,
                passages_per_second=moves,
                eta_seconds=(total - done) / moves if moves else None,
                started_by=started_by,
                started_at=started_at,
                completed_at=completed_at,
                switched_at=switched_at,
                ended_at=ended_at,
            )
        )
    return changes


async def count_missing(session: AsyncSession, model: ModelRecord) -> int:
    """How many chunks have no vector of a model. Every vector has its chunk, so that two counts of one moment tell."""
    found = await session.scalar(text(f"SELECT (SELECT count(*) FROM chunks) - (SELECT count(*) FROM {model.table})"))
    return int(found or 0)


async def find_missing(session: AsyncSession, model: ModelRecord, after: UUID, limit: int) -> list[MissingPassage]:
    """The next chunks, by id, that have no vector of a model."""
    found = await session.execute(
        text(
            # The second bound says nothing new, but lets a merge of both indexes begin there.
            "SELECT c.chunk_id, c.text FROM chunks c WHERE c.chunk_id > :after AND NOT EXISTS"
            f" (SELECT FROM {model.table} e WHERE e.chunk_id = c.chunk_id AND e.chunk_id > :after)"
            " ORDER BY c.chunk_id LIMIT :limit"
        ),
        {"after": after, "limit": limit},
    )
    return [MissingPassage(*row) for row in found]


async def find_leftovers(session: AsyncSession) -> list[int]:
    """Models that have a table of vectors which nobody keeps up to date: their change has ended."""
    found = await session.execute(
        text(
            "SELECT m.id FROM models m WHERE to_regclass('embeddings_' || m.id) IS NOT NULL"
            " AND NOT EXISTS (SELECT FROM serving s WHERE s.model_id = m.id)"
            " AND NOT EXISTS (SELECT FROM model_changes c WHERE c.ended_at IS NULL AND m.id IN (c.from_model, c.to_model))"
        )
    )
    return [int(row[0]) for row in found]


async def patiently(attempt: Callable[[], Awaitable[T]]) -> T:
    """Runs a transaction that asks for a lock without insisting, again and again while others hold it.

    Raises `RequestFailed` (`unavailable`) when they never let go.
    """
    deadline = asyncio.get_running_loop().time() + _GIVE_WAY_SECONDS
    while True:
        try:
            return await attempt()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in (_LOCK_NOT_AVAILABLE, _DEADLOCK):
                raise
            if asyncio.get_running_loop().time() > deadline:
                raise RequestFailed(
                    "unavailable", "the passages are in use without a pause, so that nothing was changed; try again in a moment"
                ) from error
        await asyncio.sleep(random.uniform(0.1, 0.3))  # noqa: S311


class ModelChanges:
    """What changes the models and their tables, inside of a transaction that the caller owns."""

    def __init__(self, transaction: Transaction) -> None:
        self._session = transaction.session

    async def share(self) -> tuple[ModelRecord, ModelRecord | None]:
        """The serving model and the one that follows, which stay what they are until this transaction ends."""
        await self._session.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": _MODELS_LOCK})
        return await find_serving(self._session), await find_following(self._session)

    async def lock(self, change_id: UUID) -> OpenChange | None:
        """Locks a change alone: pausing, resuming and filling need no more. None when it is not the one that is open."""
        await self._session.execute(
            text("SELECT FROM model_changes WHERE change_id = :change_id FOR UPDATE"), {"change_id": change_id}
        )
        change = await find_open(self._session)
        return change if change is not None and change.change_id == change_id else None

    async def lock_models(self) -> None:
        """Waits until everyone has committed who shares the models, and keeps others out. Raises when that takes long."""
        await self._session.execute(text(f"SET LOCAL lock_timeout = '{_MODELS_LOCK_TIMEOUT}'"))
        await self._session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MODELS_LOCK})

    async def begin(self, serving: ModelRecord, to_model: ModelRecord, started_by: UUID | None) -> UUID:
        """A new change with an empty table of vectors. What an earlier change to this model left goes first. Raises when the
        chunks are in use. The models must be locked."""
        await self.drop_vectors(to_model.id)
        await self._session.execute(text("SELECT create_embeddings(CAST(:model AS smallint))"), {"model": to_model.id})
        change_id = uuid7()
        await self._session.execute(
            text(
                "INSERT INTO model_changes (change_id, from_model, to_model, state, passages_total, started_by)"
                " SELECT :change_id, :from_model, :to_model, 'running', count(*), :started_by FROM chunks"
            ),
            {"change_id": change_id, "from_model": serving.id, "to_model": to_model.id, "started_by": started_by},
        )
        await self._wake()
        return change_id

    async def drop_leftovers(self) -> None:
        """Drops the vectors of models whose change has ended. Raises when the chunks are in use."""
        await self.lock_models()  # or a change to such a model might start meanwhile
        for model_id in await find_leftovers(self._session):
            await self.drop_vectors(model_id)

    async def drop_vectors(self, model_id: int) -> None:
        await self._session.execute(text(f"SET LOCAL lock_timeout = '{_TABLE_LOCK_TIMEOUT}'"))
        await self._session.execute(text("SELECT drop_embeddings(CAST(:model AS smallint))"), {"model": model_id})

    async def enter(self, change_id: UUID, state: ChangeState) -> None:
        """Moves an open change on."""
        await self._session.execute(
            text(
                "UPDATE model_changes SET state = :state, reason = NULL,"
                " switched_at = CASE WHEN :state IN ('complete', 'switched') THEN"
                " CASE WHEN :state = 'switched' THEN now() END ELSE switched_at END,"
                " ended_at = CASE WHEN :state IN ('finished', 'cancelled') THEN now() END WHERE change_id = :change_id"
            ),
            {"change_id": change_id, "state": state.value},
        )
        await self._wake()

    async def serve(self, model: ModelRecord) -> list[UUID]:
        """From the commit on searches use this model. Returns the workspaces that have passages."""
        await self._session.execute(text("UPDATE serving SET model_id = :model"), {"model": model.id})
        found = await self._session.execute(text("SELECT workspace_id FROM workspaces WHERE chunk_count > 0 ORDER BY 1"))
        return [row[0] for row in found]

    async def add_vectors(
        self, change: OpenChange, passages: Sequence[MissingPassage], vectors: Vectors, passages_per_second: float
    ) -> None:
        """Stores the vectors of those passages that still exist, and moves the cursor behind them.

        A chunk that is being deleted is left out: waiting for it while others wait for what is locked here could go round in a
        circle. If it stays after all, the next pass finds it.
        """
        added = await self._session.execute(
            text(
                "WITH kept AS MATERIALIZED (SELECT chunk_id, workspace_id, document_id, version FROM chunks"
                " WHERE chunk_id = ANY(CAST(:chunk_ids AS uuid[])) ORDER BY chunk_id FOR KEY SHARE SKIP LOCKED)"
                f" INSERT INTO {change.following.table}"
                " SELECT k.chunk_id, k.workspace_id, k.document_id, k.version, v.embedding FROM kept k"
                " JOIN unnest(CAST(:chunk_ids AS uuid[]), CAST(:vectors AS halfvec[])) AS v (chunk_id, embedding)"
                " USING (chunk_id)"
                " ON CONFLICT DO NOTHING RETURNING chunk_id"
            ),
            {"chunk_ids": [passage.chunk_id for passage in passages], "vectors": [HalfVector(vector) for vector in vectors]},
        )
        await self._session.execute(
            text(
                "UPDATE model_changes SET cursor = :cursor, reason = NULL, passages_per_second = :rate,"
                " passages_done = passages_done + :added, passages_total = greatest(passages_total, passages_done + :added)"
                " WHERE change_id = :change_id"
            ),
            {
                "change_id": change.change_id,
                "cursor": passages[-1].chunk_id,
                "rate": passages_per_second,
                "added": len(added.all()),
            },
        )

    async def measure(self, change: OpenChange) -> int:
        """Brings a change's figures and state up to date; returns how many passages have no vector of the model that follows.

        What is done never gets less, also when documents are deleted: it counts work. The total is that and what is missing.
        """
        counted = await self._session.execute(
            text(f"SELECT (SELECT count(*) FROM chunks), (SELECT count(*) FROM {change.following.table})")
        )
        passages, done = counted.one()
        missing = int(passages - done)
        await self._session.execute(
            text(
                "UPDATE model_changes SET passages_done = greatest(passages_done, :done),"
                " passages_total = greatest(passages_done, :done) + :missing,"
                " reason = CASE WHEN :missing > 0 THEN reason END,"
                " completed_at = CASE WHEN :missing = 0 THEN coalesce(completed_at, now())"
                " WHEN state = 'complete' THEN NULL ELSE completed_at END,"
                " state = CASE WHEN state = 'running' AND :missing = 0 THEN 'complete'"
                " WHEN state = 'complete' AND :missing > 0 THEN 'running' ELSE state END"
                " WHERE change_id = :change_id AND (passages_done < :done"
                " OR passages_total <> greatest(passages_done, :done) + :missing"
                " OR :missing = 0 AND (state = 'running' OR reason IS NOT NULL) OR :missing > 0 AND state = 'complete')"
            ),
            {"change_id": change.change_id, "done": done, "missing": missing},
        )
        return missing

    async def begin_pass(self, change_id: UUID) -> None:
        """Looks at all passages once more."""
        await self._session.execute(
            text("UPDATE model_changes SET cursor = :first WHERE change_id = :change_id"),
            {"change_id": change_id, "first": FIRST},
        )

    async def tell(self, change_id: UUID, reason: str) -> None:
        """Says why nothing moves."""
        await self._session.execute(
            text("UPDATE model_changes SET reason = :reason WHERE change_id = :change_id AND ended_at IS NULL"),
            {"change_id": change_id, "reason": reason},
        )

    async def _wake(self) -> None:
        await self._session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANGES_CHANNEL})
