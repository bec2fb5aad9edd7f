"""Every query that erases: first a mark that keeps whatever comes late out, then some sessions at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from uuid import UUID

from docutalk_common.db import outbox
from sqlalchemy import ColumnElement, delete, exists, func, null, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_chat.adapters.models import answers, citations, documents, erased, messages, sessions, settings

SESSIONS_AT_ONCE = 50
"""With all that was said in them, mostly far less than a second."""

_WORKSPACE_PLACE, _ENTITY_PLACE = 6, 7
"""In the subjects of events."""

# Of two who store something each holds one of the locks that both need, and one who erases waits behind each: in one order.
_STORING = text(
    "SELECT pg_advisory_xact_lock_shared(hashtextextended('owner ' || owner.id, 0))"
    " FROM (SELECT DISTINCT unnest(CAST(:owners AS text[])) AS id ORDER BY id) AS owner"
)
_ERASING = text("SELECT pg_advisory_xact_lock(hashtextextended('owner ' || CAST(:owner AS text), 0))")


@dataclass(frozen=True)
class Erased:
    """What went: how much of each kind, and the ids of the questions. `sessions` is 0 when nothing was left."""

    counts: Counter[str]
    questions: list[UUID]


async def may_store(db: AsyncSession, *owners: UUID) -> bool:
    """Whether something of a workspace, or of a person, may be stored in this transaction: none of the `owners` was erased, and
    the erasure of none begins before the transaction ends. Call it before anything of theirs is locked."""
    await db.execute(_STORING, {"owners": [str(owner) for owner in owners]})
    return not await db.scalar(select(exists().where(erased.c.id.in_(owners))))


async def begin_erasure(db: AsyncSession, owner: UUID) -> bool:
    """Keeps a workspace, or a person, out from the commit on. Waits until everybody has committed who is storing something of
    theirs. False when they were erased, and the receipt was given, before."""
    await db.execute(_ERASING, {"owner": str(owner)})
    await db.execute(insert(erased).values(id=owner, removed={}).on_conflict_do_nothing())
    return await db.scalar(select(erased.c.removed).where(erased.c.id == owner)) is not None


async def erase_sessions(db: AsyncSession, condition: ColumnElement[bool]) -> Erased:
    """Removes up to `SESSIONS_AT_ONCE` of the sessions that meet the condition, with all that belongs to them, and the messages
    about them that wait to be sent."""
    chosen = select(sessions.c.session_id).where(condition).order_by(sessions.c.session_id).limit(SESSIONS_AT_ONCE)
    # The sessions' rows first, as whoever stores an answer takes them.
    ids = list(await db.scalars(chosen.with_for_update()))
    of_sessions = select(answers.c.answer_id).where(answers.c.session_id.in_(ids))
    cited = await db.execute(delete(citations).where(citations.c.answer_id.in_(of_sessions)))
    made = list(await db.scalars(delete(answers).where(answers.c.session_id.in_(ids)).returning(answers.c.answer_id)))
    said = (
        await db.execute(delete(messages).where(messages.c.session_id.in_(ids)).returning(messages.c.message_id, messages.c.role))
    ).all()
    await db.execute(delete(sessions).where(sessions.c.session_id.in_(ids)))
    await db.execute(delete(outbox).where(_in_subject(_ENTITY_PLACE).in_([str(answer_id) for answer_id in made])))
    counts = Counter(sessions=len(ids), messages=len(said), answers=len(made))
    counts["citations"] = int(cited.rowcount)  # type: ignore[attr-defined]
    return Erased(counts, [row.message_id for row in said if row.role == "user"])


async def count_erased(db: AsyncSession, owner: UUID, counts: Counter[str]) -> None:
    """Adds to what is gone so far, in the transaction in which it goes."""
    before = await db.scalar(select(erased.c.removed).where(erased.c.id == owner).with_for_update())
    if before is not None:
        removed = Counter(before)
        removed.update(counts)
        await db.execute(update(erased).where(erased.c.id == owner).values(removed=dict(removed)))


async def erase_rest(db: AsyncSession, workspace_id: UUID) -> Counter[str]:
    """Removes what is left of a workspace without sessions: its settings, what is known of its documents, and the messages about
    it that wait to be sent."""
    known = await db.execute(delete(documents).where(documents.c.workspace_id == workspace_id))
    chosen = await db.execute(delete(settings).where(settings.c.workspace_id == workspace_id))
    await db.execute(delete(outbox).where(_in_subject(_WORKSPACE_PLACE) == str(workspace_id)))
    counts = {"document_marks": known.rowcount, "settings": chosen.rowcount}  # type: ignore[attr-defined]
    return Counter({kind: int(count) for kind, count in counts.items()})


async def end_erasure(db: AsyncSession, owner: UUID) -> dict[str, int] | None:
    """All that was removed; None when somebody else has told it."""
    removed = await db.scalar(select(erased.c.removed).where(erased.c.id == owner).with_for_update())
    await db.execute(update(erased).where(erased.c.id == owner).values(removed=null()))
    return removed


def _in_subject(place: int) -> ColumnElement[str]:
    return func.split_part(outbox.c.subject, ".", place)
