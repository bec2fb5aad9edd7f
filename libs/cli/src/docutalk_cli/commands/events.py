"""`docutalk events`: the steps of a document, or everything that happens in a workspace."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli.client import Json, every
from docutalk_cli.lookup import document_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, in_workspace, run
from docutalk_cli.output import Exit, Output

_STYLES = {"document.ready": "green", "document.failed": "red", "document.deleted": "yellow"}
# Said by the event's own columns.
_LEFT_OUT = frozenset(
    {
        "document_id",
        "source_id",
        "run_id",
        "version",
        "uploaded_by",
        "deleted_by",
        "renamed_by",
        "retried_by",
        "cancelled_by",
        "change_id",
        "switched_by",
        "auto_classify",
        "sha256",
        "code",
    }
)


def events(
    document: Annotated[str | None, typer.Argument(help="Id or filename. \\[default: the whole workspace]")] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")] = False,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show the steps of a document. Without one, follow the workspace from now on, until Ctrl-C.

    With --json each event is one line.
    """
    output = Output(as_json=as_json)

    async def work() -> Exit:
        async with in_workspace(url, home, workspace) as (api, workspace_id):
            base = f"/workspaces/{workspace_id}"
            if document is None:
                output.note("Waiting for events; Ctrl-C ends.")
                async for event in api.follow(f"{base}/events/stream"):
                    _show(output, event.data, with_document=True)
            path = f"{base}/documents/{(await document_of(api, workspace_id, document))['id']}/events" if document else ""
            if follow:
                async for event in api.follow(f"{path}/stream"):
                    _show(output, event.data)
            async for step in every(api, path):
                _show(output, step)
        return Exit.OK

    run(output, work)


def _show(output: Output, event: Json, *, with_document: bool = False) -> None:
    if output.as_json:
        output.json_line(event)
        return
    when = datetime.fromisoformat(event["time"]).astimezone()
    fields = {name: value for name, value in event["data"].items() if name not in _LEFT_OUT and value is not None}
    text = Text.assemble(
        (f"{when:%H:%M:%S}.{when.microsecond // 1000:03} ", "dim"),
        (f"{event['event']:<20}", _STYLES.get(event["event"], "cyan")),
    )
    if with_document:
        text.append(f" {event['document_id'] or event.get('source_id') or ''}", style="dim")
    text.append("".join(f" {name}={value}" for name, value in fields.items()))
    output.line(text)
