"""Queries about sessions and what was said in them. A session belongs to one user in one workspace, and every query says both."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from docutalk_common.contracts.chat import Question, Session, SessionHit, SessionList, SessionMessage, Usage
from docutalk_common.contracts.embed import SearchFilters
from docutalk_common.contracts.envelope import uuid7
from sqlalchemy import ColumnElement, Row, Select, and_, delete, exists, func, or_, select, true, update
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from docutalk_chat.adapters.models import answers, messages, sessions, stops
from docutalk_chat.adapters.source_repository import citations_of
from docutalk_chat.domain.answers import AnswerStatus

SNIPPET = "MaxWords=24, MinWords=12, ShortWord=0, StartSel='', StopSel=''"


def owned(workspace_id: UUID, user_id: UUID, session_id: UUID | None = None) -> ColumnElement[bool]:
    """Whether a session is this user's in this workspace, and this one."""
    condition = and_(sessions.c.workspace_id == workspace_id, sessions.c.user_id == user_id)
    return condition if session_id is None else and_(condition, sessions.c.session_id == session_id)


async def create_session(db: AsyncSession, workspace_id: UUID, user_id: UUID, *, transient: bool = False) -> UUID:
    """A new empty session; its title comes with the first message, and never when it is transient."""
    session_id = uuid7()
    await db.execute(
        insert(sessions).values(session_id=session_id, workspace_id=workspace_id, user_id=user_id, transient=transient)
    )
    return session_id


async def has_session(db: AsyncSession, workspace_id: UUID, user_id: UUID, session_id: UUID) -> bool:
    """Whether that user has that session in that workspace."""
    return await db.scalar(select(sessions.c.session_id).where(owned(workspace_id, user_id, session_id))) is not None


def _shown(row: Row[Any], hit: SessionHit | None = None) -> Session:
    return Session(session_id=row.session_id, title=row.title, created_at=row.created_at, updated_at=row.updated_at, hit=hit)


async def find_session(db: AsyncSession, workspace_id: UUID, user_id: UUID, session_id: UUID) -> Session | None:
    """One session, None when the user has none of that id."""
    row = (await db.execute(select(sessions).where(owned(workspace_id, user_id, session_id)))).first()
    return None if row is None else _shown(row)


async def list_sessions(db: AsyncSession, workspace_id: UUID, user_id: UUID, *, page: int, per_page: int) -> SessionList:
    """Sessions somebody has written in, the last used first. An opened session without a message is not shown yet."""
    mine = and_(owned(workspace_id, user_id), sessions.c.title != "")
    total = await db.scalar(select(func.count()).select_from(sessions).where(mine))
    rows = await db.execute(_page(select(sessions).where(mine), page, per_page))
    return SessionList(items=[_shown(row) for row in rows], total=total or 0)


def _page(query: Select[Any], page: int, per_page: int) -> Select[Any]:
    return (
        query.order_by(sessions.c.updated_at.desc(), sessions.c.session_id.desc()).limit(per_page).offset((page - 1) * per_page)
    )


async def search_sessions(
    db: AsyncSession, workspace_id: UUID, user_id: UUID, words: str, *, page: int, per_page: int
) -> SessionList:
    """As `list_sessions`, those that hold the words in their title or in one message."""
    asked = func.websearch_to_tsquery("simple", words).op("||")(func.websearch_to_tsquery("english", words))
    title = func.to_tsvector("simple", sessions.c.title).op("||")(func.to_tsvector("english", sessions.c.title))
    said = exists().where(messages.c.session_id == sessions.c.session_id, messages.c.words.op("@@")(asked))
    mine = and_(owned(workspace_id, user_id), sessions.c.title != "", or_(title.op("@@")(asked), said))
    total = await db.scalar(select(func.count()).select_from(sessions).where(mine))
    # The page first: a snippet is made from the whole text of its message.
    shown = _page(select(sessions).where(mine), page, per_page).subquery()
    last = (
        select(
            messages.c.message_id, messages.c.role, func.ts_headline("english", messages.c.text, asked, SNIPPET).label("snippet")
        )
        .where(messages.c.session_id == shown.c.session_id, messages.c.words.op("@@")(asked))
        .order_by(messages.c.position.desc())
        .limit(1)
        .lateral()
    )
    rows = await db.execute(
        select(shown, last)
        .select_from(shown.outerjoin(last, true()))
        .order_by(shown.c.updated_at.desc(), shown.c.session_id.desc())
    )
    items = []
    for row in rows:
        hit = None if row.message_id is None else SessionHit(message_id=row.message_id, role=row.role, snippet=row.snippet)
        items.append(_shown(row, hit))
    return SessionList(items=items, total=total or 0)


async def rename_session(db: AsyncSession, workspace_id: UUID, user_id: UUID, session_id: UUID, title: str) -> bool:
    """Gives a session another title; False when the user has none of that id."""
    renamed = await db.scalar(
        update(sessions).where(owned(workspace_id, user_id, session_id)).values(title=title).returning(sessions.c.session_id)
    )
    return renamed is not None


async def delete_session(db: AsyncSession, workspace_id: UUID, user_id: UUID, session_id: UUID) -> bool:
    """Deletes a session with all that it holds; False when the user has none of that id."""
    deleted = await db.scalar(delete(sessions).where(owned(workspace_id, user_id, session_id)).returning(sessions.c.session_id))
    return deleted is not None


async def forget_sessions(db: AsyncSession, older_than: timedelta) -> int:
    """Deletes sessions that nobody is shown, and marks of stopping that nobody looks for any more."""
    before = func.clock_timestamp() - older_than
    await db.execute(delete(stops).where(stops.c.requested_at < before))
    forgotten = await db.execute(delete(sessions).where(sessions.c.title == "", sessions.c.updated_at < before))
    return int(forgotten.rowcount)  # type: ignore[attr-defined]


async def list_messages(
    db: AsyncSession, workspace_id: UUID, user_id: UUID, session_id: UUID, *, offset: int = 0, limit: int | None = None
) -> tuple[list[SessionMessage], int] | None:
    """A part of the history, oldest question first and each followed by its answers, and how long the whole is; None when the
    user has no such session."""
    if not await has_session(db, workspace_id, user_id, session_id):
        return None
    total = await db.scalar(select(func.count()).select_from(messages).where(messages.c.session_id == session_id))
    rows = (
        await db.execute(
            in_order(select(messages, is_superseded().label("is_superseded")))
            .where(messages.c.session_id == session_id)
            .offset(offset)
            .limit(limit)
        )
    ).all()
    ids = [row.message_id for row in rows if row.role == "assistant"]
    cited = await citations_of(db, ids)
    made = {row.answer_id: row for row in await db.execute(select(answers).where(answers.c.answer_id.in_(ids)))}
    open_ = await _last_answers(db, [row.message_id for row in rows if row.role == "user"])
    found = []
    for row in rows:
        message = SessionMessage(
            message_id=row.message_id,
            role=row.role,
            text=row.text,
            citations=cited[row.message_id],
            created_at=row.created_at,
            selected_text=row.selected_text,
            reply_to=row.reply_to,
            chosen=not row.is_superseded,
        )
        about = about_answer(made[row.message_id]) if row.message_id in made else open_.get(row.message_id, {})
        found.append(message.model_copy(update=about))
    return found, total or 0


def in_order(query: Select[Any]) -> Select[Any]:
    """Messages by their question, each question followed by its answers as they were made."""
    question = aliased(messages)
    place = func.coalesce(question.c.position, messages.c.position)
    return query.outerjoin_from(messages, question, question.c.message_id == messages.c.reply_to).order_by(
        place, messages.c.position
    )


def is_superseded() -> ColumnElement[bool]:
    """Whether a message is an answer to a question that was answered again, or an empty one beside another that is not."""
    other = aliased(messages)
    return exists().where(
        other.c.reply_to == messages.c.reply_to,
        other.c.text != "",
        or_(other.c.position > messages.c.position, messages.c.text == ""),
    )


def about_answer(row: Row[Any]) -> dict[str, Any]:
    """What an answer's row says of it, as the fields are called wherever it is shown."""
    return {
        "supported": row.supported,
        "stopped": row.stopped,
        "truncated": row.truncated,
        "model": row.model,
        "usage": usage_of(row),
        "markers_removed": row.markers_removed,
        "rating": row.rating,
        "comment": row.comment,
    }


def usage_of(row: Row[Any]) -> Usage | None:
    """What an answer's row says of tokens and cost."""
    if row.input_tokens is None:
        return None
    cost = None if row.cost_usd is None else float(row.cost_usd)
    return Usage(input_tokens=row.input_tokens, output_tokens=row.output_tokens, cost_usd=cost)


async def _last_answers(db: AsyncSession, message_ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """Of each question whose last answer is being made or failed, which one, or why."""
    rows = await db.execute(
        select(answers)
        .where(answers.c.message_id.in_(message_ids))
        .ext(distinct_on(answers.c.message_id))
        .order_by(answers.c.message_id, answers.c.created_at.desc())
    )
    found: dict[UUID, dict[str, Any]] = {}
    for row in rows:
        if row.status == AnswerStatus.ANSWERING:
            found[row.message_id] = {"answering": row.answer_id}
        elif row.status == AnswerStatus.FAILED:
            found[row.message_id] = {"code": row.code, "reason": row.reason}
    return found


async def find_question(
    db: AsyncSession, workspace_id: UUID, user_id: UUID, session_id: UUID, message_id: UUID
) -> Question | None:
    """The question that a message is, or answers; None when the user has no such message there."""
    reply = select(messages.c.reply_to).where(messages.c.message_id == message_id).scalar_subquery()
    failed = select(answers.c.message_id).where(answers.c.answer_id == message_id).scalar_subquery()
    row = (
        await db.execute(
            select(messages)
            .join(sessions, sessions.c.session_id == messages.c.session_id)
            .where(
                owned(workspace_id, user_id, session_id),
                messages.c.role == "user",
                messages.c.message_id == func.coalesce(reply, failed, message_id),
            )
        )
    ).first()
    if row is None:
        return None
    filters = SearchFilters.model_validate(row.scope or {})
    return Question(message_id=row.message_id, text=row.text, selected_text=row.selected_text, filters=filters)


async def rate_answer(
    db: AsyncSession,
    workspace_id: UUID,
    user_id: UUID,
    session_id: UUID,
    answer_id: UUID,
    *,
    rating: int | None,
    comment: str | None,
) -> bool:
    """Stores a rating. False when the user has no such answer, or it is not complete."""
    mine = exists().where(sessions.c.session_id == answers.c.session_id, owned(workspace_id, user_id, session_id))
    rated = await db.scalar(
        update(answers)
        .where(answers.c.answer_id == answer_id, answers.c.status == AnswerStatus.COMPLETED, mine)
        .values(rating=rating, comment=comment if rating is not None else None)
        .returning(answers.c.answer_id)
    )
    return rated is not None
