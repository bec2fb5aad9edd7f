"""Moments as a person types them: a date, a date with a time, or how long ago or from now."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import typer

_LENGTH = re.compile(r"(\d{1,5})\s*([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def past(text: str, now: datetime, *, option: str, whole_day: bool = False) -> str:
    """A moment for the API: a date, a date with a time, or how long ago (`36h`, `7d`, `2w`). Without a zone it is meant here.

    A date alone means its beginning, or its end for `whole_day`. Raises `BadParameter`.
    """
    length = _length(text)
    found = now - length if length is not None else _date(text, whole_day=whole_day)
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no time: write 2026-01-31, 2026-01-31T12:00, or how long ago: 36h, 7d, 2w", param_hint=option
        )
    return found.isoformat()


def future(text: str, now: datetime, *, option: str) -> str:
    """As `past`, of a time to come: how long from now, or a date with that day included."""
    length = _length(text)
    found = now + length if length is not None else _date(text, whole_day=True)
    if found is None or found <= now:
        raise typer.BadParameter(
            f"{text!r} is no time to come: write 2026-12-31, 2026-12-31T12:00, or how long from now: 36h, 90d, 12w",
            param_hint=option,
        )
    return found.isoformat()


def hours(text: str, *, option: str) -> int:
    """How long, in whole hours (`36h`, `7d`, `2w`). Raises `BadParameter`."""
    length = _length(text)
    if length is None or length < timedelta(hours=1):
        raise typer.BadParameter(f"{text!r} is no length of an hour or more: write 36h, 7d, 2w", param_hint=option)
    return int(length / timedelta(hours=1))


def _length(text: str) -> timedelta | None:
    match = _LENGTH.fullmatch(text.strip().lower())
    return None if match is None else timedelta(**{_UNITS[match[2]]: int(match[1])})


def _date(text: str, *, whole_day: bool) -> datetime | None:
    try:
        found = datetime.fromisoformat(text.strip())
        if whole_day and re.fullmatch(r"\d{4}-?\d\d-?\d\d|\d{4}-?W\d\d-?\d", text.strip()):
            found += timedelta(days=1)
        # By itself a date says nothing of daylight saving: the zone is looked up for that day.
        return found if found.tzinfo else found.astimezone()
    except (ValueError, OverflowError):
        return None
