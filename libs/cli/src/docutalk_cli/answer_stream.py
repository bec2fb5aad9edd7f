"""An answer while it is made: written as it comes, taken up again after a lost connection, and stopped."""

from __future__ import annotations

import asyncio

from rich.cells import cell_len

from docutalk_cli.client import Api, ClientError, Json, NotReachable, StreamEvent
from docutalk_cli.output import Output

# Whoever pressed Ctrl-C waits for no more than this.
_STOP_SECONDS = 5.0


class AnswerStream:
    """One answer. With `--json` nothing of it is written before it is whole."""

    def __init__(self, api: Api, workspace: str, output: Output) -> None:
        self._api = api
        self._chat = f"/workspaces/{workspace}/chat"
        self._writer = _Writer(output)
        self._start: Json | None = None
        self._last = ""

    @property
    def session_id(self) -> str | None:
        """The conversation; None until the answer has begun."""
        return None if self._start is None else str(self._start["session_id"])

    async def ask(self, path: str, body: Json) -> Json:
        """Posts to a path below the workspace's chat, writes the answer and returns it whole.

        Raises `ClientError` for an answer that failed.
        """
        try:
            async with self._api.post_events(self._chat + path, body) as events:
                async for event in events:
                    if (answer := self._take(event)) is not None:
                        return answer
        except NotReachable:
            if self._start is None:
                raise
        return await self._rest()

    async def stop(self) -> Json | None:
        """Ends an answer that has begun. Returns what was written of it, None when that does not come within five seconds.

        Raises `ClientError`.
        """
        if self._start is None:
            return None
        self._writer.interrupt()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                session, message = self._start["session_id"], self._start["message_id"]
                await self._api.post(f"{self._chat}/sessions/{session}/messages/{message}/stop", {})
                return await self._rest()
        except TimeoutError:
            return None
        finally:
            self._writer.end()

    async def _rest(self) -> Json:
        """The answer from where the connection broke off."""
        if self._start is None:
            raise NotReachable("The answer broke off. Ask again in a moment.")
        path = f"{self._chat}/answers/{self._start['answer_id']}/stream"
        async for event in self._api.follow(path, after=self._last or None):
            if (answer := self._take(event)) is not None:
                return answer
        raise AssertionError("a stream that is followed ends only with an error")

    def _take(self, event: StreamEvent) -> Json | None:
        """Writes what an event brings; the whole answer once it is done. Raises `ClientError` for an answer that failed."""
        self._last = event.id or self._last
        if event.name == "start":
            self._start = event.data
            self._writer.restart()
        elif event.name == "delta":
            self._writer.write(event.data["text"])
        elif event.name == "error":
            self._writer.end()
            raise ClientError(event.data["reason"])
        elif event.name == "done":
            if not self._writer.written:
                self._writer.write(event.data["response"])
            self._writer.end()
            return event.data
        return None


class _Writer:
    """Writes pieces of text at once, on a terminal broken between words instead of within them."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._width = output.out.width if output.interactive else 0
        self._column = 0
        self._word = ""
        self.written = False

    def restart(self) -> None:
        """The answer begins again, because the service that wrote it was started again."""
        if self.written:
            self.end()
            self._output.note("The answer was interrupted and begins again:")
            self.written = False

    def write(self, text: str) -> None:
        """A piece. A word is written once it is known to end; into a pipe everything at once."""
        if self._output.as_json:
            return
        self.written = self.written or bool(text)
        if not self._width:
            self._output.raw(text)
            self._column = 0 if text.endswith("\n") else 1
            return
        for character in text:
            if character.isspace():
                self._flush()
                self._space(character)
            elif cell_len(character) > 1:
                # Chinese and Japanese have no blanks and break anywhere: a paragraph is not held back for its end.
                self._flush()
                self._word = character
                self._flush()
            else:
                self._word += character

    def end(self) -> None:
        """The last word, and a line break if there is none."""
        self._flush()
        if self._column:
            self._output.raw("\n")
            self._column = 0

    def interrupt(self) -> None:
        """Somebody pressed Ctrl-C: a terminal has just echoed it, so what comes begins a line of its own."""
        if self._width:
            self._output.raw("\n")
            self._column = 0

    def _space(self, character: str) -> None:
        if character == "\n":
            self._output.raw("\n")
            self._column = 0
        elif self._column + 1 < self._width:
            self._output.raw(" ")
            self._column += 1

    def _flush(self) -> None:
        if not self._word:
            return
        length = cell_len(self._word)
        if self._column and self._column + length > self._width:
            self._output.raw("\n")
            self._column = 0
        self._output.raw(self._word)
        self._column = (self._column + length) % self._width if length > self._width else self._column + length
        self._word = ""
