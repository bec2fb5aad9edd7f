"""What a person sees and what a script reads: exit codes, consoles, words for sizes and places."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_STATUS_STYLES = {"ready": "green", "failed": "red", "cancelled": "yellow", "queued": "dim"}


_GAP = 2
# What a filename or a sentence needs to be read with comfort.
_ROOM = 44
# A terminal obeys these, and what is shown was written by strangers: documents, their names, a model that a document talks to.
# They are taken out in a pipe, too: at its end there may be a terminal (`| cat`, `| less -R`).
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILED = 1
    """The server refused, or a document failed."""
    USAGE = 2
    """The command line is wrong."""
    NO_ACCESS = 3
    """The server is not reachable, or we are not signed in."""
    INTERRUPTED = 130
    """Ctrl-C, as shells count it."""


class Output:
    """One command's standard output (results) and standard error (everything else).

    Into a pipe go plain lines without colour, bars or line breaks of our own; tables become lines with tabs.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)

    @property
    def interactive(self) -> bool:
        """Whether somebody watches standard output."""
        return self.out.is_terminal and not self.as_json

    def json(self, data: Any) -> None:
        """One JSON document."""
        sys.stdout.write(json_text(data, indent=2))

    def json_line(self, data: Any) -> None:
        """One line of JSON, at once."""
        sys.stdout.write(json_text(data))
        sys.stdout.flush()

    def line(self, text: str | Text) -> None:
        """One line; wrapped at words on a terminal, whole in a pipe."""
        self.out.print(self.harmless(text), soft_wrap=not self.out.is_terminal)

    def raw(self, text: str) -> None:
        """Characters as they are, at once, but for those that a terminal would obey."""
        sys.stdout.write(_CONTROL.sub("\ufffd", text))
        sys.stdout.flush()

    def fields(self, values: Mapping[str, str | Text]) -> None:
        """A line for each, the names under each other."""
        width = max(map(len, values), default=0) + _GAP
        for name, value in values.items():
            self.line(Text.assemble((name.ljust(width), "bold"), value))

    def note(self, text: str | Text) -> None:
        """A remark that is not part of the result."""
        remark = Text(text, style="dim") if isinstance(text, str) else text
        self.err.print(self.harmless(remark), soft_wrap=not self.err.is_terminal)

    def error(self, text: str) -> None:
        """Why the command fails."""
        self.err.print(self.harmless(Text.assemble(("Error: ", "red"), text)), soft_wrap=not self.err.is_terminal)

    def harmless(self, text: str | Text) -> Text:
        """The text with a mark in the place of each character that a terminal would obey. Styles stay where they are."""
        shown = Text(text) if isinstance(text, str) else text.copy()
        shown.plain = _CONTROL.sub("\ufffd", shown.plain)
        return shown

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str | Text]],
        *,
        wide: str,
        numeric: Iterable[str] = (),
        optional: Sequence[str] = (),
    ) -> None:
        """A table. On a narrow terminal the `optional` columns are left out, the first one first, until `wide` has room."""
        if not self.out.is_terminal:
            self.raw("\t".join(columns) + "\n")
            for row in rows:
                self.raw("\t".join(_one_line(str(cell)) for cell in row) + "\n")
            return
        cells = [dict(zip(columns, (self.harmless(c) for c in row), strict=True)) for row in rows]
        shown = self._fitting(columns, cells, wide, optional)
        table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="bold", pad_edge=False)
        numbers = set(numeric)
        for name in shown:
            table.add_column(name, justify="right" if name in numbers else "left", overflow="fold", no_wrap=name != wide)
        for line in cells:
            table.add_row(*(line[name] for name in shown))
        self.out.print(table)

    def _fitting(
        self, columns: Sequence[str], cells: Sequence[Mapping[str, Text]], wide: str, optional: Sequence[str]
    ) -> list[str]:
        widths = {name: max([len(name), *(line[name].cell_len for line in cells)]) + _GAP for name in columns}
        shown = list(columns)
        for name in optional:
            if self.out.width - sum(widths[other] for other in shown if other != wide) >= min(_ROOM, widths[wide]):
                break
            shown.remove(name)
        return shown


def json_text(data: Any, *, indent: int | None = None) -> str:
    """JSON with a line break at its end. It says the same as the data, and has nothing in it that a terminal would obey."""
    text = json.dumps(data, ensure_ascii=False, indent=indent)
    # The others are escaped in any JSON.
    return re.sub(r"[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def status_text(status: str) -> Text:
    """A document's status in its colour."""
    return Text(status, style=_STATUS_STYLES.get(status, "cyan"))


def place(item: Mapping[str, Any]) -> str:
    """Where something stands: `report.pdf, p. 3`."""
    return f"{item['filename']}, p. {item['page']}"


def count(number: int, noun: str) -> str:
    """`1 page`, `2 pages`, `1,200 pages`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size_text(size: int) -> str:
    """`812 B`, `34 KB`, `1.2 MB`; a kilobyte is 1000 bytes."""
    if size < 1000:
        return f"{size} B"
    if size < 1_000_000:
        return f"{size / 1000:.0f} KB"
    return f"{size / 1_000_000:.1f} MB" if size < 1_000_000_000 else f"{size / 1_000_000_000:.1f} GB"


def duration(seconds: float) -> str:
    """`3.2 s`, `48 s`, `4 min`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def time_text(stamp: str | None) -> str:
    """A moment of the API as the clock here showed it: `2026-01-31 12:00`."""
    return f"{datetime.fromisoformat(stamp).astimezone():%Y-%m-%d %H:%M}" if stamp else "–"


def one_line(text: str) -> str:
    """Text without line breaks and runs of blanks."""
    return " ".join(text.split())


def _one_line(text: str) -> str:
    return text.replace("\t", " ").replace("\n", " ")
