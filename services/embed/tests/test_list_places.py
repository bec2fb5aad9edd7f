"""Places that documents name: counted over live versions, within a box, gone with their document."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts.embed import BoundingBox, ListPlaces, Places, SearchFilters
from docutalk_common.errors import NotFound
from docutalk_embed.domain.places import InvalidArea
from docutalk_embed.use_cases.list_places import list_places
from sqlalchemy import text

from .conftest import Indexed

EUROPE = BoundingBox(west=-11, south=35, east=30, north=70)
PACIFIC = BoundingBox(west=160, south=-50, east=-150, north=30)


async def listed(
    indexed: Indexed, *, document_id: UUID | None = None, box: BoundingBox | None = None, limit: int = 100, offset: int = 0
) -> Places:
    """What the service answers."""
    request = ListPlaces(workspace_id=indexed.workspace_id, document_id=document_id, box=box, limit=limit, offset=offset)
    return await list_places(request, indexed.db)


def counted(places: Places) -> list[tuple[str, int, int]]:
    """Name, documents and mentions of each."""
    return [(one.place.name, one.documents, one.mentions) for one in places.items]


async def drift(indexed: Indexed) -> list[object]:
    """What the counts that are kept say otherwise than the mentions of live versions."""
    counted = (
        "SELECT m.place_id, count(DISTINCT m.document_id) AS documents, sum(m.mentions) AS mentions FROM mentions m"
        " JOIN documents d ON d.document_id = m.document_id AND d.live_version = m.version"
        " WHERE m.workspace_id = :workspace_id GROUP BY m.place_id"
    )
    kept = "SELECT place_id, documents, mentions FROM named_places WHERE workspace_id = :workspace_id"
    async with indexed.db.read() as session:
        rows = await session.execute(
            text(f"(({counted}) EXCEPT ({kept})) UNION ALL (({kept}) EXCEPT ({counted}))"),
            {"workspace_id": indexed.workspace_id},
        )
        return list(rows)


async def test_places_are_counted_by_document_and_mention_most_mentioned_first(indexed: Indexed) -> None:
    await indexed.add(["Pumps were sold in Paris. From Paris they went to Berlin.", "Germany bought them."])
    await indexed.add(["An office in Berlin.", "Another office in Berlin, and one in Paris."])
    places = await listed(indexed)
    # Of equals the one with the smaller number.
    assert counted(places) == [("Berlin", 2, 3), ("Paris", 2, 3), ("Germany", 1, 1)]
    assert places.total == 3
    [paris] = [one.place for one in places.items if one.place.name == "Paris"]
    assert (paris.kind, paris.country) == ("city", "FR")
    assert (paris.latitude, paris.longitude) == pytest.approx((48.85, 2.35), abs=0.01)
    [germany] = [one.place for one in places.items if one.place.name == "Germany"]
    assert (germany.kind, germany.country) == ("country", "DE")


async def test_a_document_has_places_of_its_own(indexed: Indexed) -> None:
    document_id = await indexed.add(["Offices in Lisbon and in Porto."])
    await indexed.add(["Offices in Madrid."])
    assert {name for name, _, _ in counted(await listed(indexed, document_id=document_id))} == {"Lisbon", "Porto"}


async def test_a_document_that_is_unknown_or_of_another_workspace_is_not_found(indexed: Indexed) -> None:
    document_id = await indexed.add(["Offices in Lisbon."])
    indexed.workspace_id = uuid4()
    for unknown in (document_id, uuid4()):
        with pytest.raises(NotFound, match=str(unknown)):
            await listed(indexed, document_id=unknown)
    assert await listed(indexed) == Places(items=[], total=0)


async def test_only_the_live_version_counts_and_a_new_one_replaces_its_places(indexed: Indexed) -> None:
    document_id = await indexed.add(["Offices in Lisbon."])
    first, second = indexed.batches(["Offices in Madrid.", "Offices in Oslo."], document_id=document_id, version=2, size=1)
    await indexed.index(first)
    assert [name for name, _, _ in counted(await listed(indexed))] == ["Lisbon"]
    await indexed.index(second)
    assert {name for name, _, _ in counted(await listed(indexed))} == {"Madrid", "Oslo"}
    assert await drift(indexed) == []


async def test_counts_agree_with_the_mentions_however_documents_come_and_go(indexed: Indexed) -> None:
    kept = await indexed.add(["Offices in Lisbon, in Oslo and again in Oslo."])
    gone = await indexed.add(["Offices in Oslo and in Cairo."])
    # The same version, read again and cut otherwise.
    for work in indexed.batches(["Offices in Oslo.", "Offices in Lima."], document_id=kept, attempt=2, size=1):
        await indexed.index(work)
        assert await drift(indexed) == []
    await indexed.delete(gone)
    assert await drift(indexed) == []
    assert sorted(counted(await listed(indexed))) == [("Lima", 1, 1), ("Oslo", 1, 1)]
    half, _ = indexed.batches(["Offices in Rome.", "never comes"], document_id=kept, version=2, size=1)
    await indexed.index(half)
    await indexed.cancel(kept, version=2)
    assert await drift(indexed) == []
    assert sorted(counted(await listed(indexed))) == [("Lima", 1, 1), ("Oslo", 1, 1)]


async def test_documents_that_name_the_same_new_places_at_once_do_not_stop_each_other(indexed: Indexed) -> None:
    texts = ["Offices in Nouakchott, in Ouagadougou and in Antananarivo.", "Offices in Antananarivo and in Nouakchott."]
    await asyncio.gather(*(indexed.add(texts) for _ in range(6)))
    assert sorted(counted(await listed(indexed))) == [("Antananarivo", 6, 12), ("Nouakchott", 6, 12), ("Ouagadougou", 6, 6)]
    assert await drift(indexed) == []


async def test_a_search_within_a_box_finds_passages_of_documents_that_name_a_place_in_it(indexed: Indexed) -> None:
    european = await indexed.add(["Pumps are sold in Lisbon.", "Pumps last for years."])
    await indexed.add(["Pumps are sold in Tokyo."])
    pacific = await indexed.add(["Pumps are sold in Suva."])
    for box, document_id, passages in ((EUROPE, european, 2), (PACIFIC, pacific, 1)):
        found = await indexed.search("pumps", filters=SearchFilters(box=box))
        assert {passage.document_id for passage in found.passages} == {document_id}
        assert sum(len(passage.chunk_ids or [passage.chunk_id]) for passage in found.passages) == passages
    with pytest.raises(InvalidArea, match="change them round"):
        await indexed.search("pumps", filters=SearchFilters(box=BoundingBox(west=0, south=50, east=1, north=40)))


async def test_a_batch_that_comes_twice_counts_once(indexed: Indexed) -> None:
    [work] = indexed.batches(["Offices in Lisbon."])
    await indexed.index(work)
    await indexed.index(work)
    assert counted(await listed(indexed)) == [("Lisbon", 1, 1)]


async def test_of_a_deleted_document_no_mention_is_left(indexed: Indexed) -> None:
    document_id = await indexed.add(["Offices in Lisbon."])
    await indexed.delete(document_id)
    assert (await listed(indexed)).total == 0
    async with indexed.db.read() as session:
        left = await session.scalar(
            text("SELECT count(*) FROM mentions WHERE document_id = :document_id"), {"document_id": document_id}
        )
    assert left == 0


async def test_a_box_keeps_what_lies_in_it_also_across_the_180th_meridian_and_to_the_poles(indexed: Indexed) -> None:
    await indexed.add(["Offices in Lisbon, in Tokyo, in Suva, in Auckland and in Honolulu."])
    assert {name for name, _, _ in counted(await listed(indexed, box=EUROPE))} == {"Lisbon"}
    assert {name for name, _, _ in counted(await listed(indexed, box=PACIFIC))} == {"Suva", "Auckland", "Honolulu"}
    everything = BoundingBox(west=-180, south=-90, east=180, north=90)
    assert (await listed(indexed, box=everything)).total == 5
    northern = BoundingBox(west=-180, south=0, east=180, north=90)
    assert {name for name, _, _ in counted(await listed(indexed, box=northern))} == {"Lisbon", "Tokyo", "Honolulu"}
    assert (await listed(indexed, box=BoundingBox(west=0, south=0, east=0, north=0))) == Places(items=[], total=0)


async def test_pages_of_the_list_meet_and_the_total_stays(indexed: Indexed) -> None:
    await indexed.add(["Offices in Lisbon, in Tokyo, in Oslo, in Cairo and in Lima, and again in Lima."])
    whole = await listed(indexed)
    pages = [await listed(indexed, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [one for page in pages for one in page.items] == whole.items
    assert [page.total for page in pages] == [5, 5, 5, 5]
    assert whole.items[0].place.name == "Lima"


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ({"north": 91}, "north is 91"),
        ({"south": -90.5}, "south is -90.5"),
        ({"west": -181}, "west is -181"),
        ({"east": 200}, "east is 200"),
        ({"south": 50, "north": 40}, "change them round"),
        ({"west": float("nan")}, "no number"),
        ({"east": float("inf")}, "no number"),
    ],
)
async def test_a_box_that_is_none_is_refused_with_a_reason(indexed: Indexed, box: dict[str, float], reason: str) -> None:
    sides = {"west": 0.0, "south": 0.0, "east": 10.0, "north": 10.0} | box
    with pytest.raises(InvalidArea, match=reason):
        await listed(indexed, box=BoundingBox(**sides))


@pytest.mark.parametrize(("limit", "offset", "reason"), [(0, 0, "limit is 0"), (1001, 0, "limit is 1001"), (1, -1, "offset")])
async def test_a_stretch_of_the_list_that_is_none_is_refused(indexed: Indexed, limit: int, offset: int, reason: str) -> None:
    with pytest.raises(InvalidArea, match=reason):
        await listed(indexed, limit=limit, offset=offset)
