"""A search that is narrowed to some documents shows nothing of any other, whatever it joins, leaves out, or is asked to go on
with: who was given a link to a part of a workspace searches that part only."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts.embed import PassagesFound, SearchFilters, SearchMode, SearchPassages
from docutalk_embed.domain.cursor import read_cursor, write_cursor
from docutalk_embed.domain.grouping import Group
from docutalk_embed.domain.ranking import Ranked
from docutalk_embed.use_cases.search_passages import search_passages

from .conftest import Indexed

SAME = "The pumps of the harbour were replaced in spring."
TEXTS = [SAME, "The pumps of the harbour were painted in summer.", "Pumps are sold in autumn."]
QUERIES = ("pumps of the harbour", '"pumps of the harbour"', "report of pumps", "pumps -gardens", '"the"')


class Narrowed:
    """Three documents that say the same, one of each source, and one of them to be searched."""

    def __init__(self, indexed: Indexed) -> None:
        self.indexed = indexed
        self.sources = [uuid4() for _ in range(3)]
        self.documents: list[UUID] = []

    async def begin(self) -> None:
        for source_id in self.sources:
            [work] = self.indexed.batches(TEXTS, filename="report.txt")
            # Neighbours on one page, so that they are joined.
            chunks = [chunk.model_copy(update={"page": 1, "start": n * 40, "end": n * 40 + len(chunk.text), "gap": None})
                      for n, chunk in enumerate(work.chunks)]  # fmt: skip
            await self.indexed.index(work.model_copy(update={"source_id": source_id, "chunks": chunks}))
            self.documents.append(work.document_id)

    async def search(
        self, query: str, mode: SearchMode, *, merge: bool, after: str | None = None, **filters: object
    ) -> PassagesFound:
        request = self.asked(query, mode, merge=merge, **filters).model_copy(update={"after": after})
        return await search_passages(request, self.indexed.db, self.indexed.registry)

    def asked(self, query: str, mode: SearchMode, *, merge: bool, **filters: object) -> SearchPassages:
        return SearchPassages(
            workspace_id=self.indexed.workspace_id,
            query=query,
            mode=mode,
            merge=merge,
            limit=2,
            filters=SearchFilters.model_validate(filters),
        )

    async def shown(self, query: str, mode: SearchMode, *, merge: bool, **filters: object) -> set[UUID]:
        """The documents of all that is shown on all pages, also of what is said to be the same."""
        found: set[UUID] = set()
        after: str | None = None
        while True:
            page = await self.search(query, mode, merge=merge, after=after, **filters)
            for passage in page.passages:
                found |= {passage.document_id, *(place.document_id for place in passage.duplicates)}
            if (after := page.next) is None:
                return found


@pytest.fixture
async def narrowed(indexed: Indexed) -> Narrowed:
    narrowed = Narrowed(indexed)
    await narrowed.begin()
    return narrowed


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("mode", list(SearchMode))
async def test_no_passage_of_another_document_is_shown(narrowed: Narrowed, mode: SearchMode, merge: bool) -> None:
    [own, other, _], [source, other_source, _] = narrowed.documents, narrowed.sources
    for query in QUERIES:
        everything = await narrowed.shown(query, mode, merge=merge)
        assert everything <= set(narrowed.documents)
        for filters in (
            {"document_ids": [own]},
            {"source_ids": [source]},
            {"document_ids": [own, other], "source_ids": [source]},
        ):
            assert await narrowed.shown(query, mode, merge=merge, **filters) == everything & {own}, (query, filters)
        assert await narrowed.shown(query, mode, merge=merge, document_ids=[own], source_ids=[other_source]) == set()
        assert await narrowed.shown(query, mode, merge=merge, document_ids=[UUID(int=0)]) == set()


@pytest.mark.parametrize("merge", [True, False])
async def test_forged_cursor_shows_nothing_of_another_document(narrowed: Narrowed, merge: bool) -> None:
    [own, other, _], mode = narrowed.documents, SearchMode.HYBRID
    everywhere = await narrowed.search(SAME, mode, merge=False, document_ids=[other])
    strange = [passage.chunk_id for passage in everywhere.passages]
    asked = narrowed.asked(SAME, mode, merge=merge, document_ids=[own])
    forged = write_cursor(asked, "", [Group(Ranked(strange[0], 1.0, None, None), [strange[0]], strange[1:])])
    assert read_cursor(forged, asked)[1][0].chunk_ids == strange[:1]
    page = await narrowed.search(SAME, mode, merge=merge, after=forged, document_ids=[own])
    assert page.passages == []


async def test_duplicate_outside_of_the_filter_neither_hides_nor_replaces_the_one_inside(narrowed: Narrowed) -> None:
    for document_id in narrowed.documents:
        page = await narrowed.search(SAME, SearchMode.KEYWORD, merge=True, document_ids=[document_id])
        assert SAME in page.passages[0].text
        assert {passage.document_id for passage in page.passages} == {document_id}
        assert [passage.duplicates for passage in page.passages] == [[]] * len(page.passages)
