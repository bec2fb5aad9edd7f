"""`docutalk ask`: an answer as it is made, then where it stands."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli.client import Api, ClientError, Json, NotReachable, StreamEvent, document_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, in_workspace, run
from docutalk_cli.output import Exit, Output, one_line, place

_ANSWER_SECONDS = 330.0


def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    *,
    session: Annotated[str | None, typer.Option("--session", "-s", help="Go on with this conversation.")] = None,
    document: Annotated[list[str] | None, typer.Option("--document", "-d", help="Only from this; may be repeated.")] = None,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Ask a question about the documents. The answer names the pages that it stands on."""
    output = Output(as_json=as_json)

    async def work() -> Exit:
        async with in_workspace(url, home, workspace) as (api, workspace_id):
            ids = [(await document_of(api, workspace_id, name))["id"] for name in document or []]
            body: Json = {"message": question, "document_ids": ids}
            if session is not None:
                body["session_id"] = session
            path = f"/workspaces/{workspace_id}/chat"
            if as_json:
                output.json(await api.post(path, body, timeout=_ANSWER_SECONDS))
            else:
                _show_sources(output, await _stream(api, path, body, output))
        return Exit.OK

    run(output, work)


async def _stream(api: Api, path: str, body: Json, output: Output) -> Json:
    """Writes the answer as it comes and returns it whole. A lost connection is taken up again where it broke."""
    writer = _Writer(output)
    answer_id = last = ""
    try:
        async with api.post_events(path, body) as events:
            async for event in events:
                answer_id, last = event.data.get("answer_id", answer_id), event.id or last
                if (answer := _take(event, writer)) is not None:
                    return answer
    except NotReachable:
        if not answer_id:
            raise
    if answer_id:
        async for event in api.follow(f"{path}/answers/{answer_id}/stream", after=last or None):
            if (answer := _take(event, writer)) is not None:
                return answer
    raise NotReachable("The answer broke off. Ask again in a moment.")


def _take(event: StreamEvent, writer: _Writer) -> Json | None:
    """Writes what an event brings; the whole answer once it is done. Raises `ClientError` for an answer that failed."""
    if event.name == "start":
        writer.restart()
    elif event.name == "delta":
        writer.write(event.data["text"])
    elif event.name == "error":
        writer.end()
        raise ClientError(event.data["reason"])
    elif event.name == "done":
        if not writer.written:
            writer.write(event.data["response"])
        writer.end()
        return event.data
    return None


def _show_sources(output: Output, answer: Json) -> None:
    if answer["citations"]:
        output.line("")
    for citation in answer["citations"]:
        output.line(
            Text.assemble((f"[{citation['marker']}] ", "cyan"), (place(citation), "bold"), f': "{one_line(citation["quote"])}"')
        )
    if output.interactive:
        output.note(f"\nGo on with: docutalk ask --session {answer['session_id']} QUESTION")


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
        self.written = self.written or bool(text)
        if not self._width:
            self._output.raw(text)
            self._column = 0 if text.endswith("\n") else 1
            return
        for character in text:
            if character.isspace():
                self._flush()
                self._space(character)
            else:
                self._word += character

    def end(self) -> None:
        """The last word, and a line break if there is none."""
        self._flush()
        if self._column:
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
        length = Text(self._word).cell_len
        if self._column and self._column + length > self._width:
            self._output.raw("\n")
            self._column = 0
        self._output.raw(self._word)
        self._column = (self._column + length) % self._width if length > self._width else self._column + length
        self._word = ""
