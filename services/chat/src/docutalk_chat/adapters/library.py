"""What chat asks of the services that hold the documents: passages and vectors of embed, page text of ingest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from docutalk_common.contracts.embed import (
    Embeddings,
    EmbedTexts,
    Passage,
    PassagesFound,
    SearchFilters,
    SearchMode,
    SearchPassages,
)
from docutalk_common.contracts.envelope import Contract
from docutalk_common.contracts.ingest import GetPages, Page, PageRef, Pages
from docutalk_common.db import Cause
from docutalk_common.errors import DependencyUnavailable, RequestFailed
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.telemetry import get_logger

from docutalk_chat.domain.answers import PASSAGES, AnswerNotPossible
from docutalk_chat.domain.place import phrases

R = TypeVar("R", bound=Contract)

log = get_logger(__name__)

SEARCH_SECONDS = 1.5
"""In all, with the second try: who asks learns within two seconds that search is away."""
MODEL_SECONDS = 1.0
"""An embedding model may be at an endpoint that hangs: rather than none at all, passages that the words find are enough then."""
AT_ONCE = 16
"""Questions to other services on their way, as many as each of them answers at a time."""
PROBE_PASSAGES = 4
"""The same sentence may stand in several documents."""
PAGES_SECONDS = 1.5
PAGES_TOGETHER = 16
"""Parts of pages in one question. With what stands around a passage a part may have 14,000 characters of three bytes each, and
ingest answers with 1.5 MB at most."""
VECTORS_SECONDS = 1.0


class Library:
    """Requests to other services, with their failures in the words of an answer."""

    def __init__(self, requests: RequestClient) -> None:
        self._client = requests
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def _ask(self, subject: str, request: Contract, response: type[R], *, timeout: float, cause: Cause | None = None) -> R:
        """`timeout` begins when it is this question's turn: of hundreds that come at once none fails for the others' sake."""
        async with self._slots:
            return await self._client.ask(subject, request, response, cause=cause, timeout=timeout)

    async def search(
        self, workspace_id: UUID, query: str, filters: SearchFilters, cause: Cause, *, limit: int = PASSAGES
    ) -> list[Passage]:
        """Passages, best first. Raises `AnswerNotPossible("search_unavailable")`."""
        question = SearchPassages(
            workspace_id=workspace_id,
            query=query,
            limit=limit,
            # What says the same takes one place of the ten. Answers cite as many pages with the evidence either way.
            merge=True,
            model_seconds=MODEL_SECONDS,
            filters=filters,
        )
        try:
            found = await self._ask("rpc.embed.v1.passage.search", question, PassagesFound, cause=cause, timeout=SEARCH_SECONDS)
        except (RequestFailed, DependencyUnavailable) as error:
            log.warning("search failed", code=error.code, reason=str(error))
            raise AnswerNotPossible(
                "search_unavailable",
                "The search over the documents is not available right now, so there is nothing to answer from. "
                "Try again in a moment.",
            ) from error
        return found.passages

    async def with_words_of(self, workspace_id: UUID, selected: str, filters: SearchFilters, cause: Cause) -> list[Passage]:
        """Passages that hold a piece of a selected text word for word: where it may come from. None when search is away, as the
        answer then has nothing to stand on anyway."""
        asked = [
            self._with_words(workspace_id, f'"{phrase}"', filters, cause, limit=PROBE_PASSAGES) for phrase in phrases(selected)
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        found: dict[UUID, Passage] = {}
        for answer in answers:
            if isinstance(answer, BaseException):
                log.info("a selected text was not looked for", reason=str(answer))
                continue
            found.update({passage.chunk_id: passage for passage in answer})
        return list(found.values())

    async def mentions(self, workspace_id: UUID, word: str, *, scope: SearchFilters, cause: Cause) -> bool:
        """Whether any passage says this word, or its document is called so. True when search does not tell."""
        try:
            return bool(await self._with_words(workspace_id, word, scope, cause, limit=1))
        except (RequestFailed, DependencyUnavailable) as error:
            log.info("a name was not looked for", code=error.code, reason=str(error))
            return True

    async def _with_words(
        self, workspace_id: UUID, query: str, filters: SearchFilters, cause: Cause, *, limit: int
    ) -> list[Passage]:
        question = SearchPassages(
            workspace_id=workspace_id, query=query, limit=limit, mode=SearchMode.KEYWORD, filters=filters, merge=False
        )
        found = await self._ask("rpc.embed.v1.passage.search", question, PassagesFound, cause=cause, timeout=SEARCH_SECONDS)
        return found.passages

    async def pages(self, workspace_id: UUID, refs: Sequence[PageRef], cause: Cause) -> list[Page]:
        """Page texts, or the parts of them that were asked for. Raises `AnswerNotPossible("pages_unavailable")`."""
        questions = [
            GetPages(workspace_id=workspace_id, pages=list(refs[first : first + PAGES_TOGETHER]))
            for first in range(0, len(refs), PAGES_TOGETHER)
        ]
        asked = [self._ask("rpc.ingest.v1.page.get", one, Pages, cause=cause, timeout=PAGES_SECONDS) for one in questions]
        try:
            answers = await asyncio.gather(*asked)
        except (RequestFailed, DependencyUnavailable) as error:
            log.warning("pages could not be read", code=error.code, reason=str(error))
            raise AnswerNotPossible(
                "pages_unavailable",
                "The text of the documents cannot be read right now, so no quote can be checked. Try again in a moment.",
            ) from error
        return [page for answer in answers for page in answer.pages]

    async def vectors(self, texts: Sequence[str]) -> list[list[float]] | None:
        """A unit vector for each text, or None when there are none to be had right now: they only improve an answer."""
        try:
            found = await self._ask("rpc.embed.v1.text.embed", EmbedTexts(texts=list(texts)), Embeddings, timeout=VECTORS_SECONDS)
        except (RequestFailed, DependencyUnavailable) as error:
            log.info("answering without sentence vectors", code=error.code, reason=str(error))
            return None
        return found.vectors if len(found.vectors) == len(texts) else None
