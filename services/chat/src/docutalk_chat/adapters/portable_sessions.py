"""Queries that carry conversations out of an installation and into another, with ids, times and order as they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from docutalk_common.contracts.chat import ExportedMessage, ExportedSession
from docutalk_common.contracts.embed import SearchFilters
from sqlalchemy import func, select, tuple_, union
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from docutalk_chat.adapters.models import answers, messages, sessions
from docutalk_chat.adapters.session_repository import about_answer, has_session, owned
from docutalk_chat.adapters.source_repository import citations_of, store_citations
from docutalk_chat.domain.answers import AnswerStatus
from docutalk_chat.domain.export_place import ExportPlace

MESSAGES_AT_ONCE = 100

Record = ExportedSession | ExportedMessage


async def records_after(
    db: AsyncSession, workspace_id: UUID, user_id: UUID, place: ExportPlace
) -> AsyncGenerator[tuple[ExportPlace, Record]]:
    """The person's sessions by id, each followed by its messages in order, with the place of each. Not those that nobody is
    shown: they are transient, or nothing was said in them."""
    shown = owned(workspace_id, user_id) & (sessions.c.title != "")
    if await has_session(db, workspace_id, user_id, place.session_id):
        async for record in _messages_after(db, place):
            yield record
    while True:
        following = select(sessions).where(shown, sessions.c.session_id > place.session_id).order_by(sessions.c.session_id)
        row = (await db.execute(following.limit(1))).first()
        if row is None:
            return
        place = ExportPlace(row.session_id)
        yield place, ExportedSession.model_validate(row, from_attributes=True)
        async for record in _messages_after(db, place):
            yield record


async def _messages_after(db: AsyncSession, place: ExportPlace) -> AsyncGenerator[tuple[ExportPlace, Record]]:
    """The rest of a session: each question followed by its answers. An answer that is not complete has no message."""
    question = aliased(messages)
    asked = func.coalesce(question.c.position, messages.c.position).label("asked")
    rest = (
        select(messages, asked)
        .outerjoin_from(messages, question, question.c.message_id == messages.c.reply_to)
        .where(messages.c.session_id == place.session_id)
        .order_by(asked, messages.c.position)
        .limit(MESSAGES_AT_ONCE)
    )
    while True:
        rows = (await db.execute(rest.where(tuple_(asked, messages.c.position) > (place.question, place.message)))).all()
        if not rows:
            return
        ids = [row.message_id for row in rows if row.role == "assistant"]
        cited = await citations_of(db, ids)
        made = {row.answer_id: about_answer(row) for row in await db.execute(select(answers).where(answers.c.answer_id.in_(ids)))}
        for row in rows:
            place = ExportPlace(place.session_id, row.asked, row.position)
            message = ExportedMessage(
                session_id=row.session_id,
                message_id=row.message_id,
                role=row.role,
                text=row.text,
                selected_text=row.selected_text,
                filters=None if row.scope is None else SearchFilters.model_validate(row.scope),
                reply_to=row.reply_to,
                citations=cited[row.message_id],
                created_at=row.created_at,
            )
            yield place, message.model_copy(update=made.get(row.message_id, {}))


async def known_ids(db: AsyncSession, ids: Collection[UUID]) -> set[UUID]:
    """Those of the ids that a session, a message or an answer has, whoever's it is."""
    columns = (sessions.c.session_id, messages.c.message_id, answers.c.answer_id)
    return set(await db.scalars(union(*(select(column).where(column.in_(ids)) for column in columns))))


@dataclass(frozen=True)
class KnownMessage:
    """Where a message stands, and who said it."""

    session_id: UUID
    role: str


async def find_messages(db: AsyncSession, message_ids: Collection[UUID]) -> dict[UUID, KnownMessage]:
    """Those of the messages that are there."""
    columns = (messages.c.message_id, messages.c.session_id, messages.c.role)
    rows = await db.execute(select(*columns).where(messages.c.message_id.in_(message_ids)))
    return {row.message_id: KnownMessage(row.session_id, row.role) for row in rows}


async def add_sessions(db: AsyncSession, workspace_id: UUID, user_id: UUID, added: Sequence[ExportedSession]) -> None:
    """Those that are not there yet; by id, or two imports of the same could wait for each other."""
    owner = {"workspace_id": workspace_id, "user_id": user_id}
    rows = [session.model_dump() | owner for session in sorted(added, key=lambda one: one.session_id)]
    if rows:
        await db.execute(insert(sessions).on_conflict_do_nothing(), rows)


async def lock_sessions(db: AsyncSession, workspace_id: UUID, user_id: UUID, ids: Collection[UUID]) -> set[UUID]:
    """Those of the sessions that are this user's in this workspace. Nobody deletes them before the transaction ends, and nobody
    imports into them."""
    mine = select(sessions.c.session_id).where(owned(workspace_id, user_id), sessions.c.session_id.in_(ids))
    return set(await db.scalars(mine.order_by(sessions.c.session_id).with_for_update()))


async def add_messages(db: AsyncSession, added: Sequence[ExportedMessage]) -> None:
    """Stores messages, none of which is there, in their order; answers are complete. `IntegrityError` when an id is taken."""
    if not added:
        return
    said = ("message_id", "session_id", "role", "text", "selected_text", "reply_to", "created_at")
    await db.execute(insert(messages), [message.model_dump(include=set(said)) | {"scope": _scope(message)} for message in added])
    made = [message for message in added if message.role == "assistant"]
    if not made:
        return
    told = {"session_id", "supported", "created_at", "stopped", "truncated", "model", "markers_removed", "rating", "comment"}
    await db.execute(
        insert(answers),
        [
            {
                "answer_id": message.message_id,
                "message_id": message.reply_to,
                "status": AnswerStatus.COMPLETED,
                "finished_at": message.created_at,
                "input_tokens": message.usage and message.usage.input_tokens,
                "output_tokens": message.usage and message.usage.output_tokens,
                "cost_usd": message.usage and message.usage.cost_usd,
                **message.model_dump(include=told),
            }
            for message in made
        ],
    )
    await store_citations(db, {message.message_id: message.citations for message in made})


def _scope(message: ExportedMessage) -> dict[str, object] | None:
    return message.filters.model_dump(mode="json", exclude_defaults=True) or None if message.filters is not None else None
