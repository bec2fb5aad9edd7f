"""Answers a posted message: passages, answer, checked citations, token frames, and the stored outcome."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime

from docutalk_common.contracts.chat import Answer, AnswerCompleted, AnswerFailed, AnswerStarted, AnswerState, Citation
from docutalk_common.contracts.embed import Passage
from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.telemetry import get_logger
from nats.js import JetStreamContext

from docutalk_chat.adapters import repository
from docutalk_chat.adapters.frames import FrameWriter
from docutalk_chat.adapters.library import Library
from docutalk_chat.adapters.metrics import ANSWER_SECONDS, ANSWERS
from docutalk_chat.adapters.quotes import AROUND_SELECTION, PageQuotes
from docutalk_chat.adapters.repository import Begun
from docutalk_chat.domain.answers import Answerer, AnswerNotPossible, Material, Source
from docutalk_chat.domain.prompt import search_query, speaks_for_itself

log = get_logger(__name__)

Search = Callable[[Sequence[str]], Awaitable[list[Passage] | AnswerNotPossible]]
"""Takes the person's earlier messages."""


class AnswerMessage:
    """Every outcome is final: a person waits, so what cannot be answered now fails now, with a reason."""

    def __init__(self, db: Database, library: Library, answerer: Answerer, js: Callable[[], JetStreamContext]) -> None:
        self._db = db
        self._library = library
        self._answerer = answerer
        self._js = js

    async def __call__(self, posted: MessagePosted, delivery: Delivery) -> None:
        """Stores and publishes the answer. When it is stored already (a crash came before the ack), only its frames are
        published again, behind those of the first time."""
        started = time.monotonic()
        async with self._searching(posted, delivery.cause) as search:
            await self._answer(posted, delivery, search)
        ANSWER_SECONDS.observe(time.monotonic() - started)

    @contextlib.asynccontextmanager
    async def _searching(self, posted: MessagePosted, cause: Cause) -> AsyncIterator[Search]:
        """What searches when asked. A question that speaks for itself is searched at once, while it is being stored."""

        async def search(earlier: Sequence[str] = ()) -> list[Passage] | AnswerNotPossible:
            query = search_query(posted.text, earlier, posted.selected_text)
            try:
                return await self._library.search(posted.workspace_id, query, posted.document_ids, cause)
            except AnswerNotPossible as error:
                # Returned, not raised: nobody may come to fetch it.
                return error

        if not speaks_for_itself(posted.text):
            yield search
            return
        early = asyncio.create_task(search())

        async def found(_: Sequence[str]) -> list[Passage] | AnswerNotPossible:
            return await early

        try:
            yield found
        finally:
            early.cancel()

    async def _answer(self, posted: MessagePosted, delivery: Delivery, search: Search) -> None:
        frames = FrameWriter(
            self._js,
            workspace_id=posted.workspace_id,
            answer_id=posted.answer_id,
            session_id=posted.session_id,
            attempt=delivery.attempt,
        )
        begun = await self._begin(posted, delivery.cause)
        async with frames:
            if begun is None:
                # An earlier attempt may have sent frames before the session was deleted; readers skip what counts below them.
                await frames.skip_stored()
                frames.error("session_not_found", "The conversation was deleted.")
                return
            if not begun.is_new:
                await frames.skip_stored()
            frames.start()
            if begun.is_final:
                _repeat(begun.state, frames)
                return
            try:
                answer = await self._make(posted, begun, search, frames, delivery.cause)
            except AnswerNotPossible as error:
                await self._fail(posted, delivery, error, frames)
                return
            await self._complete(posted, delivery, answer, frames)

    async def _begin(self, posted: MessagePosted, cause: Cause) -> Begun | None:
        async with self._db.transaction(cause) as transaction:
            begun = await repository.begin_answer(transaction.session, posted)
            if begun is not None and begun.is_new:
                transaction.emit(
                    AnswerStarted(
                        workspace_id=posted.workspace_id,
                        answer_id=posted.answer_id,
                        message_id=posted.message_id,
                        session_id=posted.session_id,
                    )
                )
        return begun

    async def _make(self, posted: MessagePosted, begun: Begun, search: Search, frames: FrameWriter, cause: Cause) -> Answer:
        passages = await search([turn.text for turn in begun.turns[:-1] if turn.role == "user"])
        if isinstance(passages, AnswerNotPossible):
            raise passages
        texts: list[str] = []
        citations: list[Citation] = []
        around = AROUND_SELECTION if posted.selected_text else 0
        try:
            async with PageQuotes(self._library, posted.workspace_id, passages, cause, around=around) as quotes:
                selected = await quotes.find(posted.selected_text) if posted.selected_text else None
                sources = [selected, *passages] if selected is not None else passages
                material = Material(
                    question=posted.text,
                    turns=begun.turns,
                    sources=[Source(number, passage) for number, passage in enumerate(sources, start=1)],
                    selected_text=posted.selected_text,
                    system_prompt=posted.system_prompt,
                )
                async with contextlib.aclosing(self._answerer.answer(material, quotes)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Citation):
                            citations.append(piece)
                            frames.citation(piece)
                            continue
                        texts.append(piece)
                        frames.delta(piece)
        except (AnswerNotPossible, DependencyUnavailable):
            raise
        except Exception as error:
            # Trying again for minutes would leave the person waiting; asking again is up to them.
            log.exception("an answer failed", answer_id=str(posted.answer_id))
            raise AnswerNotPossible("internal", "The answer failed inside the chat service; its log says why.") from error
        return Answer(
            answer_id=posted.answer_id,
            session_id=posted.session_id,
            message_id=posted.message_id,
            response="".join(texts),
            supported=bool(citations),
            citations=citations,
            created_at=datetime.now(UTC),
        )

    async def _complete(self, posted: MessagePosted, delivery: Delivery, answer: Answer, frames: FrameWriter) -> None:
        async with delivery.transaction() as transaction:
            stored = await repository.complete_answer(transaction.session, answer)
            if stored is not None:
                transaction.emit(
                    AnswerCompleted(
                        workspace_id=posted.workspace_id,
                        answer_id=answer.answer_id,
                        message_id=answer.message_id,
                        session_id=answer.session_id,
                        supported=answer.supported,
                        citation_count=len(answer.citations),
                    )
                )
        if stored is not None:
            ANSWERS.labels("supported" if answer.supported else "unsupported").inc()
            frames.done(stored)
        else:
            frames.error("session_not_found", "The conversation was deleted.")

    async def _fail(self, posted: MessagePosted, delivery: Delivery, error: AnswerNotPossible, frames: FrameWriter) -> None:
        async with delivery.transaction() as transaction:
            if await repository.fail_answer(transaction.session, posted.answer_id, error.code, str(error)):
                transaction.emit(
                    AnswerFailed(
                        workspace_id=posted.workspace_id,
                        answer_id=posted.answer_id,
                        message_id=posted.message_id,
                        session_id=posted.session_id,
                        code=error.code,
                        reason=str(error),
                    )
                )
        ANSWERS.labels(error.code).inc()
        log.warning("no answer", answer_id=str(posted.answer_id), code=error.code, reason=str(error))
        frames.error(error.code, str(error))


def _repeat(state: AnswerState, frames: FrameWriter) -> None:
    """The frames of an outcome that is stored."""
    if state.answer is None:
        frames.error(state.code or "internal", state.reason or "")
        return
    frames.delta(state.answer.response)
    for citation in state.answer.citations:
        frames.citation(citation)
    frames.done(state.answer)
