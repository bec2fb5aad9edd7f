"""`docutalk status`: the documents of a workspace, or a few of them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli.client import Json, every
from docutalk_cli.lookup import document_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, in_workspace, run
from docutalk_cli.output import Exit, Output, duration, size_text, status_text

_COLUMNS = ("status", "document", "pages", "passages", "size", "id")
_NUMERIC = ("pages", "passages", "size")
_OPTIONAL = ("id", "size", "passages")


def status(
    documents: Annotated[list[str] | None, typer.Argument(help="Ids, beginnings of ids, or filenames. \\[default: all]")] = None,
    *,
    only: Annotated[str | None, typer.Option("--status", help="Only documents in this status, for example failed.")] = None,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """List documents with their status. Exit code 1 when one that you named has failed."""
    output = Output(as_json=as_json)

    async def work() -> Exit:
        async with in_workspace(url, home, workspace) as (api, workspace_id):
            if documents:
                found = [await document_of(api, workspace_id, name) for name in documents]
            else:
                found = [item async for item in every(api, f"/workspaces/{workspace_id}/documents", status=only)]
        if as_json:
            output.json({"documents": found})
        elif found or not output.interactive:
            output.table(
                _COLUMNS,
                [_row(document) for document in found],
                wide="document",
                numeric=_NUMERIC,
                optional=("id", "size", "passages"),
            )
        else:
            output.line("There are no documents yet. Add some: docutalk upload FILES")
        return Exit.FAILED if documents and any(d["status"] == "failed" for d in found) else Exit.OK

    run(output, work)


def _row(document: Json) -> list[str | Text]:
    name = Text(document["filename"])
    if document.get("reason"):
        name.append(f": {document['reason']}", style="red")
    state = status_text(document["status"])
    done = document["progress"]
    if document["status"] in ("extracting", "chunking", "embedding"):
        state.append(f" {done['percent']} %")
    if done.get("queue_position"):
        state.append(f" no. {done['queue_position']:,}")
    if done.get("eta_seconds") and document["status"] not in ("ready", "failed", "cancelled"):
        state.append(f", about {duration(done['eta_seconds'])}", style="dim")
    return [
        state,
        name,
        _number(document["page_count"]),
        _number(document["chunk_count"]),
        size_text(document["size"]),
        document["id"],
    ]


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
