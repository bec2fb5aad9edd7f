"""The kinds of sources by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docutalk_common.contracts.ingest import SourceKind
from docutalk_common.errors import RequestFailed
from pydantic import ValidationError

from docutalk_ingest.adapters.sources.csv_rows import CsvRows
from docutalk_ingest.adapters.sources.feed import Feed
from docutalk_ingest.adapters.sources.item import SourceConfig
from docutalk_ingest.adapters.sources.text_block import TextBlock
from docutalk_ingest.adapters.sources.urls import UrlList
from docutalk_ingest.adapters.sources.web_search import WebSearch
from docutalk_ingest.domain import freeze

_KINDS: Mapping[SourceKind, type[SourceConfig]] = {
    SourceKind.TEXT: TextBlock,
    SourceKind.URLS: UrlList,
    SourceKind.CSV: CsvRows,
    SourceKind.FEED: Feed,
    SourceKind.SEARCH: WebSearch,
}


MAX_CONFIG = 1 << 20
"""Bytes. It travels in messages of at most 2 MiB."""


def read_config(kind: SourceKind, config: Mapping[str, Any]) -> SourceConfig:
    """The configuration of a source. Raises `RequestFailed("invalid")` with a sentence about what is wrong."""
    try:
        read = _KINDS[kind].model_validate(_storable(dict(config)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise RequestFailed(
            "invalid", f"This {kind.value} source cannot work{f', see `{where}`' if where else ''}: {what}."
        ) from error
    if len(read.model_dump_json().encode()) > MAX_CONFIG:
        raise RequestFailed("invalid", f"This {kind.value} source is larger than 1 MiB. Divide it into several sources.")
    return read


def config_as_stored(config: SourceConfig) -> dict[str, Any]:
    """What is kept of it: what was said, checked."""
    return config.model_dump(mode="json", exclude_none=True)


def _storable(value: Any) -> Any:
    """Without what PostgreSQL cannot hold."""
    if isinstance(value, str):
        return freeze(value)
    if isinstance(value, list):
        return [_storable(entry) for entry in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(entry) for key, entry in value.items()}
    return value
