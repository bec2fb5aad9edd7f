"""Answers a posted message: passages, answer, checked citations, token frames, and the stored outcome."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from docutalk_common.contracts.chat import Answer, AnswerCompleted, AnswerFailed, AnswerStarted, AnswerState, Citation, Usage
from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.llm import ModelOptions
from docutalk_common.messaging.consumer import AlreadyHandled, Delivery
from docutalk_common.telemetry import get_logger
from nats.js import JetStreamContext

from docutalk_chat.adapters import repository
from docutalk_chat.adapters.answerers import Answerers
from docutalk_chat.adapters.frames import FrameWriter, Pace
from docutalk_chat.adapters.library import Library
from docutalk_chat.adapters.metrics import ANSWER_SECONDS, ANSWERS
from docutalk_chat.adapters.quotes import PageQuotes
from docutalk_chat.adapters.repository import Begun
from docutalk_chat.adapters.stop_watch import StopWatch
from docutalk_chat.domain.answers import EXTRACTIVE, PASSAGES, Answerer, AnswerNotPossible, Material, Source, Tally
from docutalk_chat.domain.place import LONGEST_SELECTION
from docutalk_chat.use_cases.find_passages import Finder, finding

log = get_logger(__name__)

PREPARED_AT_ONCE = 8
"""Answers that look for their passages. Fewer than the connections to the database."""

_NO_SESSION = ("session_not_found", "The conversation was deleted.")


@dataclass
class Draft:
    """An answer as far as it is made: what is left when somebody stops it."""

    texts: list[str] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    stopped: bool = False

    def of(self, posted: MessagePosted) -> Answer:
        """The answer that this is."""
        usage = self.tally.usage
        return Answer(
            answer_id=posted.answer_id,
            session_id=posted.session_id,
            message_id=posted.message_id,
            response="".join(self.texts),
            supported=bool(self.citations),
            citations=self.citations,
            created_at=datetime.now(UTC),
            model=self.tally.model,
            usage=None if usage is None else Usage.model_validate(usage, from_attributes=True),
            markers_removed=self.tally.markers_removed,
            stopped=self.stopped,
            truncated=self.tally.truncated,
        )


class AnswerMessage:
    """Every outcome is final: a person waits, so what cannot be answered now fails now, with a reason."""

    def __init__(
        self,
        db: Database,
        library: Library,
        answerers: Answerers,
        stops: StopWatch,
        js: Callable[[], JetStreamContext],
        *,
        longest: float,
    ) -> None:
        """`longest`: seconds for an answer. A model that thinks for ever gives signs of life all the time, and takes the place of
        another."""
        self._db = db
        self._library = library
        self._answerers = answerers
        self._stops = stops
        self._js = js
        self._longest = longest
        self._pace = Pace()
        self._line = asyncio.Semaphore(PREPARED_AT_ONCE)

    async def __call__(self, posted: MessagePosted, delivery: Delivery) -> None:
        """Stores and publishes the answer. When it is stored already (a crash came before the ack), only its frames are
        published again, behind those of the first time."""
        started = time.monotonic()
        async with finding(self._library, posted, delivery.cause, self._line) as finder:
            await self._answer(posted, delivery, finder)
        ANSWER_SECONDS.observe(time.monotonic() - started)

    async def _answer(self, posted: MessagePosted, delivery: Delivery, finder: Finder) -> None:
        frames = FrameWriter(
            self._js,
            workspace_id=posted.workspace_id,
            answer_id=posted.answer_id,
            session_id=posted.session_id,
            pace=self._pace,
        )
        begun = await self._begin(posted, delivery.cause)
        async with frames:
            if begun is None:
                # An earlier attempt may have sent frames before the session was deleted; readers skip what counts below them.
                await frames.skip_stored()
                frames.error(*_NO_SESSION)
                return
            if not begun.is_new:
                await frames.skip_stored()
            frames.start()
            if begun.is_final:
                _repeat(begun.state, frames)
                return
            try:
                await self._end(posted, delivery, begun, finder, frames)
            except AlreadyHandled:
                await self._tell_outcome(posted, frames)
                raise

    async def _end(self, posted: MessagePosted, delivery: Delivery, begun: Begun, finder: Finder, frames: FrameWriter) -> None:
        try:
            answer = await self._make(posted, begun, finder, frames)
        except AnswerNotPossible as error:
            await self._fail(posted, delivery, error, frames)
            return
        await self._complete(posted, delivery, answer, frames)

    async def _tell_outcome(self, posted: MessagePosted, frames: FrameWriter) -> None:
        """Of an answer that somebody else brought to its end first: their last frame may stand below those sent here."""
        async with self._db.read() as session:
            state = await repository.find_answer(session, posted.workspace_id, posted.user_id, posted.answer_id)
        if state is None:
            frames.error(*_NO_SESSION)
            return
        frames.start()
        _repeat(state, frames)

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

    async def _make(self, posted: MessagePosted, begun: Begun, finder: Finder, frames: FrameWriter) -> Answer:
        """The answer, or as much of it as there is when somebody stops it."""
        draft = Draft()
        with self._stops.watching(posted.answer_id) as stop:
            if begun.is_stopped:
                stop.set()
            stopping = asyncio.create_task(stop.wait())
            writing = asyncio.create_task(self._write(draft, posted, begun, finder, frames))
            try:
                await asyncio.wait({writing, stopping}, timeout=self._longest, return_when=asyncio.FIRST_COMPLETED)
                if writing.done():
                    writing.result()
                elif stop.is_set():
                    draft.stopped = True
                elif draft.texts:
                    draft.tally.truncated = True
                else:
                    raise AnswerNotPossible(
                        "model_timeout", f"The language model did not begin to answer within {self._longest:.0f} s."
                    )
            finally:
                writing.cancel()
                stopping.cancel()
                await asyncio.gather(writing, stopping, return_exceptions=True)
        return draft.of(posted)

    async def _write(self, draft: Draft, posted: MessagePosted, begun: Begun, finder: Finder, frames: FrameWriter) -> None:
        settings = begun.settings
        answerer = self._answerers.choose(settings)
        options = ModelOptions(
            model=settings.model if settings.model != EXTRACTIVE else None,
            temperature=posted.temperature if posted.temperature is not None else settings.temperature,
            max_tokens=posted.max_tokens,
        )
        try:
            standing = None
            if len(begun.turns) > 1:
                if answerer.asks_model:
                    # A model that hangs would let nobody else's question through.
                    finder.step_aside()
                standing = await answerer.stand_alone(begun.turns, options, draft.tally)
            earlier = [turn.text for turn in begun.turns[:-1] if turn.role == "user"]
            found = await finder.find(standing, earlier, limit=settings.passages or PASSAGES)
            around = LONGEST_SELECTION if posted.selected_text and len(posted.selected_text) <= LONGEST_SELECTION else 0
            async with PageQuotes(
                self._library, posted.workspace_id, found.all, finder.cause, scope=finder.scope, around=around
            ) as quotes:
                selected = await quotes.find(posted.selected_text) if posted.selected_text else None
                sources = [selected, *found.passages] if selected is not None else found.passages
                material = Material(
                    question=posted.text,
                    turns=begun.turns,
                    sources=[Source(number, passage) for number, passage in enumerate(sources, start=1)],
                    selected_text=posted.selected_text,
                    selected_source=1 if selected is not None else None,
                    system_prompt=posted.system_prompt,
                    options=options,
                )
                await self._take(answerer, material, quotes, draft, frames)
        except (AnswerNotPossible, DependencyUnavailable):
            raise
        except Exception as error:
            # Trying again for minutes would leave the person waiting; asking again is up to them.
            log.exception("an answer failed", answer_id=str(posted.answer_id))
            raise AnswerNotPossible("internal", "The answer failed inside the chat service; its log says why.") from error

    async def _take(self, answerer: Answerer, material: Material, quotes: PageQuotes, draft: Draft, frames: FrameWriter) -> None:
        async with contextlib.aclosing(answerer.answer(material, quotes, draft.tally)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Citation):
                    draft.citations.append(piece)
                    frames.citation(piece)
                else:
                    draft.texts.append(piece)
                    frames.delta(piece)

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
        if stored is None:
            await self._tell_outcome(posted, frames)
            return
        ANSWERS.labels("stopped" if answer.stopped else "supported" if answer.supported else "unsupported").inc()
        frames.done(stored)

    async def _fail(self, posted: MessagePosted, delivery: Delivery, error: AnswerNotPossible, frames: FrameWriter) -> None:
        async with delivery.transaction() as transaction:
            failed = await repository.fail_answer(transaction.session, posted.answer_id, error.code, str(error))
            if failed:
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
        if not failed:
            await self._tell_outcome(posted, frames)
            return
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
