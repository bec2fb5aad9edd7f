"""An RSS or Atom feed, each entry a document."""

from __future__ import annotations

import html

from pydantic import Field, field_validator

from docutalk_ingest.adapters.fetcher import FetchFailed, parsed
from docutalk_ingest.adapters.sources.feed_reader import Entry, read_feed
from docutalk_ingest.adapters.sources.item import Item, Listing, Reach, SourceConfig, Validators, key_of, name_of
from docutalk_ingest.adapters.sources.urls import page, web_address
from docutalk_ingest.domain import freeze


class Feed(SourceConfig):
    """`{url, full_text, max_items}`: what the entries say, or with `full_text` the pages that they link to."""

    url: str
    full_text: bool = False
    max_items: int = Field(default=100, ge=1, le=1000)

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        return web_address(url)

    async def items(self, reach: Reach, validators: Validators) -> Listing:
        # The pages behind an unchanged feed may have changed, so with `full_text` the entries are always wanted.
        known = Validators() if self.full_text else validators
        fetched = await reach.fetcher.fetch(self.url, etag=known.etag, last_modified=known.last_modified)
        if fetched.unchanged:
            return Listing(unchanged=True, validators=validators)
        entries = await read_feed(fetched.body, fetched.url, fetched.content_type, min(self.max_items, reach.max_items))
        items = {item.key: item for entry in entries if (item := self._item(entry)) is not None}
        return Listing(list(items.values()), Validators(fetched.etag, fetched.last_modified))

    def _item(self, entry: Entry) -> Item | None:
        if self.full_text and entry.link:
            try:
                linked = page(entry.link, entry.title)
            except FetchFailed:
                pass
            else:
                said = _document(entry) if entry.content else None
                return Item(key_of(entry.key), linked.origin, linked.name, url=linked.url, body=said)
        if not (entry.title or entry.content):
            return None
        return Item(
            key_of(entry.key), freeze(entry.link) or self.url, name_of(entry.title or "Entry", ".html"), body=_document(entry)
        )


def _document(entry: Entry) -> bytes:
    """The entry as a page of its own. Nothing in it changes while the entry does not."""
    title = html.escape(entry.title)
    about = "".join(
        f'<meta name="{name}" content="{html.escape(value)}">'
        for name, value in (("author", entry.author), ("date", entry.published))
        if value
    )
    link = (
        f'<p><a href="{html.escape(entry.link)}">{html.escape(entry.link)}</a></p>' if entry.link and _is_web(entry.link) else ""
    )
    text = (
        f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{title}</title>{about}</head>\n'
        f"<body><article><h1>{title}</h1>\n{entry.content}\n{link}</article></body></html>\n"
    )
    return text.encode("utf-8", "replace")


def _is_web(link: str) -> bool:
    try:
        parsed(link)
    except FetchFailed:
        return False
    return True
