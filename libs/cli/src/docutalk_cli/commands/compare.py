"""`docutalk models compare`: what the model before and after a change find, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from docutalk_cli.client import Api, Json
from docutalk_cli.commands.search import Mode
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, run_in_workspace
from docutalk_cli.output import Exit, Output, place
from docutalk_cli.snippet import snippet

_AT_A_TIME = 20
_LINES_OF_TEXT = 2
_STYLES = {"▲": "green", "▼": "red", "=": "dim", "new": "bold green", "gone": "bold red"}


def compare(
    queries: Annotated[list[str], typer.Argument(metavar="QUERY...", help="One or more questions, at most 20.")],
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=20, help="How many passages of each model.")] = 5,
    mode: Annotated[Mode, typer.Option(help="By meaning alone shows most of the difference.")] = Mode.SEMANTIC,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Search with the old and the new model of the open change, side by side.

    ▲ and ▼ say how many ranks a passage rose or fell, = that it stayed; new passages only the new model lists, those that are
    gone only the old one.
    """
    output = Output(as_json=as_json)
    if len(queries) > _AT_A_TIME:
        raise typer.BadParameter(f"at most {_AT_A_TIME} at a time", param_hint="QUERY")

    async def work(api: Api, workspace_id: str) -> Exit:
        body = {"queries": queries, "limit": limit, "mode": mode.value}
        found = await api.post(f"/workspaces/{workspace_id}/search/compare", body, timeout=90)
        if as_json:
            output.json(found)
        else:
            _show(output, found)
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@dataclass(frozen=True)
class Row:
    """A rank: what each model lists there, and what became of each, as `▲2`, `=`, `new` or `gone`."""

    rank: int
    before: Json | None
    after: Json | None
    fate: str
    movement: str


def side_by_side(compared: Json) -> Iterator[Row]:
    """The ranks of one query. `fate` is of the passage before (where it went), `movement` of the one after (from where)."""
    before, after = compared["before"], compared["after"]
    for index in range(max(len(before), len(after))):
        left = before[index] if index < len(before) else None
        right = after[index] if index < len(after) else None
        fate = _moved(index, _rank_of(left, after), "gone") if left else ""
        movement = _moved(_rank_of(right, before), index, "new") if right else ""
        yield Row(index + 1, left, right, fate, movement)


def _rank_of(passage: Json, others: Sequence[Json]) -> int | None:
    """Where the passage is among others. Neighbours may be joined differently there: one chunk in common is enough."""
    chunks = _chunks(passage)
    return next((rank for rank, other in enumerate(others) if chunks & _chunks(other)), None)


def _chunks(passage: Json) -> set[str]:
    return {passage["chunk_id"], *passage["chunk_ids"]}


def _moved(before: int | None, after: int | None, otherwise: str) -> str:
    if before is None or after is None:
        return otherwise
    if before == after:
        return "="
    return f"▲{before - after}" if before > after else f"▼{after - before}"


def _show(output: Output, found: Json) -> None:
    if not output.out.is_terminal:
        output.table(("query", "rank", "before", "after", "movement", "fate of before"), _lines(found), wide="query")
        return
    for number, compared in enumerate(found["queries"]):
        if number:
            output.line("")
        output.line(Text.assemble((compared["query"], "bold"), (f"  {compared['overlap']:.0%} in common", "dim")))
        _columns(output, found, compared)
    _sum_up(output, found)


def _columns(output: Output, found: Json, compared: Json) -> None:
    width = (output.out.width - 3) // 2
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="bold cyan")
    for model, took in ((found["from_model"], compared["before_ms"]), (found["to_model"], compared["after_ms"])):
        table.add_column(output.harmless(f"{model}  {took:.0f} ms"), width=width, overflow="fold")
    for row in side_by_side(compared):
        # What fell is told where it stands now; what is gone stands nowhere.
        gone = row.fate if row.fate == "gone" else ""
        table.add_row(
            output.harmless(_cell(row.rank, row.before, gone, width)),
            output.harmless(_cell(row.rank, row.after, row.movement, width)),
        )
    output.out.print(table)


def _cell(rank: int, passage: Json | None, mark: str, width: int) -> Text:
    if passage is None:
        return Text("")
    head = Text.assemble((f"{rank}. ", "dim"), (place(passage), ""))
    tail = Text(f"  {mark}" if mark else "", style=_STYLES.get(mark[:1], _STYLES.get(mark, "")))
    room = width - tail.cell_len
    if head.cell_len > room:
        page = f", p. {passage['page']}"
        head.truncate(max(room - len(page) - 1, 4))
        head.append(f"…{page}")
    body = snippet(passage["text"], passage["highlights"], length=width * _LINES_OF_TEXT - 4)
    body.stylize("dim")
    return Text.assemble(head, tail, "\n", body)


def _lines(found: Json) -> Iterator[list[str | Text]]:
    for compared in found["queries"]:
        for row in side_by_side(compared):
            before, after = (place(passage) if passage else "–" for passage in (row.before, row.after))
            yield [compared["query"], str(row.rank), before, after, row.movement or "–", row.fate or "–"]


def _sum_up(output: Output, found: Json) -> None:
    queries = found["queries"]
    overlap = sum(compared["overlap"] for compared in queries) / max(len(queries), 1)
    if len(queries) > 1:
        output.note(f"\n{len(queries)} queries, {overlap:.0%} in common")
    if found["coverage"] < 1:
        output.note(
            f"Only {found['coverage']:.0%} of this workspace's passages have a vector of {found['to_model']} yet; it cannot find"
            " the others."
        )
