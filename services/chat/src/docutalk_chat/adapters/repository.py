"""Every query of the chat service. A session belongs to one user in one workspace, and every query of theirs says both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from docutalk_common.contracts.chat import Answer, AnswerState, Citation, Session, SessionList, SessionMessage
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.gateway import MessagePosted
from sqlalchemy import ColumnElement, and_, case, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_chat.adapters.models import answers, citations, deleted_documents, messages, sessions
from docutalk_chat.domain.answers import CONTEXT_MESSAGES, AnswerStatus, Turn, title_of


@dataclass(frozen=True)
class Begun:
    """An answer as it is found or made. `turns` are the session's last messages, oldest first, ending with the question."""

    is_new: bool
    state: AnswerState
    turns: list[Turn]

    @property
    def is_final(self) -> bool:
        """Whether the outcome is stored."""
        return self.state.answer is not None or self.state.code is not None


def _owned(workspace_id: UUID, user_id: UUID, session_id: UUID | None = None) -> ColumnElement[bool]:
    condition = and_(sessions.c.workspace_id == workspace_id, sessions.c.user_id == user_id)
    return condition if session_id is None else and_(condition, sessions.c.session_id == session_id)


async def create_session(db: AsyncSession, workspace_id: UUID, user_id: UUID) -> UUID:
    """A new empty session; its title comes with the first message."""
    session_id = uuid7()
    await db.execute(insert(sessions).values(session_id=session_id, workspace_id=workspace_id, user_id=user_id))
    return session_id


async def has_session(db: AsyncSession, workspace_id: UUID, user_id: UUID, session_id: UUID) -> bool:
    """Whether that user has that session in that workspace."""
    return await db.scalar(select(sessions.c.session_id).where(_owned(workspace_id, user_id, session_id))) is not None


async def list_sessions(db: AsyncSession, workspace_id: UUID, user_id: UUID, *, page: int, per_page: int) -> SessionList:
    """Sessions somebody has written in, the last used first. An opened session without a message is not shown yet."""
    mine = and_(_owned(workspace_id, user_id), sessions.c.title != "")
    total = await db.scalar(select(func.count()).select_from(sessions).where(mine))
    rows = await db.execute(
        select(sessions.c.session_id, sessions.c.title, sessions.c.created_at, sessions.c.updated_at)
        .where(mine)
        .order_by(sessions.c.updated_at.desc(), sessions.c.session_id.desc())
        .limit(per_page)
        .offset((page - 1) * per_page)
    )
    return SessionList(items=[Session.model_validate(dict(row)) for row in rows.mappings()], total=total or 0)


async def delete_session(db: AsyncSession, workspace_id: UUID, user_id: UUID, session_id: UUID) -> bool:
    """Deletes a session with all that it holds; False when the user has none of that id."""
    deleted = await db.scalar(delete(sessions).where(_owned(workspace_id, user_id, session_id)).returning(sessions.c.session_id))
    return deleted is not None


async def list_messages(db: AsyncSession, workspace_id: UUID, user_id: UUID, session_id: UUID) -> list[SessionMessage] | None:
    """The whole history, oldest first; None when the user has no such session."""
    if not await has_session(db, workspace_id, user_id, session_id):
        return None
    rows = (
        await db.execute(
            select(messages.c.message_id, messages.c.role, messages.c.text, messages.c.created_at)
            .where(messages.c.session_id == session_id)
            .order_by(messages.c.position)
        )
    ).all()
    cited = await _citations_of(db, (row.message_id for row in rows if row.role == "assistant"))
    return [
        SessionMessage(
            message_id=row.message_id,
            role=row.role,
            text=row.text,
            citations=cited[row.message_id],
            created_at=row.created_at,
        )
        for row in rows
    ]


async def begin_answer(db: AsyncSession, posted: MessagePosted) -> Begun | None:
    """Stores the question and its answer to be, unless they are there. None when the session is gone."""
    title = case((sessions.c.title == "", title_of(posted.text) or "…"), else_=sessions.c.title)
    # Also locks the session's row: who deletes it meanwhile waits until the question is stored.
    touched = await db.execute(
        update(sessions)
        .where(_owned(posted.workspace_id, posted.user_id, posted.session_id))
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
        )
        .on_conflict_do_nothing()
    )
    added = await db.scalar(
        insert(answers)
        .values(answer_id=posted.answer_id, message_id=posted.message_id, session_id=posted.session_id)
        .on_conflict_do_nothing()
        .returning(answers.c.answer_id)
    )
    state = AnswerState() if added else await _answer_state(db, posted.answer_id)
    return Begun(is_new=added is not None, state=state, turns=await _last_turns(db, posted.session_id, posted.message_id))


async def _last_turns(db: AsyncSession, session_id: UUID, message_id: UUID) -> list[Turn]:
    question = select(messages.c.position).where(messages.c.message_id == message_id).scalar_subquery()
    rows = await db.execute(
        select(messages.c.role, messages.c.text)
        .where(messages.c.session_id == session_id, messages.c.position <= question)
        .order_by(messages.c.position.desc())
        .limit(CONTEXT_MESSAGES)
    )
    return [Turn(row.role, row.text) for row in reversed(rows.all())]


async def complete_answer(db: AsyncSession, answer: Answer) -> Answer | None:
    """Stores a whole answer as the session's next message, and returns it as it is stored: with its citations marked whose
    document was deleted meanwhile. None when it is not wanted any more: the session was deleted, or another process finished
    first."""
    # The session's row first, as whoever deletes it takes it: in the other order the two would block each other.
    touched = await db.execute(
        update(sessions).where(sessions.c.session_id == answer.session_id).values(updated_at=func.clock_timestamp())
    )
    if touched.rowcount == 0:  # type: ignore[attr-defined]
        return None
    updated = await db.execute(
        update(answers)
        .where(answers.c.answer_id == answer.answer_id, answers.c.status == AnswerStatus.ANSWERING)
        .values(status=AnswerStatus.COMPLETED, supported=answer.supported, finished_at=answer.created_at)
    )
    if updated.rowcount == 0:  # type: ignore[attr-defined]
        return None
    await db.execute(
        insert(messages).values(
            message_id=answer.answer_id,
            session_id=answer.session_id,
            role="assistant",
            text=answer.response,
            created_at=answer.created_at,
        )
    )
    if answer.citations:
        answer = answer.model_copy(update={"citations": await _marked(db, answer.citations)})
        await db.execute(
            insert(citations),
            [
                {
                    "answer_id": answer.answer_id,
                    "ordinal": ordinal,
                    "start_offset": citation.start,
                    "end_offset": citation.end,
                    **citation.model_dump(exclude={"start", "end"}),
                }
                for ordinal, citation in enumerate(answer.citations)
            ],
        )
    return answer


# Between a document's deletion and the storing of an answer that cites it one waits for the other: without this, each could
# look before the other has committed, and the citation would never be marked.
_STORING = text(
    "SELECT pg_advisory_xact_lock_shared(hashtextextended(cited.id, 0))"
    " FROM (SELECT DISTINCT unnest(CAST(:documents AS text[])) AS id ORDER BY id) AS cited"
)
_DELETING = text("SELECT pg_advisory_xact_lock(hashtextextended(:document, 0))")


async def _marked(db: AsyncSession, cited: Sequence[Citation]) -> list[Citation]:
    await db.execute(_STORING, {"documents": [str(citation.document_id) for citation in cited]})
    rows = await db.execute(
        select(deleted_documents).where(deleted_documents.c.document_id.in_({citation.document_id for citation in cited}))
    )
    deleted = {row.document_id: row.deleted_at for row in rows}
    return [citation.model_copy(update={"source_deleted_at": deleted.get(citation.document_id)}) for citation in cited]


async def mark_source_deleted(db: AsyncSession, document_id: UUID, deleted_at: datetime) -> int | None:
    """Marks every citation of a document, also those that are stored later. Returns how many there are now; None when the
    deletion is known already."""
    await db.execute(_DELETING, {"document": str(document_id)})
    added = await db.scalar(
        insert(deleted_documents)
        .values(document_id=document_id, deleted_at=deleted_at)
        .on_conflict_do_nothing()
        .returning(deleted_documents.c.document_id)
    )
    if added is None:
        return None
    marked = await db.execute(
        update(citations).where(citations.c.document_id == document_id).values(source_deleted_at=deleted_at)
    )
    return int(marked.rowcount)  # type: ignore[attr-defined]


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
        .where(_owned(workspace_id, user_id), answers.c.answer_id == answer_id)
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
        citations=(await _citations_of(db, [answer_id]))[answer_id],
        created_at=row.finished_at,
    )
    return AnswerState(answer=answer)


async def _citations_of(db: AsyncSession, answer_ids: Iterable[UUID]) -> dict[UUID, list[Citation]]:
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
            )
        )
    return found
