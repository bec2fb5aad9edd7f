"""The rest of the world as chat sees it, on the real servers: documents that can be searched and read, and somebody who asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from docutalk_chat.app import chat
from docutalk_chat.settings import Settings
from docutalk_common.contracts.chat import (
    AnswerState,
    Frame,
    FrameKind,
    GetAnswer,
    GetQuestion,
    ListMessages,
    MessageList,
    OpenSession,
    Question,
    SessionMessage,
    SessionOpened,
    StopAnswer,
)
from docutalk_common.contracts.embed import (
    Embeddings,
    EmbedTexts,
    Passage,
    PassagesFound,
    SearchFilters,
    SearchMode,
    SearchPassages,
)
from docutalk_common.contracts.envelope import Contract, Envelope, uuid7
from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.contracts.ingest import GetPages, Page, Pages
from docutalk_common.db import Cause, Database
from docutalk_common.errors import RequestFailed
from docutalk_common.messaging import event_log
from docutalk_common.messaging.requests import Answerer, RequestClient
from docutalk_common.messaging.streams import EVENTS, TOKENS
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_common.testing.llm_server import ReceivedRequest, ScriptedModel
from docutalk_local.testing import TestStack
from nats.aio.msg import Msg

from .factories import passage

SECONDS = 40.0


def settings_of(stack: TestStack, **changed: Any) -> Settings:
    """Chat's settings on the test's servers, without the keys and the models that the surroundings may have."""
    given = {name.removeprefix("DOCUTALK_").lower(): value for name, value in stack.service_environment("chat").items()}
    provider = "auto" if changed else "none"
    return Settings(**{**given, "OPENAI_API_KEY": None, "ANTHROPIC_API_KEY": None, "llm_provider": provider, **changed})


@contextlib.asynccontextmanager
async def running_chat(stack: TestStack, **changed: Any) -> AsyncIterator[Database]:
    """The service in this process; yields its database."""
    async with chat(settings_of(stack, **changed)) as db:
        yield db


@dataclass
class Documents:
    """Answers for embed and ingest: pages by document and number, one passage for each page."""

    pages: dict[tuple[UUID, int], str] = field(default_factory=dict)
    passages: list[Passage] = field(default_factory=list)
    hidden: list[Passage] = field(default_factory=list)
    """Passages that only their own words find."""
    searches: list[SearchPassages] = field(default_factory=list)
    probes: list[SearchPassages] = field(default_factory=list)
    """Searches for words of a selected text."""
    sources: dict[UUID, UUID] = field(default_factory=dict)
    """The source of a document that was collected."""
    read: set[UUID] = field(default_factory=set)
    """The documents whose pages were asked for."""
    versions: dict[UUID, int] = field(default_factory=dict)
    """The version of a document that is served, 1 when not given."""
    vectors: dict[str, list[float]] | None = None
    """Without them embedding is not answered at all."""

    def add(self, text: str, *, page: int = 1, filename: str = "report.pdf") -> Passage:
        """A page that one passage covers whole."""
        found = passage(text, page=page, filename=filename)
        self.pages[found.document_id, page] = text
        self.passages.append(found)
        return found

    def _within(self, filters: SearchFilters, passages: Sequence[Passage]) -> list[Passage]:
        """Those that embed would find with these filters."""
        ids, sources = filters.document_ids, filters.source_ids
        found = [one for one in passages if not ids or one.document_id in ids]
        return [one for one in found if not sources or self.sources.get(one.document_id) in sources]

    @contextlib.asynccontextmanager
    async def served(self, wire: Wire) -> AsyncIterator[None]:
        """Listens where embed and ingest do."""

        async def search(request: SearchPassages, _: Cause) -> Contract:
            if len(request.query) > 10_000:
                raise RequestFailed("invalid", "the query is too long")
            if request.mode is SearchMode.KEYWORD:
                self.probes.append(request)
                phrase = " ".join(request.query.strip('"').split())
                all_ = self._within(request.filters, (*self.passages, *self.hidden))
                found = [one for one in all_ if phrase in " ".join(one.text.split())]
                return PassagesFound(passages=found[: request.limit], took_ms=0.1)
            self.searches.append(request)
            return PassagesFound(passages=self._within(request.filters, self.passages)[: request.limit], took_ms=0.1)

        async def get_pages(request: GetPages, _: Cause) -> Contract:
            # As ingest does: so many pages, and so many bytes, in one answer.
            if len(request.pages) > 64:
                raise RequestFailed("invalid", "at most 64 pages can be asked for at once")
            found = []
            self.read |= {ref.document_id for ref in request.pages}
            for ref in request.pages:
                text = self.pages.get((ref.document_id, ref.number))
                if text is not None:
                    version = ref.version or self.versions.get(ref.document_id, 1)
                    about = {"document_id": ref.document_id, "version": version, "number": ref.number}
                    found.append(Page(**about, label="", text=text[ref.start : ref.end], start=ref.start))
            if sum(len(page.text.encode()) for page in found) > 1_500_000:
                raise RequestFailed("too_large", "these pages are too large for one answer")
            return Pages(pages=found)

        async def embed(request: EmbedTexts, _: Cause) -> Contract:
            assert self.vectors is not None
            return Embeddings(model="test", vectors=[self.vectors.get(text, [0.0, 1.0]) for text in request.texts])

        answers: list[tuple[str, Any]] = [("rpc.embed.v1.passage.search", search), ("rpc.ingest.v1.page.get", get_pages)]
        if self.vectors is not None:
            answers.append(("rpc.embed.v1.text.embed", embed))
        async with contextlib.AsyncExitStack() as listening:
            for subject, handler in answers:
                await listening.enter_async_context(listen(wire, subject, Answerer(subject, handler)))
            yield


@contextlib.asynccontextmanager
async def listen(wire: Wire, subject: str, callback: Any) -> AsyncIterator[None]:
    """Calls back for every request to a subject. Each in a task of its own, as services do."""
    tasks: set[asyncio.Task[None]] = set()

    async def arrived(message: Msg) -> None:
        task = asyncio.create_task(callback(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    subscription = await wire.nc.subscribe(subject, cb=arrived)
    await wire.nc.flush()
    try:
        yield
    finally:
        await subscription.unsubscribe()
        for task in tasks:
            task.cancel()


@dataclass
class Person:
    """Somebody in a workspace, as the gateway speaks for them."""

    wire: Wire
    workspace_id: UUID = field(default_factory=uuid7)
    user_id: UUID = field(default_factory=uuid7)

    async def request(self, subject: str, request: type[Contract], response: type[Any], **fields: Any) -> Any:
        """One request in this person's name."""
        question = request.model_validate({"workspace_id": self.workspace_id, "user_id": self.user_id, **fields})
        return await RequestClient(lambda: self.wire.nc).ask(subject, question, response, timeout=15)

    async def open_session(self, session_id: UUID | None = None) -> UUID:
        """A session to post into."""
        opened = await self.request("rpc.chat.v1.session.open", OpenSession, SessionOpened, session_id=session_id)
        found: UUID = opened.session_id
        return found

    def message(self, session_id: UUID, text: str, **fields: Any) -> MessagePosted:
        """What the gateway would write into its outbox."""
        return MessagePosted(
            workspace_id=self.workspace_id,
            message_id=uuid7(),
            answer_id=uuid7(),
            session_id=session_id,
            user_id=self.user_id,
            text=text,
            **fields,
        )

    async def post(self, session_id: UUID, text: str, **fields: Any) -> MessagePosted:
        """Posts without waiting for the answer."""
        posted = self.message(session_id, text, **fields)
        await self.wire.send(envelope_for(posted))
        return posted

    async def ask(self, session_id: UUID, text: str, **fields: Any) -> tuple[MessagePosted, list[Frame]]:
        """Posts and waits for the last frame."""
        posted = await self.post(session_id, text, **fields)
        return posted, await self.frames_until_final(posted)

    async def frames(self, posted: MessagePosted) -> list[Frame]:
        """The frames stored so far."""
        subject = f"tok.{posted.workspace_id}.{posted.answer_id}"
        return [Frame.model_validate_json(item.data) for item in await event_log.read(self.wire.nc, TOKENS, subject)]

    async def frames_until_final(self, posted: MessagePosted, *, finals: int = 1) -> list[Frame]:
        """All frames, once `done` or `error` has come `finals` times."""
        frames: list[Frame] = []

        async def ended() -> bool:
            frames[:] = await self.frames(posted)
            return sum(frame.kind in {FrameKind.DONE, FrameKind.ERROR} for frame in frames) >= finals

        await wait_until(ended, seconds=SECONDS, what="the answer ends", every=0.01)
        return frames

    async def state(self, posted: MessagePosted) -> AnswerState:
        """The answer as it is stored."""
        found: AnswerState = await self.request("rpc.chat.v1.answer.get", GetAnswer, AnswerState, answer_id=posted.answer_id)
        return found

    async def messages(self, session_id: UUID, **part: int) -> list[SessionMessage]:
        """The history of a session, or a part of it."""
        found = await self.request("rpc.chat.v1.message.list", ListMessages, MessageList, session_id=session_id, **part)
        items: list[SessionMessage] = found.items
        return items

    async def question(self, posted: MessagePosted) -> Question:
        """What was asked, as it is asked again."""
        ids = {"session_id": posted.session_id, "message_id": posted.message_id}
        found: Question = await self.request("rpc.chat.v1.question.get", GetQuestion, Question, **ids)
        return found

    async def stop(self, posted: MessagePosted) -> None:
        """Wants no more of an answer."""
        ids = {"session_id": posted.session_id, "answer_id": posted.answer_id}
        await self.request("rpc.chat.v1.answer.stop", StopAnswer, AnswerState, **ids)

    async def until_text(self, posted: MessagePosted) -> list[Frame]:
        """The frames so far, once there is text among them."""
        frames: list[Frame] = []

        async def begun() -> bool:
            frames[:] = await self.frames(posted)
            return FrameKind.DELTA in [frame.kind for frame in frames]

        await wait_until(begun, seconds=SECONDS, what="the first words come", every=0.01)
        return frames

    async def events(self, posted: MessagePosted, *, count: int) -> list[str]:
        """The types of the events about an answer, once there are `count`."""
        types: list[str] = []

        async def there() -> bool:
            stored = await event_log.read(self.wire.nc, EVENTS, f"evt.chat.*.answer.*.*.{posted.answer_id}")
            types[:] = [Envelope.model_validate_json(item.data).type for item in stored]
            return len(types) >= count

        await wait_until(there, seconds=SECONDS, what=f"{count} events about the answer")
        return types


def text_of(frames: Sequence[Frame]) -> str:
    """The text of the deltas since the last start."""
    start = max(position for position, frame in enumerate(frames) if frame.kind is FrameKind.START)
    return "".join(frame.text or "" for frame in frames[start:])


def answering(model: ScriptedModel) -> list[ReceivedRequest]:
    """What a model was sent to answer: what it was asked to rewrite, it was asked for in one piece."""
    return [request for request in model.requests if request.body.get("stream")]
