"""Documents that are like another one, with the pair of passages that shows it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts.embed import FindSimilar, SimilarDocuments
from docutalk_common.errors import NotFound
from docutalk_embed.adapters.similar_documents import SimilarDocuments as Around
from docutalk_embed.domain import InvalidQuery
from docutalk_embed.use_cases.find_similar import find_similar

from .conftest import Indexed

PUMPS = ["The pumps of the northern plant were replaced.", "Each pump moves forty litres a second.", "Valves were kept."]
MORE_PUMPS = ["A pump of the southern plant failed in May.", "Its valve was broken.", "A new pump was bought."]
GARDEN = ["Roses should be cut back in early spring.", "Water the tomatoes twice a day.", "Compost feeds the soil."]
TAXES = ["Income taxes rose to 2.1 billion dollars.", "The effective tax rate was 21 percent.", "Deferred taxes fell."]


async def similar(indexed: Indexed, document_id: UUID, limit: int = 10) -> SimilarDocuments:
    """What the service answers."""
    request = FindSimilar(workspace_id=indexed.workspace_id, document_id=document_id, limit=limit)
    return await find_similar(request, indexed.db)


async def test_the_document_about_the_same_comes_first_with_the_passages_that_say_it(indexed: Indexed) -> None:
    pumps = await indexed.add(PUMPS, filename="pumps.txt")
    more = await indexed.add([*MORE_PUMPS, GARDEN[0]], filename="more pumps.txt")
    await indexed.add(GARDEN)
    await indexed.add(TAXES)
    first, *others = (await similar(indexed, pumps)).items
    assert (first.document_id, first.filename) == (more, "more pumps.txt")
    assert len(others) == 2
    scores = [item.score for item in (first, *others)]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert first.text in MORE_PUMPS
    assert (first.passage.document_id, first.passage.filename) == (more, "more pumps.txt")
    assert (first.like.document_id, first.like.filename) == (pumps, "pumps.txt")
    assert first.passage.end - first.passage.start == len(first.text)


async def test_a_copy_is_all_alike_and_its_passages_are_paired_with_themselves(indexed: Indexed) -> None:
    original = await indexed.add(PUMPS)
    copy = await indexed.add(PUMPS)
    await indexed.add(TAXES)
    [first] = (await similar(indexed, original, limit=1)).items
    assert first.document_id == copy
    assert first.text == PUMPS[first.like.page - 1]


async def test_the_document_itself_other_workspaces_and_deleted_documents_are_not_listed(
    make_indexed: Callable[[], Indexed],
) -> None:
    indexed, other = make_indexed(), make_indexed()
    pumps = await indexed.add(PUMPS)
    await other.add(MORE_PUMPS)
    deleted = await indexed.add(MORE_PUMPS)
    await indexed.delete(deleted)
    assert (await similar(indexed, pumps)).items == []
    garden = await indexed.add(GARDEN)
    assert [item.document_id for item in (await similar(indexed, pumps)).items] == [garden]


async def test_a_document_without_passages_here_is_not_found(make_indexed: Callable[[], Indexed]) -> None:
    indexed, other = make_indexed(), make_indexed()
    foreign = await other.add(PUMPS)
    deleted = await indexed.add(PUMPS)
    await indexed.delete(deleted)
    first, _ = indexed.batches(PUMPS, size=2)
    await indexed.index(first)
    for document_id in (uuid4(), foreign, deleted, first.document_id):
        with pytest.raises(NotFound, match=str(document_id)):
            await similar(indexed, document_id)


async def test_limit_cuts_the_list_and_has_bounds(indexed: Indexed) -> None:
    pumps = await indexed.add(PUMPS)
    for number in range(4):
        await indexed.add([f"{line} ({number})" for line in MORE_PUMPS])
    assert len((await similar(indexed, pumps, limit=3)).items) == 3
    for limit in (0, 101):
        with pytest.raises(InvalidQuery, match="1 to 100"):
            await similar(indexed, pumps, limit=limit)


async def test_the_index_finds_what_the_exact_scan_finds(make_apart: Callable[[], Indexed]) -> None:
    indexed = make_apart()
    pumps = await indexed.add(PUMPS)
    for texts in (MORE_PUMPS, GARDEN, TAXES):
        await indexed.add(texts)
    async with indexed.db.read() as session:
        around = Around(session, indexed.workspace_id, pumps, "embeddings_1")
        middle = await around.middle()
        assert middle is not None
        exact = await around.around(middle, 9, exact=True)
        by_index = await around.around(middle, 9, exact=False)
    assert [one.chunk_id for one in exact] == [one.chunk_id for one in by_index]
    assert len(exact) == 9
