"""`docutalk search`: passages with file, page and score."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli import filters
from docutalk_cli.client import Api, Json
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, run_in_workspace
from docutalk_cli.output import Exit, Output, place
from docutalk_cli.snippet import LENGTH, snippet

_LIMIT = 10
_MOST = 100
_DUPLICATES = 3
_PARTS = {"semantic": "meaning", "keyword": "words", "name": "name"}


class Mode(StrEnum):
    """What is ranked."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"


def search(
    query: Annotated[str, typer.Argument(help='Words or a question; "quoted words" must be there, -words must not.')],
    *,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, max=_MOST, help="How many passages. \\[default: 10]", show_default=False)
    ] = None,
    mode: Annotated[Mode, typer.Option(help="By meaning and words, or by one of them.")] = Mode.HYBRID,
    document: filters.Documents = None,
    type_: filters.Types = None,
    source: filters.Sources = None,
    language: filters.Languages = None,
    since: filters.Since = None,
    until: filters.Until = None,
    box: filters.Box = None,
    pages: Annotated[int, typer.Option("--pages", min=1, help="So many times --limit, one after the other.")] = 1,
    everything: Annotated[bool, typer.Option("--all", help="Everything that the ranking holds.")] = False,
    scores: Annotated[bool, typer.Option("--scores", help="Print the parts of each score.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Print whole passages.")] = False,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Find passages."""
    output = Output(as_json=as_json)
    read = filters.read(kinds=type_, languages=language, since=since, until=until, box=box)

    async def work(api: Api, workspace_id: str) -> Exit:
        narrowed = read | await filters.named(api, workspace_id, documents=document, sources=source)
        body = {
            "query": query,
            "limit": limit or (_MOST if everything else _LIMIT),
            "mode": mode.value,
            "filters": narrowed,
        }
        found: Json = {"results": [], "took_ms": 0.0, "model": None, "next": None}
        async for page in _pages(api, f"/workspaces/{workspace_id}/search", body, None if everything else pages):
            if not as_json:
                _show(output, page["results"], len(found["results"]), scores=scores, full=full)
            results, took = found["results"] + page["results"], found["took_ms"] + page["took_ms"]
            found = page | {"results": results, "took_ms": took}
        if as_json:
            output.json(found)
        else:
            _sum_up(output, found)
            if found["model"] is None and mode is Mode.HYBRID:
                output.note("The model does not answer at the moment: only words were looked for.")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


async def _pages(api: Api, path: str, body: Json, most: int | None) -> AsyncIterator[Json]:
    """The answers of a search one after the other, at most so many."""
    number = 0
    while True:
        found = await api.post(path, body)
        yield found
        number += 1
        if number == most or not found.get("next"):
            return
        body = body | {"after": found["next"]}


def _show(output: Output, results: list[Json], before: int, *, scores: bool, full: bool) -> None:
    for rank, result in enumerate(results, before + 1):
        if rank > 1:
            output.line("")
        head = Text.assemble((f"{rank}. ", "dim"), (place(result), "bold cyan"), (f"  {result['score']:.2f}", "dim"))
        if scores:
            head.append(f"  {_parts(result['scores'])}", style="dim")
        output.line(head)
        output.line(snippet(result["text"], result["highlights"], length=None if full else LENGTH))
        if result.get("duplicates"):
            output.line(Text(f"also in: {_places(result['duplicates'])}", style="dim"))


def _parts(scores: Json) -> str:
    parts = [f"{name} {scores[part]:.2f}" for part, name in _PARTS.items() if scores.get(part) is not None]
    return f"({', '.join(parts)})"


def _places(found: list[Json]) -> str:
    places = list(dict.fromkeys(place(item) for item in found))
    more = len(places) - _DUPLICATES
    return "; ".join(places[:_DUPLICATES]) + (f" and {more} more" if more > 0 else "")


def _sum_up(output: Output, found: Json) -> None:
    if not found["results"]:
        output.note("Nothing was found.")
        return
    more = "; there is more: --pages 2, or --all" if found.get("next") else ""
    output.note(f"\n{len(found['results'])} found in {found['took_ms']:.0f} ms{more}")
