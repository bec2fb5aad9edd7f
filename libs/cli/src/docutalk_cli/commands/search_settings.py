"""`docutalk search-settings`: how a workspace's searches rank."""

from __future__ import annotations

from typing import Annotated

import typer

from docutalk_cli.client import Api
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, run_in_workspace
from docutalk_cli.output import Exit, Output


def search_settings(
    *,
    semantic_weight: Annotated[
        float | None,
        typer.Option("--semantic-weight", min=0, max=1, help="The share of meaning in a score: 0 words only, 1 meaning only."),
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="Back to the usual weight.")] = False,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show or change how much meaning and words count in a workspace's searches."""
    output = Output(as_json=as_json)
    if default and semantic_weight is not None:
        raise typer.BadParameter("give either a weight or --default", param_hint="--semantic-weight")

    async def work(api: Api, workspace_id: str) -> Exit:
        path = f"/workspaces/{workspace_id}/search/settings"
        if default or semantic_weight is not None:
            found = await api.patch(path, {"semantic_weight": semantic_weight})
        else:
            found = await api.get(path)
        if as_json:
            output.json(found)
        else:
            weight = found["semantic_weight"]
            usual = ", as usual" if found["is_default"] else ""
            output.line(f"Meaning counts {weight:.0%}, words {1 - weight:.0%}{usual}.")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)
