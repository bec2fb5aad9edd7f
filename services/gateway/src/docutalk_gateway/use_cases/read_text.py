"""The text of a document as somebody reads it who cannot turn pages: page after page, up to a length."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

from docutalk_common.contracts.ingest import GetPages, Page, PageRef, Pages
from docutalk_common.db import Cause
from docutalk_common.messaging.requests import RequestClient

TEXT_MAX = 100_000
BETWEEN_PAGES = "\n\n"
# Together below the message server's limit of 2 MiB, whatever script the text is in. Longer pages are asked for one by one.
PAGES_AT_ONCE = 20
PIECE = 20_000


@dataclass(frozen=True)
class Place:
    """A page, from 1, and a character of its text, from 0."""

    page: int
    start: int = 0


@dataclass(frozen=True)
class Passage:
    """`pages` are the numbers of those that `text` is of; `next` is where it goes on, None at the document's end."""

    text: str
    pages: list[int]
    version: int
    next: Place | None


async def read_text(
    requests: RequestClient, cause: Cause, workspace_id: UUID, document_id: UUID, place: Place, *, one_page: bool
) -> Passage | None:
    """Whole pages from `place` on, as many as 100,000 characters hold, or `one_page`; of a longer page so many of it. None when
    there is no such page. All of one version. Raises `RequestFailed`."""
    read: list[Page] = []
    room = TEXT_MAX
    end: Place | None = None
    async with aclosing(
        _pages(requests, cause, workspace_id, document_id, place, at_once=2 if one_page else PAGES_AT_ONCE)
    ) as pages:
        async for page in pages:
            if read and (one_page or len(page.text) > room):
                end = Place(page.number)
                break
            read.append(page)
            room -= len(page.text) + len(BETWEEN_PAGES)
            if len(page.text) > TEXT_MAX:
                end = Place(page.number, page.start + TEXT_MAX)
                break
    if not read:
        return None
    text = BETWEEN_PAGES.join(page.text for page in read)[:TEXT_MAX]
    return Passage(text, [page.number for page in read], read[0].version, end)


async def _pages(
    requests: RequestClient, cause: Cause, workspace_id: UUID, document_id: UUID, place: Place, *, at_once: int
) -> AsyncGenerator[Page]:
    """Pages in order, each whole or, if it is longer than `TEXT_MAX`, one character more of it."""
    number, start = place.page, place.start
    version: int | None = None

    async def ask(refs: list[PageRef]) -> list[Page]:
        question = GetPages(workspace_id=workspace_id, pages=refs)
        return (await requests.ask("rpc.ingest.v1.page.get", question, Pages, cause=cause)).pages

    def ref(number: int, start: int, length: int) -> PageRef:
        return PageRef(document_id=document_id, version=version, number=number, start=start, end=start + length)

    while True:
        found = await ask([ref(number + i, 0 if i else start, PIECE) for i in range(at_once)])
        for page in found:
            version = page.version
            if len(page.text) < PIECE:
                yield page
                continue
            for whole in await ask([ref(page.number, page.start, TEXT_MAX + 1)]):
                yield whole
        if len(found) < at_once:
            return
        number, start = number + at_once, 0
