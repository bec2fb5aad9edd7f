"""What narrows a search, as a person types it: kinds of files, times, boxes on the map."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from docutalk_common import content_type as types

Box = Annotated[
    str | None,
    typer.Option(
        "--box",
        metavar="W,S,E,N",
        help="Only with a place in this box named: west, south, east, north in degrees.",
        show_default=False,
    ),
]

KINDS: Mapping[str, tuple[str, ...]] = {
    "pdf": (types.PDF,),
    "docx": (types.DOCX,),
    "pptx": (types.PPTX,),
    "xlsx": (types.XLSX, types.XLS, types.XLSB),
    "odt": (types.ODT,),
    "ods": (types.ODS,),
    "odp": (types.ODP,),
    "rtf": (types.RTF,),
    "epub": (types.EPUB,),
    "html": (types.HTML,),
    "md": (types.MARKDOWN,),
    "txt": (types.PLAIN,),
    "csv": (types.CSV, types.TSV),
    "json": (types.JSON, types.JSONL),
    "mail": (types.EMAIL,),
    "image": (types.PNG, types.JPEG, types.TIFF, types.WEBP, types.GIF, types.BMP, types.AVIF),
}
"""What people call kinds of files, beside the names of media types."""

_BACK = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def content_types(kinds: Sequence[str]) -> list[str]:
    """The media types of `pdf`, `image`, `text/html` and the like. Raises `BadParameter`."""
    found: list[str] = []
    for kind in kinds:
        name = kind.strip().lower()
        if "/" not in name and name.removeprefix(".") not in KINDS:
            raise typer.BadParameter(
                f"{kind!r} is none of {', '.join(KINDS)}, nor a media type like text/html", param_hint="--type"
            )
        found += [name] if "/" in name else KINDS[name.removeprefix(".")]
    return list(dict.fromkeys(found))


def languages(codes: Sequence[str]) -> list[str]:
    """Codes of two letters. Raises `BadParameter`."""
    for code in codes:
        if not re.fullmatch(r"[A-Za-z]{2}", code):
            raise typer.BadParameter(f"{code!r} is no code of two letters, such as en or de", param_hint="--language")
    return [code.lower() for code in codes]


def moment(text: str, now: datetime, *, option: str, whole_day: bool = False) -> str:
    """A moment for the API: a date, a date with a time, or how long ago (`36h`, `7d`, `2w`). Without a zone it is meant here.

    A date alone means its beginning, or its end for `whole_day`. Raises `BadParameter`.
    """
    if back := re.fullmatch(r"(\d{1,5})\s*([mhdw])", text.strip().lower()):
        return (now - timedelta(**{_BACK[back[2]]: int(back[1])})).isoformat()
    try:
        found = datetime.fromisoformat(text.strip())
        if whole_day and re.fullmatch(r"\d{4}-?\d\d-?\d\d|\d{4}-?W\d\d-?\d", text.strip()):
            found += timedelta(days=1)
        # By itself a date says nothing of daylight saving: the zone is looked up for that day.
        return (found if found.tzinfo else found.astimezone()).isoformat()
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no time: write 2026-01-31, 2026-01-31T12:00, or how long ago: 36h, 7d, 2w", param_hint=option
        ) from None


def box(text: str | None) -> dict[str, float] | None:
    """The four sides of `-10,35.5,30,70`. Raises `BadParameter`."""
    if text is None:
        return None
    try:
        sides = [float(side) for side in text.split(",")]
        west, south, east, north = sides
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no box: write west,south,east,north, for example -10,35,30,70", param_hint="--box"
        ) from None
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise typer.BadParameter(
            f"{text!r} is no box: west and east are between -180 and 180, south below north and both between -90 and 90",
            param_hint="--box",
        )
    return {"west": west, "south": south, "east": east, "north": north}


def chosen(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Those filters that restrict something."""
    return {name: value for name, value in filters.items() if value}
