"""`docutalk sessions`: conversations to find again, read, rename, delete and keep elsewhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli.answers import remarks, show_sources, usage_text
from docutalk_cli.client import Api, Json, every
from docutalk_cli.lookup import session_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, run_in_workspace
from docutalk_cli.output import Exit, Output, count, json_text, one_line, time_text

app = typer.Typer(name="sessions", help="Your conversations with the documents.", no_args_is_help=True, add_completion=False)

Named = Annotated[str, typer.Argument(metavar="SESSION", help="Id, the beginning of it, title, or last.")]
_COLUMNS = ("conversation", "last used", "id")
# The beginning of an id is the millisecond in which the conversation began, which is enough to tell one from another.
_SHORT_ID = 13


class Format(StrEnum):
    """As what a conversation is exported."""

    MARKDOWN = "markdown"
    JSON = "json"


@app.command("list")
def list_sessions(
    *,
    search: Annotated[str | None, typer.Option("--search", metavar="WORDS", help="Only those that hold these words.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the last used first.")] = 20,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """List conversations, last used first."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        found: list[Json] = []
        async for item in every(api, f"/workspaces/{workspace_id}/chat/sessions", q=search):
            found.append(item)
            if len(found) == limit:
                break
        if as_json:
            output.json({"sessions": found})
        elif found or not output.interactive:
            rows = [_row(session, short=output.interactive) for session in found]
            output.table(_COLUMNS, rows, wide="conversation", optional=("last used",))
        else:
            output.line("No conversation holds these words." if search else "There is no conversation yet: docutalk ask QUESTION")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@app.command("show")
def show(session: Named, workspace: Workspace = None, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Show a conversation: questions, answers and where they stand."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        found = await session_of(api, workspace_id, session)
        messages = (await api.get(f"/workspaces/{workspace_id}/chat/sessions/{found['id']}/messages"))["items"]
        if as_json:
            output.json({"session": found, "messages": messages})
            return Exit.OK
        output.line(Text(found["title"], style="bold"))
        output.line(Text(f"{time_text(found['created_at'])}, {found['id']}", style="dim"))
        for message in messages:
            output.line("")
            if message["role"] == "user":
                _show_question(output, message)
            else:
                _show_answer(output, message)
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@app.command("rename")
def rename(
    session: Named,
    title: Annotated[str, typer.Argument(help="What it shall be called.")],
    *,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Give a conversation another title."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        found = await session_of(api, workspace_id, session)
        renamed = await api.patch(f"/workspaces/{workspace_id}/chat/sessions/{found['id']}", {"title": title})
        if as_json:
            output.json(renamed)
        else:
            output.line(f"{found['title']} is called {renamed['title']} now.")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@app.command("delete")
def delete(
    sessions: Annotated[list[str], typer.Argument(metavar="SESSION...", help="Ids, beginnings of them, titles, or last.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Delete conversations."""
    output = Output(as_json=as_json)
    if not yes:
        which = f"the conversation {sessions[0]}" if len(sessions) == 1 else f"the conversations {', '.join(sessions)}"
        typer.confirm(f"Delete {which}?", abort=True, err=True)

    async def work(api: Api, workspace_id: str) -> Exit:
        # All of them are found before the first is gone: then last means the same one, and a slip deletes nothing.
        ids = dict.fromkeys([(await session_of(api, workspace_id, name))["id"] for name in sessions])
        for session_id in ids:
            await api.delete(f"/workspaces/{workspace_id}/chat/sessions/{session_id}")
        if as_json:
            output.json({"session_ids": list(ids)})
        else:
            output.line(f"{count(len(ids), 'conversation')} deleted.")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@app.command("export")
def export(
    session: Named,
    *,
    format_: Annotated[Format, typer.Option("--format", help="To read, or for a program.")] = Format.MARKDOWN,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Into a file instead of standard output.")
    ] = None,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Write a whole conversation with its sources as Markdown or JSON."""
    output = Output(as_json=as_json)
    chosen = Format.JSON if as_json else format_

    async def work(api: Api, workspace_id: str) -> Exit:
        found = await session_of(api, workspace_id, session)
        path = f"/workspaces/{workspace_id}/chat/sessions/{found['id']}/export"
        if chosen is Format.JSON:
            text = json_text(await api.get(path, format="json"), indent=2)
        else:
            text = await api.get_text(path, format="markdown")
        if file is None:
            output.raw(text)
        else:
            file.write_text(text, encoding="utf-8")
            output.note(f"{found['title']} is in {file} now.")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


def _row(session: Json, *, short: bool) -> list[str | Text]:
    title = Text(session["title"])
    if hit := session["hit"]:
        title.append(f": …{one_line(hit['snippet'])}…", style="dim")
    return [title, time_text(session["updated_at"]), session["id"][:_SHORT_ID] if short else session["id"]]


def _show_question(output: Output, message: Json) -> None:
    if message["selected_text"]:
        output.line(Text("\n".join(f"  | {line}" for line in message["selected_text"].splitlines()), style="dim"))
    output.line(Text(f"> {message['text']}", style="bold"))
    if message["answering"]:
        output.line(Text("It is being answered.", style="dim"))
    elif message["code"]:
        output.line(Text(f"There is no answer: {message['reason'] or message['code']}", style="red"))


def _show_answer(output: Output, message: Json) -> None:
    if message["text"]:
        output.line(message["text"])
    show_sources(output, message["citations"])
    told = [] if message["chosen"] else ["Another answer was chosen."]
    told += remarks(message)
    if message["rating"]:
        told.append("You rated it good." if message["rating"] > 0 else "You rated it bad.")
    told += [usage] if (usage := usage_text(message)) else []
    if told:
        output.line(Text("\n" + "\n".join(told), style="dim"))
