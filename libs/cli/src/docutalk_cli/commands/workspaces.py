"""`docutalk workspaces`: made, renamed, laid to rest, deleted, and what they hold."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli import prompts
from docutalk_cli.client import Api, Json, every
from docutalk_cli.erasures import NoWait, told
from docutalk_cli.lookup import named_workspace
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, Yes, run_connected, run_in_workspace
from docutalk_cli.output import Exit, Output, size_text, time_text

app = typer.Typer(
    name="workspaces", help="Workspaces: documents, conversations and members.", no_args_is_help=True, add_completion=False
)

Named = Annotated[str, typer.Argument(metavar="WORKSPACE", help="Id, the beginning of it, or name.")]
_COLUMNS = ("workspace", "your role", "made", "id")


@app.command("list")
def list_workspaces(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List the workspaces that you are a member of, oldest first. Commands go to the one with a star when you name none."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = [item async for item in every(api, "/workspaces")]
        if as_json:
            output.json({"workspaces": found})
            return Exit.OK
        default = (await api.get("/users/me"))["default_workspace_id"]
        if found or not output.interactive:
            output.table(_COLUMNS, [_row(item, default) for item in found], wide="workspace", optional=("made", "id"))
        else:
            output.line("There are no workspaces. Make one: docutalk workspaces create NAME")
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    *,
    description: Annotated[str | None, typer.Option("--description", help="What it is for.")] = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make a workspace, which you own."""
    output = Output(as_json=as_json)
    body = {"name": name} | ({"description": description} if description is not None else {})

    async def work(api: Api) -> Exit:
        made = await api.post("/workspaces", body)
        if as_json:
            output.json(made)
        else:
            output.line(f"✓ {made['name']} is there: docutalk upload FILES -w {made['id']}")
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("rename")
def rename(
    workspace: Named,
    name: Annotated[str, typer.Argument(help="What it shall be called.")],
    *,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Give a workspace another name."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = await named_workspace(api, workspace)
        renamed = await api.patch(f"/workspaces/{found['id']}", {"name": name})
        if as_json:
            output.json(renamed)
        else:
            output.line(f"{found['name']} is called {renamed['name']} now.")
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("default")
def default(workspace: Named, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Choose where commands and programs go when they name no workspace."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = await named_workspace(api, workspace)
        changed = await api.patch("/users/me", {"default_workspace_id": found["id"]})
        if as_json:
            output.json(changed)
        else:
            output.line(f"{found['name']} is your default workspace now.")
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("archive")
def archive(workspace: Named, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Let a workspace rest: it can be read, searched and exported; documents and questions are refused."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        return await _step(api, output, workspace, "archive", "rests now. docutalk workspaces restore takes it up again.")

    run_connected(output, url, home, work)


@app.command("restore")
def restore(workspace: Named, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Take up an archived workspace again."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        return await _step(api, output, workspace, "restore", "is taken up again.")

    run_connected(output, url, home, work)


@app.command("delete")
def delete(
    workspace: Named,
    *,
    yes: Yes = False,
    no_wait: NoWait = False,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Delete a workspace for good, with its documents and everybody's conversations in it."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = await named_workspace(api, workspace)
        if not yes:
            prompts.confirm(f"Delete {found['name']} ({found['id']}) with all that is in it, for good?")
        erasure = await api.delete(f"/workspaces/{found['id']}")
        return await told(api, output, found["name"], erasure, wait=not no_wait)

    run_connected(output, url, home, work)


@app.command("usage")
def usage(workspace: Workspace = None, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Show what a workspace holds, and what it may hold."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        found = await api.get(f"/workspaces/{workspace_id}/usage")
        if as_json:
            output.json(found)
            return Exit.OK
        limits = found["limits"]
        output.fields(
            {
                "documents": _of(f"{found['documents']:,}", limits["max_documents"]),
                "files": _of(size_text(found["bytes"]), limits["max_bytes"], size=True),
                "pages": f"{found['pages']:,}",
                "sources": f"{found['sources']:,}",
                "questions today": _of(f"{found['questions_today']:,}", limits["max_questions_per_day"]),
                "members": f"{found['members']:,}",
            }
        )
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


async def _step(api: Api, output: Output, name: str, verb: str, said: str) -> Exit:
    found = await named_workspace(api, name)
    answer = await api.post(f"/workspaces/{found['id']}/{verb}", {})
    if output.as_json:
        output.json(answer)
    else:
        output.line(f"{found['name']} {said}")
    return Exit.OK


def _row(workspace: Json, default: str | None) -> list[str | Text]:
    name = Text(f"{workspace['name']} *" if workspace["id"] == default else workspace["name"])
    if workspace["archived_at"]:
        name.append(" (archived)", style="yellow")
    return [name, workspace["role"], time_text(workspace["created_at"]), workspace["id"]]


def _of(held: str, most: int | None, *, size: bool = False) -> str:
    if most is None:
        return f"{held}, no limit"
    return f"{held} of {size_text(most) if size else f'{most:,}'}"
