"""Checks quotes against the pages as ingest keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self
from uuid import UUID

from docutalk_common.contracts.chat import Citation
from docutalk_common.contracts.embed import Passage, PassageScores, SearchFilters
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.ingest import Page, PageRef
from docutalk_common.db import Cause

from docutalk_chat.adapters.library import Library
from docutalk_chat.adapters.metrics import MARKERS_REMOVED
from docutalk_chat.domain.place import locate


class PageQuotes:
    """The pages of some passages. They are fetched from the beginning of the block on, while the model thinks.

    `around` characters before and after each passage are fetched too. Pages of formats without pages can be enormous, so
    only what may be quoted is asked for.
    """

    def __init__(
        self,
        library: Library,
        workspace_id: UUID,
        passages: Sequence[Passage],
        cause: Cause,
        *,
        scope: SearchFilters,
        around: int = 0,
    ) -> None:
        self._passages = passages
        self._mentions = partial(library.mentions, workspace_id, scope=scope, cause=cause)
        refs = [
            PageRef(
                document_id=passage.document_id,
                version=passage.version,
                number=passage.page,
                start=max(passage.start - around, 0),
                end=passage.end + around,
            )
            for passage in passages
        ]
        self._fetch = library.pages(workspace_id, refs, cause)

    async def __aenter__(self) -> Self:
        self._pages = asyncio.create_task(self._fetch)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pages.cancel()
        await asyncio.gather(self._pages, return_exceptions=True)

    async def cite(self, marker: int, passage: Passage, start: int, end: int) -> Citation | None:
        """The citation of `passage.text[start:end]`, or None when the page does not say exactly that there.

        Raises `AnswerNotPossible` when the pages cannot be read.
        """
        first, last, quote = passage.start + start, passage.start + end, passage.text[start:end]
        for page in await self._of(passage):
            if page.start <= first and page.text[first - page.start : last - page.start] == quote:
                return Citation(
                    marker=marker,
                    document_id=passage.document_id,
                    version=passage.version,
                    filename=passage.filename,
                    page=passage.page,
                    start=first,
                    end=last,
                    quote=quote,
                )
        MARKERS_REMOVED.labels("not_on_page").inc()
        return None

    async def mentions(self, word: str) -> bool:
        """Whether a document of the question's scope says this word anywhere; taken for true while nobody can tell."""
        return await self._mentions(word)

    async def find(self, selected: str) -> Passage | None:
        """The selection as a passage of its own, when it stands on one of the pages; needs `around`."""
        for passage in self._passages:
            for page in await self._of(passage):
                place = locate(selected, page.text)
                if place is not None:
                    start, end = place
                    return Passage(
                        chunk_id=uuid7(),
                        document_id=passage.document_id,
                        version=passage.version,
                        filename=passage.filename,
                        page=passage.page,
                        start=page.start + start,
                        end=page.start + end,
                        text=page.text[start:end],
                        score=1.0,
                        scores=PassageScores(),
                    )
        return None

    async def _of(self, passage: Passage) -> list[Page]:
        """Of the version in which the passage was found: a later one may say something else there."""
        place = (passage.document_id, passage.version, passage.page)
        return [page for page in await self._pages if (page.document_id, page.version, page.number) == place]
