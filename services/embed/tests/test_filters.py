"""What a search is narrowed by: both lists, by source, language, time and place, alone and together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts.embed import BoundingBox, SearchFilters, SearchMode
from docutalk_embed.adapters.batcher import Lane
from docutalk_embed.adapters.passage_repository import PassageRepository, QueryVector
from docutalk_embed.adapters.word_index import WordIndex
from docutalk_embed.domain.words import parse_query

from .conftest import Indexed

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
EUROPE = BoundingBox(west=-11, south=35, east=30, north=70)
PACIFIC = BoundingBox(west=170, south=-50, east=-170, north=0)


async def add(indexed: Indexed, text: str, **fields: object) -> UUID:
    """A document of one passage."""
    [work] = indexed.batches([text])
    await indexed.index(work.model_copy(update=fields))
    return work.document_id


async def found(indexed: Indexed, query: str = "pumps", **filters: object) -> set[UUID]:
    """The documents that a search finds; in every mode the same."""
    chosen = SearchFilters.model_validate(filters)
    by_mode = [
        {
            document_id
            for passage in (await indexed.search(query, mode=mode, filters=chosen)).passages
            for document_id in (passage.document_id, *(place.document_id for place in passage.duplicates))
        }
        for mode in SearchMode
    ]
    assert by_mode[0] == by_mode[1] == by_mode[2]
    return by_mode[0]


async def test_by_source(indexed: Indexed) -> None:
    source, other = uuid4(), uuid4()
    collected = await add(indexed, "Pumps of the source.", source_id=source)
    await add(indexed, "Pumps of another source.", source_id=other)
    await add(indexed, "Pumps that were uploaded.")
    assert await found(indexed, source_ids=[source]) == {collected}
    assert len(await found(indexed, source_ids=[source, other])) == 2
    assert await found(indexed, source_ids=[uuid4()]) == set()


async def test_by_language(indexed: Indexed) -> None:
    english = await add(indexed, "The pumps were sold.", language="en")
    german = await add(indexed, "Die Pumps wurden verkauft.", language="de")
    unknown = await add(indexed, "Pumps, 4711")
    assert await found(indexed) == {english, german, unknown}
    assert await found(indexed, languages=["de"]) == {german}
    assert await found(indexed, languages=["EN", "de"]) == {english, german}
    assert await found(indexed, languages=["fr"]) == set()


async def test_by_time_from_inclusive_to_exclusive(indexed: Indexed) -> None:
    days = [await add(indexed, f"Pumps of day {n}.", document_created_at=NEW_YEAR + n * DAY) for n in range(3)]
    assert await found(indexed, created_from=NEW_YEAR + DAY) == set(days[1:])
    assert await found(indexed, created_before=NEW_YEAR + DAY) == {days[0]}
    assert await found(indexed, created_from=NEW_YEAR + DAY, created_before=NEW_YEAR + 2 * DAY) == {days[1]}
    assert await found(indexed, created_from=NEW_YEAR + 5 * DAY) == set()


async def test_by_place_also_across_the_180th_meridian(indexed: Indexed) -> None:
    paris = await add(indexed, "Pumps were sold in Paris and Berlin.")
    auckland = await add(indexed, "Pumps were sold in Auckland, New Zealand.")
    await add(indexed, "Pumps were sold.")
    assert await found(indexed, box=EUROPE) == {paris}
    assert await found(indexed, box=PACIFIC) == {auckland}
    assert await found(indexed, box=BoundingBox(west=-80, south=-60, east=-30, north=10)) == set()


async def test_all_of_them_must_hold(indexed: Indexed) -> None:
    source = uuid4()
    both = await add(indexed, "Pumps in Paris.", source_id=source, language="en", document_created_at=NEW_YEAR)
    await add(indexed, "Pumps in Rome.", language="en", document_created_at=NEW_YEAR)
    await add(indexed, "Pumps in Lyon.", source_id=source, language="fr", document_created_at=NEW_YEAR)
    narrow = {
        "source_ids": [source],
        "languages": ["en"],
        "box": EUROPE,
        "created_from": NEW_YEAR,
        "created_before": NEW_YEAR + DAY,
    }
    assert await found(indexed, **narrow) == {both}
    assert await found(indexed, **(narrow | {"document_ids": [uuid4()]})) == set()


@pytest.mark.parametrize("mode", list(SearchMode))
async def test_phrases_and_exclusions_narrow_both_lists(indexed: Indexed, mode: SearchMode) -> None:
    await indexed.add(["The pump house is old.", "The house has a pump.", "A pump house of steel.", "Nothing of that kind."])

    async def texts(query: str) -> set[str]:
        return {passage.text for passage in (await indexed.search(query, mode=mode)).passages}

    assert await texts('"pump house"') == {"The pump house is old.", "A pump house of steel."}
    assert await texts('"pump house" -steel') == {"The pump house is old."}
    assert "A pump house of steel." not in await texts("pump -steel")
    assert "The house has a pump." not in await texts('house -"has a pump"')


async def test_conditions_hold_in_the_index_as_in_the_exact_scan(make_apart: Callable[[], Indexed]) -> None:
    indexed = make_apart()
    await indexed.add([f"The pump house number {n} is old." if n % 3 else f"The pump of house {n}." for n in range(30)])
    vector = str((await indexed.registry.built_in.embed(["pump house"], Lane.QUERY)).tolist()[0])
    async with indexed.db.read() as session:
        words = await WordIndex(session, indexed.workspace_id).read(parse_query('"pump house" -bridge'))
        repository = PassageRepository(session, indexed.workspace_id, SearchFilters())
        exact = await repository.nearest(QueryVector("embeddings_1", vector), words, exact=True)
        by_index = await repository.nearest(QueryVector("embeddings_1", vector), words, exact=False)
    assert len(exact) == 20
    assert exact.keys() == by_index.keys()


async def test_a_kind_with_a_nul_in_its_name_finds_nothing(indexed: Indexed) -> None:
    await add(indexed, "Pumps, 4711")
    assert await found(indexed, content_types=["text/plain\0"]) == set()
    assert await found(indexed, languages=["\0"]) == set()
