"""Addresses of the web: each page, or file, is a document."""

from __future__ import annotations

from urllib.parse import unquote

from pydantic import Field, field_validator

from docutalk_ingest.adapters.fetcher import FetchFailed, parsed, shown
from docutalk_ingest.adapters.sources.item import Item, Listing, Reach, SourceConfig, Validators, key_of, name_of

MAX_URLS = 1_000


class UrlList(SourceConfig):
    """`{urls}`: HTML pages are stored as they were fetched, and so are PDF and other files."""

    urls: list[str] = Field(min_length=1, max_length=MAX_URLS)

    @field_validator("urls")
    @classmethod
    def _addresses(cls, urls: list[str]) -> list[str]:
        return [web_address(url) for url in urls]

    async def items(self, reach: Reach, validators: Validators) -> Listing:
        return Listing([page(url) for url in dict.fromkeys(self.urls)])


def web_address(url: str) -> str:
    """For validators: the address, checked. Raises `ValueError`."""
    try:
        return str(parsed(url))
    except FetchFailed as failure:
        raise ValueError(str(failure)) from failure


def page(url: str, title: str = "") -> Item:
    """The item of one address. Its name is that of the page when it has been fetched."""
    address = parsed(url)
    last = unquote(address.path.rstrip("/").rpartition("/")[2])
    return Item(key_of(shown(address)), shown(address), name_of(title or last or address.host, ""), url=str(address))
