"""`docutalk search`: passages with file, page and score."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli.client import Json, document_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, in_workspace, run
from docutalk_cli.output import Exit, Output, place

# About four lines on a usual terminal: enough to judge a passage by.
_SNIPPET = 320
_LEAD = 60


class Mode(StrEnum):
    """What is ranked."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"


def search(
    query: Annotated[str, typer.Argument(help="Words or a question.")],
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="How many passages.")] = 10,
    mode: Annotated[Mode, typer.Option(help="By meaning and words, or by one of them.")] = Mode.HYBRID,
    document: Annotated[list[str] | None, typer.Option("--document", "-d", help="Only in this; may be repeated.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Print whole passages.")] = False,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Find passages."""
    output = Output(as_json=as_json)

    async def work() -> Exit:
        async with in_workspace(url, home, workspace) as (api, workspace_id):
            ids = [(await document_of(api, workspace_id, name))["id"] for name in document or []]
            body = {"query": query, "limit": limit, "mode": mode.value, "filters": {"document_ids": ids}}
            found = await api.post(f"/workspaces/{workspace_id}/search", body)
        if as_json:
            output.json(found)
        else:
            _show(output, found, full=full)
        return Exit.OK

    run(output, work)


def _show(output: Output, found: Json, *, full: bool) -> None:
    if not found["results"]:
        output.note("Nothing was found.")
        return
    for rank, result in enumerate(found["results"], 1):
        if rank > 1:
            output.line("")
        output.line(Text.assemble((f"{rank}. ", "dim"), (place(result), "bold cyan"), (f"  {result['score']:.2f}", "dim")))
        output.line(_snippet(result, full=full))
    output.note(f"\n{len(found['results'])} found in {found['took_ms']:.0f} ms")


def _snippet(result: Json, *, full: bool) -> Text:
    """The part of the passage around the first word that matched, with such words marked, in one paragraph."""
    passage: str = result["text"]
    start, end = 0, len(passage)
    if not full and len(passage) > _SNIPPET:
        first = min((highlight["start"] for highlight in result["highlights"]), default=0)
        start = max(0, min(first - _LEAD, len(passage) - _SNIPPET))
        end = start + _SNIPPET
        if start:
            start = passage.find(" ", start, first) + 1 or start
        if end < len(passage):
            end = max(passage.rfind(" ", start, end), start + _SNIPPET // 2)
    text = Text(passage[start:end].replace("\n", " ").replace("\t", " "))
    for highlight in result["highlights"]:
        if highlight["end"] > start and highlight["start"] < end:
            text.stylize("bold yellow", max(0, highlight["start"] - start), min(end, highlight["end"]) - start)
    return Text.assemble("…" if start else "", text, "…" if end < len(passage) else "")
