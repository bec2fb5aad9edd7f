"""Cuts a passage into what can be quoted: sentences, and rows of tables as PDF text has them.

In the text of a PDF a table is lines that end in figures, or a label followed by lines of one figure each; sentences run
over line ends. A span never overlaps another and never starts or ends in white space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

LONGEST_SENTENCE = 600
"""Characters; what is longer (text without full stops) is cut at a space."""
CONTEXT_LINES = 4


class SpanKind(StrEnum):
    """What a span is; a `LINE` is a heading or a short line on its own."""

    SENTENCE = "sentence"
    ROW = "row"
    LINE = "line"


@dataclass(frozen=True)
class Span:
    """`text[start:end]` of the passage. `context` is what stands above it: the heading, and a table's column titles."""

    start: int
    end: int
    kind: SpanKind
    context: str = ""


@dataclass(frozen=True)
class _Line:
    start: int
    end: int
    text: str
    label_words: int
    figures: int
    years_only: bool


_CELL = re.compile(r"[$€£¥(]*-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?%?\)?%?|[$€£¥%()|*]+|[—–-]+|n/?[am]|#", re.IGNORECASE)
_VALUE = re.compile(r"\d|^[—–-]+$")
_YEAR = re.compile(r"(?:19|20)\d\d")
_BULLET = re.compile(r"(?:[-*•▪●◦·o]|\(?[a-z0-9]{1,3}[.)])\s", re.IGNORECASE)
_TERMINAL = (".", "!", "?", "。", "！", "？", '."', ".”", ".)")
_BOUNDARY = re.compile(r"[.!?][\"'”’)\]]*(?=\s)|[。！？]")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"“])(?:[A-Za-z]|inc|corp|co|ltd|llc|no|nos|mr|mrs|ms|dr|st|vs|approx|fig|sec|art|e\.g|i\.e|u\.s|u\.k|etc|cf|al|jan|feb|mar|apr|jun|jul"
    r"|aug|sept?|oct|nov|dec|p|pp|vol|ed)$",
    re.IGNORECASE,
)


def _read_lines(text: str) -> list[_Line]:
    lines = []
    for match in re.finditer(r"[^\n]+", text):
        stripped = match.group().strip()
        if not stripped:
            continue
        start = match.start() + match.group().index(stripped)
        words = stripped.split()
        cells = 0
        while cells < len(words) and _CELL.fullmatch(words[-1 - cells]):
            cells += 1
        values = [word for word in words[len(words) - cells :] if _VALUE.search(word)]
        lines.append(
            _Line(
                start,
                start + len(stripped),
                stripped,
                label_words=len(words) - cells,
                figures=len(values),
                years_only=bool(values) and all(_YEAR.fullmatch(value) for value in values),
            )
        )
    return lines


def _is_column_titles(line: _Line) -> bool:
    return line.years_only and (line.figures > 1 or line.label_words == 0)


def _is_full_row(line: _Line) -> bool:
    """A label and at least two figures, as in `Total debt $ 150,639 $ 150,868`."""
    return line.label_words > 0 and line.figures > 1 and not line.years_only


def _is_figures(line: _Line) -> bool:
    return line.label_words == 0 and not _is_year_row(line)


def _is_year_row(line: _Line) -> bool:
    """`2024 16,252`: the year is the label."""
    return line.label_words == 0 and line.figures > 1 and not line.years_only and _YEAR.match(line.text) is not None


def _starts_anew(line: _Line) -> bool:
    return line.text[0].isupper() or line.text[0].isdigit() or _BULLET.match(line.text) is not None or line.text[0] in "“\"'([|#"


def spans(text: str) -> list[Span]:
    """Every span of a passage, in order."""
    lines = _read_lines(text)
    width = max((len(line.text) for line in lines), default=0)
    found: list[Span] = []
    above: list[str] = []
    titles = ""
    paragraph: list[_Line] = []

    def context() -> str:
        return " ".join(filter(None, (*above[-CONTEXT_LINES:], titles)))

    def close_paragraph() -> None:
        nonlocal titles
        if paragraph:
            found.extend(_sentences(text, paragraph[0].start, paragraph[-1].end, " ".join(above[-1:])))
            if len(paragraph) > 1:
                # A table does not go on behind running text.
                titles = ""
            paragraph.clear()

    position = 0
    while position < len(lines):
        line = lines[position]
        following = lines[position + 1] if position + 1 < len(lines) else None
        end = position + 1
        if _is_column_titles(line):
            close_paragraph()
            titles = line.text
        elif _is_full_row(line) or _is_lone_figure_row(lines, position):
            close_paragraph()
            found.append(Span(line.start, line.end, SpanKind.ROW, context()))
        elif (
            not line.text.endswith(_TERMINAL)
            and not _is_figures(line)
            and len(line.text) < 120
            and _figures_follow(lines, position)
        ):
            # One cell to a line: the label and the figures under it are one row.
            close_paragraph()
            while end < len(lines) and _is_figures(lines[end]):
                end += 1
            if all(_is_column_titles(cell) for cell in lines[position + 1 : end]):
                titles = " ".join(cell.text for cell in lines[position:end])
            else:
                found.append(Span(line.start, lines[end - 1].end, SpanKind.ROW, context()))
        elif _is_figures(line):
            close_paragraph()
        else:
            broken = text[lines[position - 1].end : line.start].count("\n") > 1 if position else False
            ended = bool(paragraph) and paragraph[-1].text.endswith(_TERMINAL) and _starts_anew(line)
            if broken or ended or _BULLET.match(line.text):
                close_paragraph()
            alone = (
                not paragraph
                and not line.text.endswith(_TERMINAL)
                and len(line.text) < max(0.7 * width, 40)
                and (following is None or _starts_anew(following) or text[line.end : following.start].count("\n") > 1)
            )
            if alone:
                above.append(line.text)
                found.append(Span(line.start, line.end, SpanKind.LINE, " ".join(above[-2:-1])))
            else:
                paragraph.append(line)
        position = end
    close_paragraph()
    return found


def _figures_follow(lines: list[_Line], position: int) -> bool:
    return position + 1 < len(lines) and _is_figures(lines[position + 1])


def _is_lone_figure_row(lines: list[_Line], position: int) -> bool:
    """A short label with one figure counts as a row only beside another row: a wrapped sentence may end in a number too."""
    line = lines[position]
    if line.label_words == 0:
        return _is_year_row(line)
    if line.figures != 1 or line.years_only or line.label_words > 8 or line.text.endswith(_TERMINAL):
        return False
    beside = lines[max(position - 1, 0) : position] + lines[position + 1 : position + 2]
    return any(
        _is_full_row(other) or _is_column_titles(other) or (other.figures == 1 and 0 < other.label_words <= 8) for other in beside
    )


def _sentences(text: str, start: int, end: int, context: str) -> list[Span]:
    """The sentences of `text[start:end]`, which begins and ends with a visible character."""
    cuts = []
    for match in _BOUNDARY.finditer(text, start, end):
        before = text[max(start, match.start() - 8) : match.start()]
        after = text[match.end() : end].lstrip()
        if match.group()[0] == "." and _ABBREVIATION.search(before):
            continue
        if after and after[0].islower():
            continue
        cuts.append(match.end())
    cuts.append(end)
    found = []
    for cut in cuts:
        while start < cut and text[start].isspace():
            start += 1
        while cut - start > LONGEST_SENTENCE:
            space = text.rfind(" ", start + LONGEST_SENTENCE // 2, start + LONGEST_SENTENCE)
            middle = space if space > 0 else start + LONGEST_SENTENCE
            found.append(Span(start, start + len(text[start:middle].rstrip()), SpanKind.SENTENCE, context))
            start = middle
            while start < cut and text[start].isspace():
                start += 1
        if start < cut:
            found.append(Span(start, start + len(text[start:cut].rstrip()), SpanKind.SENTENCE, context))
        start = cut
    return found
