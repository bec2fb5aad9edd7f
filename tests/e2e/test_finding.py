"""Finding things over HTTP: phrases, exclusions, filters, pages, similar documents, places."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from docutalk_common.testing.pdf import make_pdf
from docutalk_local.testing.system import Person, System

STONE = b"# Stone\n\nThe north quay of the harbour was rebuilt in stone by masons from Hamburg.\n"
WOOD = b"The quay in the north of the harbour was rebuilt in wood. The masons had left.\n"
WINE = "The vineyards near Bordeaux were replanted with Merlot, because the old vines of Cabernet had frozen in spring."
FRENCH_GROWERS = (
    b"Around Bordeaux growers replanted their vineyards: spring frost had killed the old Cabernet vines, and Merlot took over.\n"
)
FRANCE = {"west": -5, "south": 42, "east": 8, "north": 51}


@pytest.fixture(scope="module")
async def reader(shared_system: System) -> Person:
    """Somebody with four small documents."""
    person = await shared_system.register("finder@example.com")
    files = [("stone.md", STONE), ("wood.txt", WOOD), ("wine.pdf", make_pdf(["Preface", WINE])), ("growers.txt", FRENCH_GROWERS)]
    accepted = await person.upload(files)
    documents = await person.until_final([document["id"] for document in accepted], seconds=60)
    assert {document["status"] for document in documents.values()} == {"ready"}
    return person


async def names(person: Person, query: str, **body: Any) -> list[str]:
    """The files of the results, best first, each once."""
    return list(dict.fromkeys(result["filename"] for result in await person.search(query, **body)))


async def document_id(person: Person, filename: str) -> str:
    """The id of a file's document."""
    [found] = (await person.call("GET", "/documents", params={"q": filename}))["items"]
    return str(found["id"])


async def test_quoted_words_stand_as_they_are_and_excluded_ones_nowhere(reader: Person) -> None:
    assert set((await names(reader, "harbour quay rebuilt"))[:2]) == {"stone.md", "wood.txt"}
    for mode in ("hybrid", "semantic", "keyword"):
        assert await names(reader, '"North quay" rebuilt', mode=mode) == ["stone.md"]
        assert "wood.txt" not in await names(reader, "harbour quay -wood", mode=mode)
        assert "stone.md" not in await names(reader, 'harbour quay -"masons from Hamburg"', mode=mode)
    [first] = await reader.search('"north quay"', mode="keyword")
    marked = [first["text"][item["start"] : item["end"]].lower() for item in first["highlights"]]
    assert "north" in " ".join(marked)


async def test_filters_by_type_and_by_date_narrow_what_is_found(reader: Person) -> None:
    assert await names(reader, "harbour quay", filters={"content_types": ["text/markdown"]}) == ["stone.md"]
    moment = datetime.now(UTC).isoformat()
    accepted = await reader.upload([("late.txt", b"The harbour got a second quay later.\n")])
    await reader.until_final([accepted[0]["id"]], seconds=60)
    assert await names(reader, "harbour quay", filters={"created_from": moment}) == ["late.txt"]
    earlier = await names(reader, "harbour quay", filters={"created_before": moment, "content_types": ["text/plain"]})
    assert earlier[0] == "wood.txt"
    assert "late.txt" not in earlier


async def test_pages_of_a_ranking_are_the_ranking(reader: Person) -> None:
    whole = await reader.call("POST", "/search", json={"query": "harbour vineyards", "limit": 100})
    assert whole["next"] is None
    ids = [result["chunk_id"] for result in whole["results"]]
    assert len(ids) >= 4
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = await reader.call("POST", "/search", json={"query": "harbour vineyards", "limit": 2, **after})
        found += [result["chunk_id"] for result in page["results"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert found == ids
    with pytest.raises(AssertionError, match=": 422 "):
        await reader.call("POST", "/search", json={"query": "another question", "limit": 2, **after})


async def test_document_that_says_the_like_is_found_with_the_passage_that_does(reader: Person) -> None:
    wine = await document_id(reader, "wine.pdf")
    found = await reader.call("GET", f"/documents/{wine}/similar", params={"limit": 2})
    first, second = found["items"]
    assert (first["filename"], first["passage"]["filename"]) == ("growers.txt", "growers.txt")
    assert first["score"] > second["score"]
    assert "Merlot" in first["text"]
    assert (first["like"]["document_id"], first["like"]["page"]) == (wine, 2)


async def test_places_are_found_in_a_box_and_narrow_a_search(reader: Person) -> None:
    listed = await reader.call("GET", "/places", params=FRANCE)
    [bordeaux] = [place for place in listed["items"] if place["name"] == "Bordeaux"]
    assert (bordeaux["country"], bordeaux["documents"], listed["total"]) == ("FR", 2, 1)
    assert {place["name"] for place in (await reader.call("GET", "/places"))["items"]} == {"Bordeaux", "Hamburg"}
    stone = await document_id(reader, "stone.md")
    assert [place["name"] for place in (await reader.call("GET", f"/documents/{stone}/places"))["items"]] == ["Hamburg"]
    assert set(await names(reader, "rebuilt or replanted", filters={"box": FRANCE})) == {"wine.pdf", "growers.txt"}


async def test_owner_decides_how_much_meaning_counts(reader: Person) -> None:
    usual = await reader.call("GET", "/search/settings")
    assert usual["is_default"]
    changed = await reader.call("PATCH", "/search/settings", json={"semantic_weight": 0})
    assert changed == {"semantic_weight": 0.0, "is_default": False}
    words = await reader.search("harbour", mode="hybrid", limit=1)
    assert words[0]["scores"]["keyword"] > 0
    assert await reader.call("PATCH", "/search/settings", json={"semantic_weight": None}) == usual
