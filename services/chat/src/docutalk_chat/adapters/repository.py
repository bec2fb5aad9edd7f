"""Queries about answers, from the question to the stored outcome, and the settings they are made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from docutalk_common.contracts.chat import Answer, AnswerState, ChatSettings
from docutalk_common.contracts.gateway import MessagePosted
from sqlalchemy import and_, case, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from docutalk_chat.adapters.models import answers, messages, sessions, settings, stops
from docutalk_chat.adapters.session_repository import is_superseded, owned, usage_of
from docutalk_chat.adapters.source_repository import citations_of, store_citations
from docutalk_chat.domain.answers import CONTEXT_MESSAGES, AnswerStatus, Turn, title_of
from docutalk_chat.domain.scope import scope_of


@dataclass(frozen=True)
class Begun:
    """An answer as it is found or made. `turns` are the session's last messages, oldest first, ending with the question."""

    is_new: bool
    state: AnswerState
    turns: list[Turn]
    is_stopped: bool = False
    """Somebody wants it to end before it began."""
    settings: ChatSettings = field(default_factory=ChatSettings)

    @property
    def is_final(self) -> bool:
        """Whether the outcome is stored."""
        return self.state.answer is not None or self.state.code is not None


async def begin_answer(db: AsyncSession, posted: MessagePosted) -> Begun | None:
    """Stores the question and its answer to be, unless they are there. None when the session is gone."""
    untitled = and_(sessions.c.title == "", sessions.c.transient.is_(False))
    title = case((untitled, title_of(posted.text) or "…"), else_=sessions.c.title)
    # Also locks the session's row: who deletes it meanwhile waits until the question is stored.
    touched = await db.execute(
        update(sessions)
        .where(owned(posted.workspace_id, posted.user_id, posted.session_id))
        .values(updated_at=func.clock_timestamp(), title=title)
    )
    if touched.rowcount == 0:  # type: ignore[attr-defined]
        return None
    await db.execute(
        insert(messages)
        .values(
            message_id=posted.message_id,
            session_id=posted.session_id,
            role="user",
            text=posted.text,
            selected_text=posted.selected_text,
            scope=scope_of(posted).model_dump(mode="json", exclude_defaults=True) or None,
        )
        .on_conflict_do_nothing()
    )
    added = await db.scalar(
        insert(answers)
        .values(answer_id=posted.answer_id, message_id=posted.message_id, session_id=posted.session_id)
        .on_conflict_do_nothing()
        .returning(answers.c.answer_id)
    )
    return Begun(
        is_new=added is not None,
        is_stopped=bool(await stopped_among(db, [posted.answer_id])),
        state=AnswerState() if added else await _answer_state(db, posted.answer_id),
        turns=await _last_turns(db, posted),
        settings=await chat_settings(db, posted.workspace_id),
    )


async def _last_turns(db: AsyncSession, posted: MessagePosted) -> list[Turn]:
    """The last messages up to the question, of several answers to one question the newest, without empty ones."""
    if posted.turns is not None:
        said = [Turn(turn.role, turn.text) for turn in posted.turns if turn.text.strip()]
        return [*said, Turn("user", posted.text)][-CONTEXT_MESSAGES:]
    asked = select(messages.c.position).where(messages.c.message_id == posted.message_id).scalar_subquery()
    question = aliased(messages)
    place = func.coalesce(question.c.position, messages.c.position)
    rows = await db.execute(
        select(messages.c.role, messages.c.text)
        .outerjoin_from(messages, question, question.c.message_id == messages.c.reply_to)
        .where(
            messages.c.session_id == posted.session_id,
            messages.c.text != "",
            or_(
                and_(messages.c.role == "user", messages.c.position <= asked),
                and_(messages.c.role == "assistant", place < asked, ~is_superseded()),
            ),
        )
        .order_by(place.desc(), messages.c.position.desc())
        .limit(CONTEXT_MESSAGES)
    )
    return [Turn(row.role, row.text) for row in reversed(rows.all())]


async def complete_answer(db: AsyncSession, answer: Answer) -> Answer | None:
    """Stores a whole answer as a message of its session, and returns it as it is stored: with its citations marked whose
    document changed or went meanwhile. None when it is not wanted any more: the session was deleted, or another process
    finished first."""
    # The session's row first, as whoever deletes it takes it: in the other order the two would block each other.
    touched = await db.execute(
        update(sessions).where(sessions.c.session_id == answer.session_id).values(updated_at=func.clock_timestamp())
    )
    if touched.rowcount == 0:  # type: ignore[attr-defined]
        return None
    usage = answer.usage
    updated = await db.execute(
        update(answers)
        .where(answers.c.answer_id == answer.answer_id, answers.c.status == AnswerStatus.ANSWERING)
        .values(
            status=AnswerStatus.COMPLETED,
            supported=answer.supported,
            finished_at=answer.created_at,
            model=answer.model or None,
            input_tokens=usage and usage.input_tokens,
            output_tokens=usage and usage.output_tokens,
            cost_usd=usage and usage.cost_usd,
            markers_removed=answer.markers_removed,
            stopped=answer.stopped,
            truncated=answer.truncated,
        )
    )
    if updated.rowcount == 0:  # type: ignore[attr-defined]
        return None
    await db.execute(
        insert(messages).values(
            message_id=answer.answer_id,
            session_id=answer.session_id,
            role="assistant",
            text=answer.response,
            reply_to=answer.message_id,
            created_at=answer.created_at,
        )
    )
    stored = await store_citations(db, {answer.answer_id: answer.citations})
    return answer.model_copy(update={"citations": stored[answer.answer_id]})


async def fail_answer(db: AsyncSession, answer_id: UUID, code: str, reason: str) -> bool:
    """Stores why there is no answer. False as in `complete_answer`."""
    updated = await db.execute(
        update(answers)
        .where(answers.c.answer_id == answer_id, answers.c.status == AnswerStatus.ANSWERING)
        .values(status=AnswerStatus.FAILED, code=code, reason=reason, finished_at=func.clock_timestamp())
    )
    return bool(updated.rowcount)  # type: ignore[attr-defined]


async def find_answer(db: AsyncSession, workspace_id: UUID, user_id: UUID, answer_id: UUID) -> AnswerState | None:
    """How an answer stands; None when that user has none of that id there."""
    found = await db.scalar(
        select(answers.c.answer_id)
        .join(sessions, sessions.c.session_id == answers.c.session_id)
        .where(owned(workspace_id, user_id), answers.c.answer_id == answer_id)
    )
    return None if found is None else await _answer_state(db, answer_id)


async def _answer_state(db: AsyncSession, answer_id: UUID) -> AnswerState:
    """Of an answer that exists; the caller has checked whose it is."""
    row = (
        await db.execute(
            select(answers, messages.c.text)
            .outerjoin(messages, messages.c.message_id == answers.c.answer_id)
            .where(answers.c.answer_id == answer_id)
        )
    ).one()
    if row.status == AnswerStatus.FAILED:
        return AnswerState(code=row.code, reason=row.reason)
    if row.status == AnswerStatus.ANSWERING:
        return AnswerState()
    answer = Answer(
        answer_id=answer_id,
        session_id=row.session_id,
        message_id=row.message_id,
        response=row.text,
        supported=row.supported,
        citations=(await citations_of(db, [answer_id]))[answer_id],
        created_at=row.finished_at,
        model=row.model or "",
        usage=usage_of(row),
        markers_removed=row.markers_removed,
        stopped=row.stopped,
        truncated=row.truncated,
    )
    return AnswerState(answer=answer)


async def request_stop(db: AsyncSession, answer_id: UUID, session_id: UUID) -> bool:
    """Notes that an answer shall end, also one that nobody has begun yet; the caller has checked whose session it is. False for
    an answer of another session."""
    place = await db.scalar(select(answers.c.session_id).where(answers.c.answer_id == answer_id))
    if place not in {None, session_id}:
        return False
    await db.execute(
        insert(stops)
        .values(answer_id=answer_id, session_id=session_id)
        # A mark under another session is a stranger's, who guessed the id before the answer began.
        .on_conflict_do_update(index_elements=[stops.c.answer_id], set_={"session_id": session_id})
    )
    return True


async def stopped_among(db: AsyncSession, answer_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the answers that shall end: somebody wants it, or their session is gone. A mark counts in the session of its
    answer only: whose that is was checked."""
    of_its_session = exists().where(stops.c.answer_id == answers.c.answer_id, stops.c.session_id == answers.c.session_id)
    wanted = await db.scalars(select(answers.c.answer_id).where(answers.c.answer_id.in_(answer_ids), ~of_its_session))
    return set(answer_ids) - set(wanted)


async def chat_settings(db: AsyncSession, workspace_id: UUID) -> ChatSettings:
    """How a workspace's questions are answered."""
    row = (await db.execute(select(settings).where(settings.c.workspace_id == workspace_id))).first()
    return ChatSettings() if row is None else ChatSettings(model=row.model, temperature=row.temperature, passages=row.passages)


async def change_chat_settings(db: AsyncSession, workspace_id: UUID, changes: Mapping[str, object]) -> ChatSettings:
    """Sets those that are given, and returns all."""
    if changes:
        await db.execute(
            insert(settings)
            .values(workspace_id=workspace_id, **changes)
            .on_conflict_do_update(index_elements=[settings.c.workspace_id], set_=dict(changes))
        )
    return await chat_settings(db, workspace_id)
