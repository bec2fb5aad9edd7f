"""Publishes an answer's token frames, in order and without gaps, at most 30 a second, and fewer when many answers are made.

Text that comes faster is joined. Each frame is acknowledged by the stream before the next is sent, so that a frame that
was not stored is sent again under the same id, and an index never runs ahead of what is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable
from uuid import UUID

from docutalk_common.contracts.chat import Answer, Citation, Frame, FrameKind
from docutalk_common.messaging.streams import TOKENS
from docutalk_common.telemetry import get_logger
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from docutalk_chat.adapters.metrics import FIRST_TOKEN_SECONDS, FRAMES_LOST

log = get_logger(__name__)

FRAMES_PER_SECOND = 30
_DELTA_SECONDS = 1 / 25
"""Between two deltas, which leaves room within 30 for the other frames."""
FRAMES_TOGETHER = 800
"""Frames a second of all answers of a process. A frame takes about a millisecond of it and of the gateway together, and nobody
reads faster for getting the same text in smaller pieces."""
_PUBLISH_SECONDS = 2.0
_TRIES = 3


class Pace:
    """How often each answer of this process may send text."""

    def __init__(self) -> None:
        self.writers = 0

    @property
    def seconds(self) -> float:
        """Between two pieces of text of one answer."""
        return max(_DELTA_SECONDS, self.writers / FRAMES_TOGETHER)


class FrameWriter:
    """The frames of one answer, from one attempt at it. Make it when the question is taken up, `async with` it when there is
    something to say; leaving the block sends what is left.

    Losing frames never fails an answer: it is stored before `done`, and who missed frames reads it there.
    """

    def __init__(
        self,
        js: Callable[[], JetStreamContext],
        *,
        workspace_id: UUID,
        answer_id: UUID,
        session_id: UUID,
        pace: Pace | None = None,
    ) -> None:
        self._js = js
        self._pace_of_all = pace or Pace()
        self._subject = f"tok.{workspace_id}.{answer_id}"
        self._answer_id = answer_id
        self._session_id = session_id
        # Its own for each attempt, however the message came again: the stream would take a frame of one for that of another.
        self._writer = secrets.token_hex(4)
        self._index = 0
        self._queue: deque[Frame] = deque()
        self._filled = asyncio.Event()
        self._sent: deque[float] = deque(maxlen=FRAMES_PER_SECOND)
        self._next_delta = 0.0
        self._broken = False
        self._closed = False
        self._made = time.monotonic()
        self._spoke = False

    async def __aenter__(self) -> FrameWriter:
        self._task = asyncio.create_task(self._run())
        self._pace_of_all.writers += 1
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._closed = True
        self._pace_of_all.writers -= 1
        self._filled.set()
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def skip_stored(self) -> None:
        """Counts on behind the last frame of an earlier attempt, as far as the stream still has it."""
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            try:
                last = await self._js().get_last_msg(TOKENS, self._subject, direct=True)
            except NotFoundError:
                return
            self._index = Frame.model_validate_json(last.data or b"").index + 1

    def start(self) -> None:
        """The answer begins, or begins again."""
        self._put(FrameKind.START, session_id=self._session_id)

    def delta(self, text: str) -> None:
        """More text."""
        if not self._spoke:
            self._spoke = True
            FIRST_TOKEN_SECONDS.observe(time.monotonic() - self._made)
        if self._queue and self._queue[-1].kind is FrameKind.DELTA:
            joined = (self._queue[-1].text or "") + text
            self._queue[-1] = self._queue[-1].model_copy(update={"text": joined})
        else:
            self._put(FrameKind.DELTA, text=text)

    def citation(self, citation: Citation) -> None:
        """A citation whose marker was sent before."""
        self._put(FrameKind.CITATION, citation=citation)

    def done(self, answer: Answer) -> None:
        """The whole answer, which is stored by now."""
        self._put(FrameKind.DONE, answer=answer)

    def error(self, code: str, reason: str) -> None:
        """There will be no answer."""
        self._put(FrameKind.ERROR, code=code, reason=reason)

    def _put(self, kind: FrameKind, **fields: object) -> None:
        frame = Frame(answer_id=self._answer_id, index=0, kind=kind)
        self._queue.append(frame.model_copy(update=fields))
        self._filled.set()

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            while self._queue:
                await self._pace(self._queue[0].kind)
                # Taken only now: while it waited, more text was joined to it.
                await self._send(self._queue.popleft())
            if self._closed:
                return
            self._filled.clear()

    async def _pace(self, kind: FrameKind) -> None:
        now = time.monotonic()
        earliest = self._next_delta if kind is FrameKind.DELTA and not self._closed else now
        if len(self._sent) == FRAMES_PER_SECOND:
            earliest = max(earliest, self._sent[0] + 1.0)
        if earliest > now:
            await asyncio.sleep(earliest - now)
        now = time.monotonic()
        self._sent.append(now)
        if kind is FrameKind.DELTA:
            self._next_delta = now + self._pace_of_all.seconds

    async def _send(self, frame: Frame) -> None:
        final = frame.kind in {FrameKind.DONE, FrameKind.ERROR}
        if self._broken and not final:
            FRAMES_LOST.inc()
            return
        payload = frame.model_copy(update={"index": self._index}).model_dump_json(exclude_none=True).encode()
        headers = {"Nats-Msg-Id": f"{self._answer_id}:{self._writer}:{self._index}"}
        for _ in range(_TRIES):
            try:
                await self._js().publish(self._subject, payload, stream=TOKENS, headers=headers, timeout=_PUBLISH_SECONDS)
            except (NatsError, OSError, TimeoutError) as error:
                log.warning("a token frame was not stored", answer_id=str(self._answer_id), index=self._index, error=str(error))
            else:
                self._index += 1
                return
        FRAMES_LOST.inc()
        # Frames behind a lost one are of no use to a reader; the last one tells it all anyway.
        self._broken = True
