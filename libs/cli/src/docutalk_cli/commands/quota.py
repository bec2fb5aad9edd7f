"""`docutalk quota`: how much workspaces may hold, and how often they may be asked. For administrators."""

from __future__ import annotations

import re
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli.client import Api, Json, every
from docutalk_cli.lookup import one_of
from docutalk_cli.options import AsJson, HomeFolder, Url, run_connected
from docutalk_cli.output import Exit, Output, size_text, time_text

app = typer.Typer(
    name="quota",
    help="How much workspaces may hold, and how often they may be asked. For administrators.",
    no_args_is_help=True,
    add_completion=False,
)

WORKSPACES = "/admin/workspaces"
Named = Annotated[str, typer.Argument(metavar="WORKSPACE", help="Id, the beginning of it, or the name of one of yours.")]
Limit = "N|default"
_COLUMNS = ("workspace", "members", "documents", "files", "questions a day", "made", "id")
_NUMERIC = ("members", "documents", "files", "questions a day")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?")
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@app.command("show")
def show(
    workspace: Annotated[
        str | None, typer.Argument(metavar="WORKSPACE", help="Id, the beginning of it, or the name of one of yours.")
    ] = None,
    *,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show what workspaces hold of what they may, newest first. What others' are called only their members see."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found, names = await _all(api)
        if workspace is not None:
            found = [_one(found, names, workspace)]
        if as_json:
            output.json({"workspaces": found})
        else:
            rows = [_row(item, names) for item in found]
            output.table(_COLUMNS, rows, wide="workspace", numeric=_NUMERIC, optional=("made", "members", "questions a day"))
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("set")
def set_quota(
    workspace: Named,
    *,
    documents: Annotated[str | None, typer.Option("--documents", metavar=Limit, help="How many it may hold.")] = None,
    size: Annotated[str | None, typer.Option("--size", metavar="10GB|default", help="How much their files may have.")] = None,
    questions: Annotated[str | None, typer.Option("--questions", metavar=Limit, help="How often it may be asked a day.")] = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Set what a workspace may hold. What is there stays, however much it is; default is what the installation's settings say."""
    output = Output(as_json=as_json)
    changes: Json = {}
    if documents is not None:
        changes["max_documents"] = _number(documents, "--documents")
    if size is not None:
        changes["max_bytes"] = _bytes(size)
    if questions is not None:
        changes["max_questions_per_day"] = _number(questions, "--questions")
    if not changes:
        raise typer.BadParameter("say what to set: --documents, --size or --questions", param_hint="WORKSPACE")

    async def work(api: Api) -> Exit:
        found, names = await _all(api)
        changed = await api.patch(f"{WORKSPACES}/{_one(found, names, workspace)['id']}", changes)
        if as_json:
            output.json(changed)
        else:
            output.table(_COLUMNS, [_row(changed, names)], wide="workspace", numeric=_NUMERIC, optional=("made", "members", "id"))
        return Exit.OK

    run_connected(output, url, home, work)


async def _all(api: Api) -> tuple[list[Json], dict[str, str]]:
    """All workspaces, and by id what those are called of which one is a member."""
    found = [item async for item in every(api, WORKSPACES)]
    return found, {item["id"]: item["name"] async for item in every(api, "/workspaces")}


def _one(workspaces: list[Json], names: dict[str, str], name: str) -> Json:
    known = [item | {"name": names.get(item["id"])} for item in workspaces]
    found = one_of(known, name, "name", noun="workspace", hint="docutalk quota show shows them.")
    return next(item for item in workspaces if item["id"] == found["id"])


def _row(workspace: Json, names: dict[str, str]) -> list[str | Text]:
    own, limits = workspace["own_limits"], workspace["limits"]

    def limit(name: str, *, size: bool = False) -> str:
        if limits[name] is None:
            return "no limit"
        most = size_text(limits[name]) if size else f"{limits[name]:,}"
        return most if own[name] is None else f"{most} (own)"

    name = Text(names.get(workspace["id"], "–"))
    if workspace["archived_at"]:
        name.append(" (archived)", style="yellow")
    return [
        name,
        f"{workspace['members']:,}",
        f"{workspace['uploaded_documents']:,} of {limit('max_documents')}",
        f"{size_text(workspace['uploaded_bytes'])} of {limit('max_bytes', size=True)}",
        limit("max_questions_per_day"),
        time_text(workspace["created_at"]),
        workspace["id"],
    ]


def _number(text: str, option: str) -> int | None:
    if text == "default":
        return None
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is no number, nor default", param_hint=option)
    return int(text)


def _bytes(text: str) -> int | None:
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None and text != "default":
        raise typer.BadParameter(f"{text!r} is no size: write 500MB, 10GB, or default", param_hint="--size")
    return None if match is None else int(float(match[1]) * _FACTORS[match[2]])
