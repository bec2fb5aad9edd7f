"""A table whose rows are records, each a document."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from typing import Self

from pydantic import Field, field_validator, model_validator

from docutalk_ingest.adapters.parsers.text import decode_bytes
from docutalk_ingest.adapters.sources.item import Item, Listing, ListingFailed, Reach, SourceConfig, Validators, key_of, name_of
from docutalk_ingest.adapters.sources.text_block import MAX_TEXT
from docutalk_ingest.adapters.sources.urls import web_address

_DELIMITERS = ",;\t|"
_MAX_CELL = 1 << 20


class CsvRows(SourceConfig):
    """`{url | text, key_column?, title_column?, delimiter?}`. The first row names the columns.

    A row is known again by its `key_column`; without one by what it holds, so that a changed row is a new document.
    """

    url: str | None = None
    text: str | None = Field(default=None, max_length=MAX_TEXT)
    key_column: str | None = None
    title_column: str | None = None
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)

    @field_validator("url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        return web_address(url) if url is not None else None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.url is None) == (self.text is None):
            raise ValueError("give either `url` or `text`")
        if self.text is not None:
            try:
                self._records(self.text, "the text", 1)
            except ListingFailed as failure:
                raise ValueError(str(failure)) from failure
        return self

    async def items(self, reach: Reach, validators: Validators) -> Listing:
        if self.url is None:
            return await asyncio.to_thread(self._records, self.text or "", "the text", reach.max_items)
        fetched = await reach.fetcher.fetch(self.url, etag=validators.etag, last_modified=validators.last_modified)
        if fetched.unchanged:
            return Listing(unchanged=True, validators=validators)

        def read() -> Listing:
            return self._records(decode_bytes(fetched.body, fetched.charset), fetched.url, reach.max_items)

        listing = await asyncio.to_thread(read)
        return Listing(listing.items, Validators(fetched.etag, fetched.last_modified), note=listing.note)

    def _records(self, text: str, origin: str, most: int) -> Listing:
        rows = _rows(text, self.delimiter, origin)
        columns = [name.strip() or f"column {place}" for place, name in enumerate(next(rows, []), 1)]
        for wanted in (self.key_column, self.title_column):
            if wanted is not None and wanted not in columns:
                there = ", ".join(name[:80] for name in columns[:20])
                raise ListingFailed("no_such_column", f"{origin} has no column {wanted[:80]!r}; it has {there}.")
        items: list[Item] = []
        seen: Counter[str] = Counter()
        left_out = 0
        for number, row in enumerate(rows, 1):
            record = {name: value.strip() for name, value in zip(_as_long_as(columns, row), row, strict=True) if value.strip()}
            if not record:
                continue
            if len(items) == most:
                left_out += 1
                continue
            body = "".join(f"{name}: {value}\n" for name, value in record.items()).encode("utf-8", "replace")
            key = (record.get(self.key_column) if self.key_column else None) or hashlib.sha256(body).hexdigest()
            seen[key] += 1
            if seen[key] > 1:
                # Twice the same key: both are kept, told apart by their order.
                key = f"{key} #{seen[key]}"
            title = (record.get(self.title_column) if self.title_column else None) or (
                record.get(self.key_column) if self.key_column else None
            )
            items.append(Item(key_of(key), f"{origin}, row {number}", name_of(title or f"Row {number}", ".txt"), body=body))
        note = f"{left_out} further rows were left out: a source collects at most {most:,} items." if left_out else None
        return Listing(items, note=note)


def _as_long_as(columns: list[str], row: list[str]) -> list[str]:
    return [columns[place] if place < len(columns) else f"column {place + 1}" for place in range(len(row))]


def _rows(text: str, delimiter: str | None, origin: str) -> Iterator[list[str]]:
    if not text.strip():
        raise ListingFailed("no_rows", f"{origin} holds no rows.")
    csv.field_size_limit(_MAX_CELL)
    if delimiter is None:
        first = text.lstrip().partition("\n")[0]
        delimiter = max(_DELIMITERS, key=first.count)
    try:
        yield from csv.reader(io.StringIO(text.replace("\x00", ""), newline=""), delimiter=delimiter)
    except csv.Error as error:
        raise ListingFailed("bad_csv", f"{origin} could not be read as a table: {error}.") from error
