"""Search with filters and pages, comparing models, similar documents and places: what embed is asked, and what is told of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts.embed import (
    BoundingBox,
    Highlight,
    Passage,
    PassagePlace,
    PassageScores,
    Place,
    PlaceNamed,
    SearchFilters,
    SearchMode,
    SimilarDocument,
)
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause
from docutalk_gateway.adapters import repository
from docutalk_gateway.domain import Role

EUROPE = {"west": -10, "south": 35.5, "east": 30, "north": 70}


@pytest.fixture(scope="module")
async def person(gateway: Any) -> Any:
    """One for all tests here: what is found is the stand-in's, and hashing passwords takes its time."""
    return await gateway.person()


def url_of(person: Any, *rest: object) -> str:
    """A path below the person's workspace."""
    return "/".join([f"/api/v1/workspaces/{person.workspace}", *map(str, rest)])


def a_place(document: UUID) -> PassagePlace:
    """Where a passage stands."""
    return PassagePlace(chunk_id=uuid7(), document_id=document, filename="b.pdf", page=4, start=0, end=9)


def a_passage(**changes: Any) -> Passage:
    """A passage of two chunks, with a duplicate elsewhere."""
    ids = [uuid7(), uuid7()]
    given: dict[str, Any] = {
        "chunk_id": ids[1],
        "chunk_ids": ids,
        "document_id": uuid7(),
        "version": 2,
        "filename": "a.pdf",
        "page": 2,
        "start": 10,
        "end": 15,
        "text": "words",
        "highlights": [Highlight(start=0, end=5)],
        "score": 0.9,
        "scores": PassageScores(semantic=0.8, name=0.5),
        "duplicates": [a_place(uuid7())],
    }
    return Passage(**{**given, **changes})


async def viewer_of(gateway: Any, person: Any) -> Any:
    """Somebody who may only read in the person's workspace."""
    viewer = await gateway.person()
    async with gateway.db.transaction(Cause.new()) as tx:
        await repository.add_member(tx.session, person.workspace, viewer.id, Role.VIEWER)
    return viewer


async def test_search_maps_passages_to_results_with_their_parts(embed_service: Any, person: Any) -> None:
    passage = a_passage()
    embed_service.passages, embed_service.next = [passage], "the-rest"
    answer = await person.http.post(url_of(person, "search"), json={"query": " words ", "limit": 5, "mode": "keyword"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["took_ms"] > 0
    assert (found["model"], found["next"]) == ("minilm", "the-rest")
    [duplicate] = passage.duplicates
    assert found["results"] == [
        {
            "chunk_id": str(passage.chunk_id),
            "chunk_ids": [str(chunk_id) for chunk_id in passage.chunk_ids],
            "document_id": str(passage.document_id),
            "version": 2,
            "filename": "a.pdf",
            "page": 2,
            "start": 10,
            "end": 15,
            "text": "words",
            "highlights": [{"start": 0, "end": 5}],
            "score": 0.9,
            "scores": {"semantic": 0.8, "keyword": None, "name": 0.5},
            "duplicates": [
                {
                    "chunk_id": str(duplicate.chunk_id),
                    "document_id": str(duplicate.document_id),
                    "filename": "b.pdf",
                    "page": 4,
                    "start": 0,
                    "end": 9,
                }
            ],
        }
    ]
    [asked] = embed_service.asked
    assert (asked.query, asked.limit, asked.mode, asked.workspace_id) == ("words", 5, SearchMode.KEYWORD, person.workspace)
    assert (asked.filters, asked.after, asked.merge) == (SearchFilters(), None, True)


async def test_filters_and_the_place_in_the_ranking_reach_embed(embed_service: Any, person: Any) -> None:
    document, source = uuid4(), uuid4()
    body = {
        "query": "a",
        "after": "the-rest",
        "merge": False,
        "filters": {
            "document_ids": [str(document)],
            "source_ids": [str(source)],
            "content_types": ["application/pdf"],
            "languages": ["DE", "en"],
            "created_from": "2026-01-01T00:00:00+01:00",
            "created_before": "2026-02-01T00:00:00Z",
            "box": EUROPE | {"west": 170, "east": -170},
        },
    }
    answer = await person.http.post(url_of(person, "search"), json=body)
    assert (answer.status_code, answer.json()["next"]) == (200, None)
    [asked] = embed_service.asked
    assert (asked.after, asked.merge) == ("the-rest", False)
    assert asked.filters == SearchFilters(
        document_ids=[document],
        source_ids=[source],
        content_types=["application/pdf"],
        languages=["de", "en"],
        created_from=datetime(2025, 12, 31, 23, tzinfo=UTC),
        created_before=datetime(2026, 2, 1, tzinfo=UTC),
        box=BoundingBox(west=170, south=35.5, east=-170, north=70),
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"query": " "}, "query"),
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"mode": "magic"}, "mode"),
        ({"top": 3}, "top"),
        ({"after": ""}, "after"),
        ({"filters": {"languages": ["german"]}}, "languages"),
        ({"filters": {"topic": "x"}}, "topic"),
        ({"filters": {"created_from": "2026-01-01T00:00:00"}}, "timezone"),
        ({"filters": {"created_from": "2026-01-01"}}, "timezone"),
        ({"filters": {"created_from": "0001-01-01T00:00:00+14:00"}}, "out of range"),
        (
            {"filters": {"created_from": "2026-01-01T00:00:00Z", "created_before": "2026-01-01T01:00:00+01:00"}},
            "created_from must be before created_before",
        ),
        ({"filters": {"box": {"west": 0, "south": 0, "east": 1}}}, "north"),
        ({"filters": {"box": EUROPE | {"west": -181}}}, "west"),
        ({"filters": {"box": EUROPE | {"north": 90.5}}}, "north"),
        ({"filters": {"box": EUROPE | {"south": 71}}}, "south must not be greater than north"),
    ],
)
async def test_search_that_makes_no_sense_is_refused_with_what_is_wrong(person: Any, changes: dict[str, Any], said: str) -> None:
    answer = await person.http.post(url_of(person, "search"), json={"query": "a"} | changes)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


async def test_cursor_of_another_search_is_the_callers_error(embed_service: Any, person: Any) -> None:
    embed_service.error = ("invalid", "This `after` belongs to another search.")
    answer = await person.http.post(url_of(person, "search"), json={"query": "a", "after": "x"})
    assert (answer.status_code, answer.json()["detail"]) == (422, "This `after` belongs to another search.")


async def test_search_by_words_alone_names_no_model(embed_service: Any, person: Any) -> None:
    embed_service.model = ""
    assert (await person.http.post(url_of(person, "search"), json={"query": "a"})).json()["model"] is None


async def test_search_while_embed_is_down_is_refused(person: Any) -> None:
    answer = await person.http.post(url_of(person, "search"), json={"query": "a"})
    assert answer.status_code == 503


async def test_strangers_find_nothing_and_nowhere(gateway: Any, embed_service: Any, person: Any) -> None:
    other = await gateway.person()
    assert (await other.http.post(url_of(person, "search"), json={"query": "a"})).status_code == 404
    assert (await other.http.post(url_of(person, "search", "compare"), json={"queries": ["a"]})).status_code == 404
    for path in ("search/settings", "places", f"documents/{uuid4()}/similar", f"documents/{uuid4()}/places"):
        assert (await other.http.get(url_of(person, path))).status_code == 404
    assert embed_service.asked == []


async def test_weight_of_meaning_is_changed_by_owners_and_read_by_all(gateway: Any, embed_service: Any, person: Any) -> None:
    path = url_of(person, "search", "settings")
    assert (await person.http.get(path)).json() == {"semantic_weight": 0.7, "is_default": True}
    changed = await person.http.patch(path, json={"semantic_weight": 0.25})
    assert (changed.status_code, changed.json()) == (200, {"semantic_weight": 0.25, "is_default": False})
    viewer = await viewer_of(gateway, person)
    assert (await viewer.http.get(path)).json()["semantic_weight"] == 0.25
    assert (await viewer.http.patch(path, json={"semantic_weight": 1})).status_code == 403
    for wrong in ({}, {"semantic_weight": 1.01}, {"semantic_weight": -0.1}, {"semantic_weight": 0.5, "keyword_weight": 0.5}):
        assert (await person.http.patch(path, json=wrong)).status_code == 422
    assert (await person.http.patch(path, json={"semantic_weight": None})).json() == {"semantic_weight": 0.7, "is_default": True}


async def test_comparison_shows_both_models_side_by_side(gateway: Any, embed_service: Any, person: Any) -> None:
    embed_service.passages = [a_passage()]
    viewer = await viewer_of(gateway, person)
    body = {"queries": ["first", " second "], "limit": 3, "filters": {"box": EUROPE}}
    answer = await viewer.http.post(url_of(person, "search", "compare"), json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["from_model"], found["to_model"], found["coverage"]) == ("minilm", "better", 0.75)
    assert [query["query"] for query in found["queries"]] == ["first", "second"]
    one = found["queries"][0]
    assert [result["chunk_id"] for result in one["before"]] == [str(embed_service.passages[0].chunk_id)]
    assert (one["after"], one["overlap"], one["before_ms"], one["after_ms"]) == ([], 0.5, 1.0, 2.0)
    [asked] = embed_service.asked
    assert (asked.limit, asked.mode, asked.filters.box) == (3, SearchMode.SEMANTIC, BoundingBox(**EUROPE))


async def test_comparison_without_an_open_change_is_a_conflict(embed_service: Any, person: Any) -> None:
    embed_service.error = ("conflict", "No model is being changed.")
    answer = await person.http.post(url_of(person, "search", "compare"), json={"queries": ["a"]})
    assert (answer.status_code, answer.json()["detail"]) == (409, "No model is being changed.")


async def test_answer_that_no_message_holds_says_to_ask_for_less(embed_service: Any, person: Any) -> None:
    embed_service.error = ("too_large", "The answer is too large; ask for less.")
    answer = await person.http.post(url_of(person, "search", "compare"), json={"queries": ["a"]})
    assert (answer.status_code, answer.json()["detail"]) == (422, "The answer is too large; ask for less.")


@pytest.mark.parametrize("wrong", [{"queries": []}, {"queries": ["a"] * 21}, {"queries": [" "]}, {"limit": 21}, {"limit": 0}])
async def test_comparison_that_is_too_large_or_empty_is_refused(person: Any, wrong: dict[str, Any]) -> None:
    answer = await person.http.post(url_of(person, "search", "compare"), json={"queries": ["a"]} | wrong)
    assert answer.status_code == 422


async def test_similar_documents_come_with_what_they_have_in_common(embed_service: Any, person: Any) -> None:
    document, other = uuid7(), uuid7()
    place, like = a_place(other), a_place(document)
    alike = SimilarDocument(document_id=other, filename="b.pdf", score=0.8, passage=place, text="The same.", like=like)
    embed_service.similar = {document: [alike] * 3}
    answer = await person.http.get(url_of(person, "documents", document, "similar"), params={"limit": 2})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["took_ms"] > 0
    assert len(found["items"]) == 2
    assert found["items"][0] == alike.model_dump(mode="json")
    missing = await person.http.get(url_of(person, "documents", uuid7(), "similar"))
    assert (missing.status_code, missing.json()["detail"]) == (404, "This document has no passages yet.")
    assert (await person.http.get(url_of(person, "documents", document, "similar"), params={"limit": 101})).status_code == 422


async def test_places_are_listed_page_by_page_within_a_box(embed_service: Any, person: Any) -> None:
    place = Place(
        place_id=2950159, name="Berlin", kind="city", country="DE", latitude=52.52, longitude=13.41, population=3_426_354
    )
    embed_service.places = [PlaceNamed(place=place, documents=2, mentions=7)] * 3
    answer = await person.http.get(url_of(person, "places"), params={**EUROPE, "page": 2, "per_page": 2})
    assert answer.status_code == 200, answer.text
    berlin = {"id": 2950159, "name": "Berlin", "kind": "city", "country": "DE", "latitude": 52.52, "longitude": 13.41}
    berlin |= {"population": 3_426_354, "documents": 2, "mentions": 7}
    assert answer.json() == {"items": [berlin], "total": 3, "page": 2, "per_page": 2}
    document = uuid7()
    assert (await person.http.get(url_of(person, "documents", document, "places"))).json()["total"] == 3
    first, second = embed_service.asked
    assert (first.document_id, first.box, first.offset, first.limit) == (None, BoundingBox(**EUROPE), 2, 2)
    assert (second.document_id, second.box, second.offset, second.limit) == (document, None, 0, 20)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ({"west": 1}, "all of west, south, east and north"),
        (EUROPE | {"south": 80}, "exchange them"),
        (EUROPE | {"east": 181}, "east"),
        (EUROPE | {"north": "nan"}, "north"),
    ],
)
async def test_box_that_is_none_is_refused(person: Any, box: dict[str, Any], said: str) -> None:
    answer = await person.http.get(url_of(person, "places"), params=box)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
