"""What a source consists of: items, each of which becomes a document."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Protocol

from docutalk_common.errors import DocuTalkError
from pydantic import BaseModel, ConfigDict

from docutalk_ingest.adapters.fetcher import Fetcher

_MAX_KEY = 400
_MAX_NAME = 120
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}$")
_UNFIT = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|\ud800-\udfff]+")


class ListingFailed(DocuTalkError):
    """What a source consists of could not be found out. The message is for the person whose source it is."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class Validators:
    """What a host said about the state of something, to be told so again when we ask for it the next time."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True)
class Item:
    """One thing to become a document. Either `body` is in hand, or it is what `url` answers; with both, `body` is what there
    is as long as `url` cannot be read."""

    key: str
    """The same in each run; see `key_of`."""
    origin: str
    name: str
    body: bytes | None = None
    url: str | None = None


@dataclass(frozen=True)
class Listing:
    """The items of a source. `unchanged`: the list is as it was at the last run, and so is each item."""

    items: list[Item] = field(default_factory=list)
    validators: Validators = Validators()
    unchanged: bool = False
    note: str | None = None
    """What a person should know, such as what was left out."""


@dataclass(frozen=True)
class SearchHit:
    """A page that was found."""

    url: str
    title: str


class SearchProvider(Protocol):
    """Searches the web. Raises `ListingFailed` or `FetchFailed`."""

    async def search(self, query: str, max_results: int) -> list[SearchHit]: ...


@dataclass(frozen=True)
class Reach:
    """What a source may use to find its items."""

    fetcher: Fetcher
    search: SearchProvider | None = None
    max_items: int = 10_000


class SourceConfig(BaseModel, ABC):
    """What one kind of source needs to know."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)

    @abstractmethod
    async def items(self, reach: Reach, validators: Validators) -> Listing:
        """Raises `ListingFailed` or `FetchFailed`."""


def suffix_of(name: str) -> str:
    """What a file's name ends with, `.pdf`; nothing when what follows the last dot is just words."""
    found = _SUFFIX.search(name)
    return found[0].lower() if found else ""


def key_of(text: str) -> str:
    """A key that fits into an index: the text itself unless it is long."""
    text = text.replace("\x00", "").encode("utf-8", "replace").decode()
    return text if len(text) <= _MAX_KEY else "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def name_of(title: str, suffix: str) -> str:
    """A file's name made of a title."""
    title = " ".join(_UNFIT.sub(" ", title).split())[:_MAX_NAME].strip(" .") or "untitled"
    return title if suffix and title.lower().endswith(suffix) else title + suffix
