"""Finds what a question may be answered from, and where its selected text may stand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from docutalk_common.contracts.embed import Passage
from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.db import Cause

from docutalk_chat.adapters.library import Library
from docutalk_chat.domain.answers import PASSAGES, AnswerNotPossible
from docutalk_chat.domain.prompt import search_query, speaks_for_itself
from docutalk_chat.domain.scope import scope_of


@dataclass(frozen=True)
class Found:
    """`passages` answer, best first; `selection` are those that hold words of the selected text."""

    passages: list[Passage]
    selection: list[Passage]

    @property
    def all(self) -> list[Passage]:
        """Those whose pages may be quoted."""
        return [*self.passages, *self.selection]


class Finder:
    """Searches for one message. A question that speaks for itself is searched while it is being stored.

    So many at a time as `line` has slots: of hundreds of questions that come at once the first are answered first, instead of all
    at the end, and connections to the database remain for whoever opens a conversation.
    """

    def __init__(self, library: Library, posted: MessagePosted, cause: Cause, line: asyncio.Semaphore) -> None:
        self._library = library
        self._posted = posted
        self.cause = cause
        self.scope = scope_of(posted)
        self._line = line
        self._in_line = False
        self._early: tuple[str, asyncio.Task[list[Passage] | AnswerNotPossible]] | None = None

    async def begin(self) -> None:
        """Waits for its turn to search, and takes it."""
        await self._join_the_line()
        if speaks_for_itself(self._posted.text):
            query = search_query(self._posted.text, (), self._posted.selected_text)
            self._early = (query, asyncio.create_task(self._search(query, PASSAGES)))

    def step_aside(self) -> None:
        """Lets others search while a model is waited for; `find` waits for a turn again."""
        self._leave_the_line()

    async def find(self, standing: str | None, earlier: Sequence[str], *, limit: int) -> Found:
        """`standing` is the question as it stands alone, None when nobody wrote it; then the person's `earlier` messages help.

        Raises `AnswerNotPossible`.
        """
        await self._join_the_line()
        selected = self._posted.selected_text
        query = search_query(self._posted.text, earlier, selected) if standing is None else search_query(standing, (), selected)
        selection = (
            asyncio.create_task(self._library.with_words_of(self._posted.workspace_id, selected, self.scope, self.cause))
            if selected
            else None
        )
        try:
            passages = await self._passages(query, limit)
            if isinstance(passages, AnswerNotPossible):
                raise passages
            return Found(passages, await selection if selection is not None else [])
        finally:
            if selection is not None:
                selection.cancel()
            self._leave_the_line()

    async def close(self) -> None:
        """Ends a search that nobody waits for."""
        self._leave_the_line()
        if self._early is not None:
            self._early[1].cancel()
            await asyncio.gather(self._early[1], return_exceptions=True)

    async def _join_the_line(self) -> None:
        if not self._in_line:
            await self._line.acquire()
            self._in_line = True

    def _leave_the_line(self) -> None:
        if self._in_line:
            self._in_line = False
            self._line.release()

    async def _passages(self, query: str, limit: int) -> list[Passage] | AnswerNotPossible:
        if self._early is not None and self._early[0] == query and limit <= PASSAGES:
            passages = await self._early[1]
            return passages if isinstance(passages, AnswerNotPossible) else passages[:limit]
        return await self._search(query, limit)

    async def _search(self, query: str, limit: int) -> list[Passage] | AnswerNotPossible:
        try:
            return await self._library.search(self._posted.workspace_id, query, self.scope, self.cause, limit=limit)
        except AnswerNotPossible as error:
            # Returned, not raised: nobody may come to fetch it.
            return error


@contextlib.asynccontextmanager
async def finding(library: Library, posted: MessagePosted, cause: Cause, line: asyncio.Semaphore) -> AsyncIterator[Finder]:
    """A finder whose turn it is, closed at the end."""
    finder = Finder(library, posted, cause, line)
    try:
        await finder.begin()
        yield finder
    finally:
        await finder.close()
