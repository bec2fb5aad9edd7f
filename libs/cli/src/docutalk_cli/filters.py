"""What narrows a search or a question, as a person types it: kinds of files, times, boxes on the map."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from docutalk_common import content_type as types

from docutalk_cli import moments
from docutalk_cli.client import Api
from docutalk_cli.lookup import document_of, source_of

Documents = Annotated[list[str] | None, typer.Option("--document", "-d", help="Only in this; may be repeated.")]
Types = Annotated[list[str] | None, typer.Option("--type", "-t", metavar="pdf", help="Only in such files; may be repeated.")]
Sources = Annotated[list[str] | None, typer.Option("--source", help="Only in what this source brought; may be repeated.")]
Languages = Annotated[list[str] | None, typer.Option("--language", metavar="de", help="Only in this language; may be repeated.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="2026-01-31", help="Only in what came then or later; also 36h, 7d, 2w ago.")
]
Until = Annotated[str | None, typer.Option("--until", metavar="2026-01-31", help="Only in what came by then, that day included.")]
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


def _content_types(kinds: Sequence[str]) -> list[str]:
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


def _languages(codes: Sequence[str]) -> list[str]:
    """Codes of two letters. Raises `BadParameter`."""
    for code in codes:
        if not re.fullmatch(r"[A-Za-z]{2}", code):
            raise typer.BadParameter(f"{code!r} is no code of two letters, such as en or de", param_hint="--language")
    return [code.lower() for code in codes]


def sides(text: str | None) -> dict[str, float] | None:
    """The four sides of `-10,35.5,30,70`. Raises `BadParameter`."""
    if text is None:
        return None
    try:
        west, south, east, north = (float(side) for side in text.split(","))
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


def read(
    *,
    kinds: Sequence[str] | None,
    languages: Sequence[str] | None,
    since: str | None,
    until: str | None,
    box: str | None,
) -> dict[str, Any]:
    """The filters that can be read without the server, as the API wants them; only those that restrict something.

    Raises `BadParameter`.
    """
    now = datetime.now(UTC)
    return _chosen(
        content_types=_content_types(kinds or []),
        languages=_languages(languages or []),
        created_from=moments.past(since, now, option="--since") if since else None,
        created_before=moments.past(until, now, option="--until", whole_day=True) if until else None,
        box=sides(box),
    )


async def named(api: Api, workspace: str, *, documents: Sequence[str] | None, sources: Sequence[str] | None) -> dict[str, Any]:
    """The filters by documents and sources, which the server knows by their ids. Raises `ClientError`."""
    return _chosen(
        document_ids=[(await document_of(api, workspace, name))["id"] for name in documents or []],
        source_ids=[(await source_of(api, workspace, name))["id"] for name in sources or []],
    )


def _chosen(**filters: Any) -> dict[str, Any]:
    return {name: value for name, value in filters.items() if value}
