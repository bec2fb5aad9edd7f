"""`docutalk places`: the places that documents name."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli import filters
from docutalk_cli.client import Api, Json, every
from docutalk_cli.lookup import document_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, run_in_workspace
from docutalk_cli.output import Exit, Output

_COLUMNS = ("place", "country", "kind", "mentions", "documents", "latitude", "longitude")
_NUMERIC = ("mentions", "documents", "latitude", "longitude")


def places(
    document: Annotated[str | None, typer.Argument(help="Id or filename. \\[default: the whole workspace]")] = None,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the most named first.")] = 50,
    box: filters.Box = None,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """List the places that documents name, most named first."""
    output = Output(as_json=as_json)
    sides = filters.sides(box) or {}

    async def work(api: Api, workspace_id: str) -> Exit:
        path = f"/workspaces/{workspace_id}"
        if document is not None:
            path += f"/documents/{(await document_of(api, workspace_id, document))['id']}"
        found: list[Json] = []
        async for item in every(api, f"{path}/places", **{name: str(value) for name, value in sides.items()}):
            found.append(item)
            if len(found) == limit:
                break
        if as_json:
            output.json({"places": found})
        elif found or not output.interactive:
            rows = [_row(item) for item in found]
            optional = ("kind", "longitude", "latitude", "documents")
            output.table(_COLUMNS, rows, wide="place", numeric=_NUMERIC, optional=optional)
        else:
            output.line("No places are named" + (" in this box." if sides else "."))
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


def _row(item: Json) -> list[str | Text]:
    return [
        item["name"],
        item["country"],
        item["kind"],
        f"{item['mentions']:,}",
        f"{item['documents']:,}",
        f"{item['latitude']:.2f}",
        f"{item['longitude']:.2f}",
    ]
