"""JSON as lines that can be read, found and cited: `path: value`, a blank line between records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutalk_ingest.adapters.parsers.page_text import PageText
from docutalk_ingest.adapters.parsers.text import decode_file, read_text
from docutalk_ingest.domain import ParsedDocument, ParseFailed

_PATH_PARTS = 6
"""Of a deeper value only the nearest names are written: whole paths would make a small file long."""
_SHORT = 60
_NAMES = ("title", "name", "label", "subject", "headline", "id", "key")


class _Object(list[tuple[str, Any]]):
    """The pairs as they stand in the file: a dict would lose all but the last of a repeated name."""


def read_json(path: Path, password: str | None = None) -> ParsedDocument:
    """One page. What is no valid JSON is tried as JSON lines, and then read as the plain text that it is."""
    text = decode_file(path)
    value = _parse(text)
    if value is _INVALID:
        return read_jsonl(path)
    page = PageText()
    records = _records(value)
    if records is None:
        _write(page, value)
    else:
        around, items = records
        _write(page, around)
        for number, item in enumerate(items, start=1):
            _write_record(page, item, number)
    return _document(page, text)


def read_jsonl(path: Path, password: str | None = None) -> ParsedDocument:
    """One page, a record for each line. Lines that are no JSON stay as they are; where most are, the file is plain text."""
    page = PageText()
    records = others = 0
    text = decode_file(path)
    for line in filter(str.strip, text.split("\n")):
        value = _parse(line)
        if value is _INVALID:
            others += 1
            page.add(line + "\n")
        else:
            records += 1
            _write_record(page, value, records + others)
    return _document(page, text) if records >= others else read_text(path)


_INVALID = object()


def _parse(text: str) -> Any:
    try:
        # Numbers stay as they are written.
        return json.loads(text, object_pairs_hook=_Object, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return _INVALID


def _document(page: PageText, source: str) -> ParsedDocument:
    made = page.page()
    if not made.text:
        raise ParseFailed("no_text", f"The JSON file holds no values: it is {source.strip()[:40]}. Check the original.")
    return ParsedDocument(iter([made]), page_count=1)


def _records(value: Any) -> tuple[_Object, list[Any]] | None:
    """A list of objects, at the top or as the one such list of the top object, and what stands around it."""
    if _is_records(value):
        return _Object(), value
    if isinstance(value, _Object):
        lists = [index for index, (_, item) in enumerate(value) if _is_records(item)]
        if len(lists) == 1:
            return _Object(value[: lists[0]] + value[lists[0] + 1 :]), value[lists[0]][1]
    return None


def _is_records(value: Any) -> bool:
    return _is_list(value) and len(value) > 0 and all(isinstance(item, _Object) for item in value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and not isinstance(value, _Object)


def _write_record(page: PageText, value: Any, number: int) -> None:
    if page.length:
        page.add("\n")
    start = page.length
    _write(page, value)
    if page.length > start:
        page.unit("record", _record_name(value) or f"Record {number}", start)


def _record_name(value: Any) -> str | None:
    if not isinstance(value, _Object):
        return None
    scalars = {name.lower(): item for name, item in reversed(value) if isinstance(item, str) and item.strip()}
    return next((scalars[name] for name in _NAMES if name in scalars), None)


def _write(page: PageText, value: Any) -> None:
    for line in _lines(value):
        page.add(line + "\n")


def _lines(value: Any) -> Iterator[str]:
    """Walks without recursion: what the parser could read may be nested deeper than Python's calls."""
    walk: list[Iterator[tuple[tuple[str, ...], Any]]] = [iter([((), value)])]
    while walk:
        step = next(walk[-1], None)
        if step is None:
            walk.pop()
            continue
        path, item = step
        if isinstance(item, list) and not _is_short(item):
            walk.append(_children(path, item))
        else:
            yield from _line(path, ", ".join(map(_scalar, item)) if isinstance(item, list) else _scalar(item))


def _children(path: tuple[str, ...], item: list[Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(item, _Object):
        for name, inner in item:
            yield (*path, name)[-_PATH_PARTS:], inner
    else:
        for index, inner in enumerate(item, start=1):
            yield _indexed(path, index), inner


def _is_short(item: list[Any]) -> bool:
    """A list that fits one line."""
    if isinstance(item, _Object):
        return False
    return all(not isinstance(inner, list) and len(_scalar(inner)) <= _SHORT for inner in item)


def _indexed(path: tuple[str, ...], index: int) -> tuple[str, ...]:
    return (*path[:-1], f"{path[-1]}[{index}]")[-_PATH_PARTS:] if path else (f"[{index}]",)


def _line(path: tuple[str, ...], text: str) -> Iterator[str]:
    if text.strip():
        yield f"{'.'.join(path)}: {text}" if path else text


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
