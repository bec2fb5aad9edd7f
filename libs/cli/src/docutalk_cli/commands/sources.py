"""`docutalk sources`: where documents come from beside uploads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli.client import Api, Json, every
from docutalk_cli.lookup import source_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, run_in_workspace
from docutalk_cli.output import Exit, Output, count, duration, time_text

app = typer.Typer(
    name="sources", help="Feeds, web pages, tables, searches and texts.", no_args_is_help=True, add_completion=False
)
add = typer.Typer(name="add", help="Add a source; it is collected at once.", no_args_is_help=True, add_completion=False)
app.add_typer(add)

_COLUMNS = ("source", "kind", "documents", "last run", "next run", "id")
_RUN_COLUMNS = ("began", "by", "status", "found", "new", "changed", "unchanged", "failed", "took")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

Named = Annotated[str, typer.Argument(metavar="SOURCE", help="Id or name.")]
Name = Annotated[str | None, typer.Option("--name", help="What it is called. \\[default: from what it collects]")]
Every = Annotated[str | None, typer.Option("--every", metavar="1h", help="Collect again and again: 30m, 6h, 1d.")]
Cron = Annotated[str | None, typer.Option("--cron", metavar="'0 6 * * 1-5'", help="Collect at these times (five fields).")]
Zone = Annotated[str, typer.Option("--timezone", help="In which --cron is meant, for example Europe/Berlin.")]


@app.command("list")
def list_sources(workspace: Workspace = None, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List the sources of a workspace, newest first."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        found = [item async for item in every(api, f"/workspaces/{workspace_id}/sources")]
        if as_json:
            output.json({"sources": found})
        elif found or not output.interactive:
            rows = [_row(source) for source in found]
            output.table(_COLUMNS, rows, wide="source", numeric=("documents",), optional=("id", "next run"))
        else:
            output.line("There are no sources yet. Add one: docutalk sources add feed URL --every 1h")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@add.command("feed")
def add_feed(
    address: Annotated[str, typer.Argument(metavar="URL", help="An RSS or Atom feed.")],
    *,
    full_text: Annotated[
        bool, typer.Option("--full-text/--summary", help="Fetch the page of each entry, or take what the feed says.")
    ] = True,
    items: Annotated[int | None, typer.Option("--items", min=1, help="At most so many entries at a time.")] = None,
    name: Name = None,
    every_: Every = None,
    cron: Cron = None,
    timezone: Zone = "UTC",
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """The entries of a feed, each a document."""
    config: Json = {"url": address, "full_text": full_text} | ({"max_items": items} if items else {})
    _add(
        _new("feed", name or address, config, _schedule(every_, cron, timezone)),
        _Place(workspace, url, home),
        Output(as_json=as_json),
    )


@add.command("urls")
def add_urls(
    addresses: Annotated[list[str], typer.Argument(metavar="URL...", help="Web pages, or @FILE with one address in a line.")],
    *,
    name: Name = None,
    every_: Every = None,
    cron: Cron = None,
    timezone: Zone = "UTC",
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """The main content of web pages, each a document."""
    urls = [found for address in addresses for found in _addresses(address)]
    if not urls:
        raise typer.BadParameter("there is no address in it", param_hint="URL")
    called = name or (urls[0] if len(urls) == 1 else f"{urls[0]} and {len(urls) - 1} more")
    _add(
        _new("urls", called, {"urls": urls}, _schedule(every_, cron, timezone)),
        _Place(workspace, url, home),
        Output(as_json=as_json),
    )


@add.command("csv")
def add_csv(
    table: Annotated[str, typer.Argument(metavar="FILE|URL", help="A table, or the address of one.")],
    *,
    key: Annotated[str | None, typer.Option("--key", help="The column that tells records apart.")] = None,
    title: Annotated[str | None, typer.Option("--title", help="The column with their titles.")] = None,
    delimiter: Annotated[str | None, typer.Option("--delimiter", help="What separates the fields.")] = None,
    name: Name = None,
    every_: Every = None,
    cron: Cron = None,
    timezone: Zone = "UTC",
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """The rows of a table, each a record."""
    is_address = table.startswith(("http://", "https://"))
    config: Json = {"url": table} if is_address else {"text": _content(table)}
    options = {"key_column": key, "title_column": title, "delimiter": delimiter}
    config |= {option: value for option, value in options.items() if value is not None}
    schedule = _schedule(every_, cron, timezone)
    if schedule and not is_address:
        raise typer.BadParameter("a file is sent once; only a table at an address can be collected again", param_hint="--every")
    called = name or (table if is_address else Path(table).name)
    _add(_new("csv", called, config, schedule), _Place(workspace, url, home), Output(as_json=as_json))


@add.command("text")
def add_text(
    text: Annotated[str, typer.Argument(help="The text itself, or - for what comes on standard input.")],
    *,
    title: Annotated[str, typer.Option("--title", prompt=True, help="What it is about.")],
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """A text, as one document."""
    config = {"title": title, "text": typer.get_text_stream("stdin").read() if text == "-" else text}
    _add(_new("text", title, config, None), _Place(workspace, url, home), Output(as_json=as_json))


@add.command("search")
def add_search(
    query: Annotated[str, typer.Argument(help="What to search the web for.")],
    *,
    results: Annotated[int | None, typer.Option("--results", min=1, help="At most so many pages.")] = None,
    name: Name = None,
    every_: Every = None,
    cron: Cron = None,
    timezone: Zone = "UTC",
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """The pages that a search provider finds, each a document."""
    config: Json = {"query": query} | ({"max_results": results} if results else {})
    _add(
        _new("search", name or query, config, _schedule(every_, cron, timezone)),
        _Place(workspace, url, home),
        Output(as_json=as_json),
    )


@app.command("show")
def show(source: Named, workspace: Workspace = None, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Show one source with its settings and its last run."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        found = await source_of(api, workspace_id, source)
        if as_json:
            output.json(found)
            return Exit.OK
        fields = {
            "name": found["name"],
            "kind": found["kind"],
            "id": found["id"],
            **{name: _short(value) for name, value in found["config"].items()},
            "schedule": _schedule_text(found["schedule"]),
            "next run": "paused" if found["paused"] else time_text(found["next_run_at"]),
            "documents": f"{found['document_count']:,}",
            "last run": _run_text(found["last_run"]),
        }
        for name, value in fields.items():
            output.line(Text.assemble((f"{name:<14}", "bold"), value))
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@app.command("run")
def run_now(
    source: Named, workspace: Workspace = None, url: Url = None, home: HomeFolder = None, as_json: AsJson = False
) -> None:
    """Collect a source now."""
    _act(
        source,
        "run",
        _Place(workspace, url, home),
        Output(as_json=as_json),
        "is being collected: docutalk sources runs shows how far.",
    )


@app.command("pause")
def pause(source: Named, workspace: Workspace = None, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Stop collecting a source by its schedule."""
    _act(source, "pause", _Place(workspace, url, home), Output(as_json=as_json), "pauses.")


@app.command("resume")
def resume(source: Named, workspace: Workspace = None, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Collect a source by its schedule again."""
    _act(source, "resume", _Place(workspace, url, home), Output(as_json=as_json), "goes on.")


@app.command("delete")
def delete(
    source: Named,
    *,
    with_documents: Annotated[bool, typer.Option("--with-documents", help="Delete what it brought, too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Delete a source. Its documents stay, unless you say otherwise."""
    output = Output(as_json=as_json)
    if not yes:
        what = "with all documents that it brought" if with_documents else "and keep its documents"
        typer.confirm(f"Delete the source {source} {what}?", abort=True, err=True)

    async def work(api: Api, workspace_id: str) -> Exit:
        found = await source_of(api, workspace_id, source)
        path = f"/workspaces/{workspace_id}/sources/{found['id']}"
        await api.delete(path, with_documents="true" if with_documents else None)
        if as_json:
            output.json({"id": found["id"], "with_documents": with_documents})
        else:
            output.line(f"{found['name']} is deleted.")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@app.command("runs")
def runs(
    source: Named,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the newest first.")] = 20,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """List the runs of a source with what each brought, newest first."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        found: list[Json] = []
        path = f"/workspaces/{workspace_id}/sources/{(await source_of(api, workspace_id, source))['id']}/runs"
        async for item in every(api, path):
            found.append(item)
            if len(found) == limit:
                break
        if as_json:
            output.json({"runs": found})
            return Exit.OK
        counts = ("found", "new", "changed", "unchanged", "failed")
        rows: list[list[str | Text]] = [
            [
                time_text(item["started_at"] or item["queued_at"]),
                item["trigger"],
                _run_status(item),
                *(f"{item[name]:,}" for name in counts),
                _took(item),
            ]
            for item in found
        ]
        output.table(_RUN_COLUMNS, rows, wide="status", numeric=(*counts, "took"), optional=("took", "by", "found"))
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@dataclass(frozen=True)
class _Place:
    """Where a command works."""

    workspace: str | None
    url: str | None
    home: Path | None


def _new(kind: str, name: str, config: Json, schedule: Json | None = None) -> Json:
    return {"kind": kind, "name": name[:200], "config": config, "schedule": schedule}


def _add(source: Json, place: _Place, output: Output) -> None:
    async def work(api: Api, workspace_id: str) -> Exit:
        added = await api.post(f"/workspaces/{workspace_id}/sources", source)
        if output.as_json:
            output.json(added)
        else:
            again = f", then {_schedule_text(added['schedule'])}" if added["schedule"] else ""
            output.line(f"✓ {added['name']} is being collected{again}: docutalk sources show {added['id']}")
        return Exit.OK

    run_in_workspace(output, place.workspace, place.url, place.home, work)


def _act(name: str, verb: str, place: _Place, output: Output, said: str) -> None:
    async def work(api: Api, workspace_id: str) -> Exit:
        source = await source_of(api, workspace_id, name)
        answer = await api.post(f"/workspaces/{workspace_id}/sources/{source['id']}/{verb}", {})
        if output.as_json:
            output.json(answer)
        else:
            output.line(f"{source['name']} {said}")
        return Exit.OK

    run_in_workspace(output, place.workspace, place.url, place.home, work)


def _addresses(given: str) -> list[str]:
    if not given.startswith("@"):
        return [given]
    return [line.strip() for line in _content(given[1:]).splitlines() if line.strip() and not line.startswith("#")]


def _content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint="FILE") from None


def _schedule(interval: str | None, cron: str | None, timezone: str) -> Json | None:
    if interval and cron:
        raise typer.BadParameter("give either --every or --cron", param_hint="--every")
    if cron:
        return {"cron": cron, "timezone": timezone}
    if not interval:
        return None
    match = re.fullmatch(r"(\d+)\s*([smhdw])", interval.strip().lower())
    if match is None or int(match[1]) * _UNITS[match[2]] < 60:
        raise typer.BadParameter("a minute or more, for example 30m, 6h or 1d", param_hint="--every")
    return {"every_seconds": int(match[1]) * _UNITS[match[2]]}


def _schedule_text(schedule: Json | None) -> str:
    if schedule is None:
        return "only by hand"
    if schedule.get("cron"):
        return f"at {schedule['cron']} ({schedule['timezone']})"
    seconds = schedule["every_seconds"]
    unit, length = max(((u, s) for u, s in _UNITS.items() if seconds % s == 0), key=lambda pair: pair[1])
    return f"every {seconds // length}{unit}"


def _row(source: Json) -> list[str | Text]:
    name, last = Text(source["name"]), source["last_run"]
    if last is not None and last["reason"]:
        # In the one column that is wrapped.
        name.append(f": {last['reason']}", style="red")
        last = last | {"reason": None}
    return [
        name,
        source["kind"],
        f"{source['document_count']:,}",
        _run_text(last),
        "paused" if source["paused"] else time_text(source["next_run_at"]),
        source["id"],
    ]


def _run_text(last: Json | None) -> Text:
    if last is None:
        return Text("–")
    text = _run_status(last)
    if last["status"] == "done":
        text = Text(f"{last['new']} new, {last['changed']} changed, {last['unchanged']} unchanged")
        if last["failed"]:
            text.append(f", {last['failed']} failed", style="red")
    return text


def _run_status(item: Json) -> Text:
    style = {"done": "green", "failed": "red", "cancelled": "yellow"}.get(item["status"], "cyan")
    text = Text(item["status"], style=style)
    if item["reason"]:
        text.append(f": {item['reason']}")
    return text


def _took(item: Json) -> str:
    if not (item["started_at"] and item["finished_at"]):
        return "–"
    return duration((datetime.fromisoformat(item["finished_at"]) - datetime.fromisoformat(item["started_at"])).total_seconds())


def _short(value: object) -> str:
    if isinstance(value, list):
        more = len(value) - 3
        return ", ".join(str(item) for item in value[:3]) + (f" and {count(more, 'other')}" if more > 0 else "")
    text = " ".join(str(value).split())
    return text if len(text) <= 200 else f"{text[:200]}…"
