"""The part of a passage that a person looks at."""

from __future__ import annotations

from rich.text import Text

from docutalk_cli.client import Json

# About four lines on a usual terminal: enough to judge a passage by.
LENGTH = 320
_LEAD = 60


def snippet(passage: str, highlights: list[Json], *, length: int | None = LENGTH) -> Text:
    """The part around the first word that matched, with such words marked, in one paragraph. Whole without a `length`."""
    start, end = 0, len(passage)
    if length is not None and len(passage) > length:
        first = min((highlight["start"] for highlight in highlights), default=0)
        start = max(0, min(first - _LEAD, len(passage) - length))
        end = start + length
        if start:
            start = passage.find(" ", start, first) + 1 or start
        if end < len(passage):
            end = max(passage.rfind(" ", start, end), start + length // 2)
    text = Text(passage[start:end].replace("\n", " ").replace("\t", " "))
    for highlight in highlights:
        if highlight["end"] > start and highlight["start"] < end:
            text.stylize("bold yellow", max(0, highlight["start"] - start), min(end, highlight["end"]) - start)
    return Text.assemble("…" if start else "", text, "…" if end < len(passage) else "")
