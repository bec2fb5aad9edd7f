"""`docutalk similar`: documents that say the like."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli.client import Api
from docutalk_cli.lookup import document_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, run_in_workspace
from docutalk_cli.output import Exit, Output
from docutalk_cli.snippet import snippet


def similar(
    document: Annotated[str, typer.Argument(help="Id or filename.")],
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="How many documents.")] = 10,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Find documents like one that is there, with the passages that they have most in common."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        asked = await document_of(api, workspace_id, document)
        found = await api.get(f"/workspaces/{workspace_id}/documents/{asked['id']}/similar", limit=limit)
        if as_json:
            output.json(found)
            return Exit.OK
        for rank, item in enumerate(found["items"], 1):
            if rank > 1:
                output.line("")
            output.line(Text.assemble((f"{rank}. ", "dim"), (item["filename"], "bold cyan"), (f"  {item['score']:.2f}", "dim")))
            output.line(
                Text(f"p. {item['passage']['page']}, like p. {item['like']['page']} of {asked['filename']}:", style="dim")
            )
            output.line(snippet(item["text"], []))
        if not found["items"]:
            output.note(f"Nothing here is like {asked['filename']}.")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)
