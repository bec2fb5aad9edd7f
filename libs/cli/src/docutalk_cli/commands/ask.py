"""`docutalk ask`: an answer as it is made, then where it stands."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from docutalk_cli import filters
from docutalk_cli.answer_stream import AnswerStream
from docutalk_cli.answers import remarks, show_sources, usage_text
from docutalk_cli.client import Api, ClientError, Json
from docutalk_cli.lookup import session_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, run_in_workspace
from docutalk_cli.output import Exit, Output


def ask(
    question: Annotated[str | None, typer.Argument(help="The question.", show_default=False)] = None,
    *,
    session: Annotated[
        str | None,
        typer.Option("--session", "-s", help="Go on with this conversation: its id, the beginning of it, its title, or last."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Answer the last question of --session again.")] = False,
    selected: Annotated[
        str | None, typer.Option("--selected", metavar="TEXT", help="The text that the question is about.")
    ] = None,
    document: filters.Documents = None,
    type_: filters.Types = None,
    source: filters.Sources = None,
    language: filters.Languages = None,
    since: filters.Since = None,
    until: filters.Until = None,
    box: filters.Box = None,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Ask a question about the documents. The answer names the pages that it stands on. Ctrl-C stops it where it is."""
    output = Output(as_json=as_json)
    read = filters.read(kinds=type_, languages=language, since=since, until=until, box=box)
    narrowed = bool(read or document or source or selected)
    _check(question, session, again=again, narrowed=narrowed)

    async def work(api: Api, workspace_id: str) -> Exit:
        session_id = None if session is None else (await session_of(api, workspace_id, session))["id"]
        stream = AnswerStream(api, workspace_id, output)
        if again:
            return await _answered(output, stream, await _last_question(api, workspace_id, session_id), {})
        given = {"message": question, "session_id": session_id, "selected_text": selected}
        body = {name: value for name, value in given.items() if value is not None}
        body["filters"] = read | await filters.named(api, workspace_id, documents=document, sources=source)
        return await _answered(output, stream, "", body)

    run_in_workspace(output, workspace, url, home, work)


def _check(question: str | None, session: str | None, *, again: bool, narrowed: bool) -> None:
    if not again and question is None:
        raise typer.BadParameter("what do you want to know?", param_hint="QUESTION")
    if again and session is None:
        raise typer.BadParameter("say of which conversation, for example --session last", param_hint="--again")
    if again and (question is not None or narrowed):
        raise typer.BadParameter("the question is asked again as it was: give no other, and nothing beside", param_hint="--again")


async def _last_question(api: Api, workspace: str, session_id: str | None) -> str:
    """The path below chat that answers it again."""
    path = f"/sessions/{session_id}/messages"
    messages: list[Json] = (await api.get(f"/workspaces/{workspace}/chat{path}"))["items"]
    questions = [message["id"] for message in messages if message["role"] == "user"]
    if not questions:
        raise ClientError("There is no question in this conversation yet.")
    return f"{path}/{questions[-1]}/regenerate"


async def _answered(output: Output, stream: AnswerStream, path: str, body: Json) -> Exit:
    """Asks and shows the answer. Ctrl-C ends the answer and not the command; a second one ends the command, too."""
    try:
        _show(output, await stream.ask(path, body))
    except asyncio.CancelledError:
        if stream.session_id is None or (task := asyncio.current_task()) is None:
            raise
        task.uncancel()
        await _stop(output, stream)
        return Exit.INTERRUPTED
    return Exit.OK


async def _stop(output: Output, stream: AnswerStream) -> None:
    try:
        answer = await stream.stop()
    except ClientError as error:
        output.error(str(error))
        return
    if answer is not None:
        _show(output, answer)
    else:
        output.note(f"It may still be going on. docutalk sessions show {stream.session_id} tells.")


def _show(output: Output, answer: Json) -> None:
    """What comes after the text, which is written already."""
    if output.as_json:
        output.json(answer)
        return
    show_sources(output, answer["citations"])
    notes = remarks(answer)
    if output.interactive:
        notes += [usage] if (usage := usage_text(answer)) else []
        notes.append(f"Go on with: docutalk ask --session {answer['session_id']} QUESTION")
    if notes:
        output.note("\n" + "\n".join(notes))
