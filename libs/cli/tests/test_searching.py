"""Search with its filters and pages, similar documents and places, as text, as JSON and as what the server is asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

DOCUMENT = "01890000-0000-7000-8000-000000000001"
OTHER = "01890000-0000-7000-8000-000000000002"


def _result(number: int, **changes: Any) -> dict[str, Any]:
    result = {
        "chunk_id": f"{number}",
        "chunk_ids": [f"{number}"],
        "document_id": DOCUMENT,
        "filename": "report.pdf",
        "page": number,
    }
    result |= {"start": 0, "end": 8, "text": f"needle {number}", "highlights": [{"start": 0, "end": 6}], "score": 0.9}
    return result | {"scores": {"semantic": 0.8, "keyword": None, "name": 0.25}, "duplicates": []} | changes


def _place(number: int) -> dict[str, Any]:
    return {"chunk_id": str(number), "document_id": OTHER, "filename": f"copy-{number}.pdf", "page": 1, "start": 0, "end": 3}


def _asked(server: Any, path: str) -> list[dict[str, Any]]:
    return [body for _, asked, body in server.requests if asked.endswith(path)]


def test_filters_are_sent_as_the_api_wants_them(shell: Any, server: Any) -> None:
    server.documents = {DOCUMENT: {"id": DOCUMENT, "filename": "report.pdf"}}
    server.sources = [{"id": OTHER, "name": "News"}]
    result = shell(
        *("search", "needle", "-d", "report.pdf", "--source", "News", "--type", "PDF", "--type", "text/x-odd", "--type", "mail"),
        *("--language", "DE", "--since", "2026-01-31T12:00+01:00", "--until", "2026-02-01T00:00Z", "--box", "-10,35.5,30,70"),
    )
    assert result.exit_code == 0, result.output
    assert _asked(server, "/search")[-1]["filters"] == {
        "document_ids": [DOCUMENT],
        "source_ids": [OTHER],
        "content_types": ["application/pdf", "text/x-odd", "message/rfc822"],
        "languages": ["de"],
        "created_from": "2026-01-31T12:00:00+01:00",
        "created_before": "2026-02-01T00:00:00+00:00",
        "box": {"west": -10.0, "south": 35.5, "east": 30.0, "north": 70.0},
    }


def test_days_begin_and_end_where_the_person_is_and_times_may_be_told_backwards(shell: Any, server: Any) -> None:
    shell("search", "needle", "--since", "2026-01-31", "--until", "2026-01-31")
    day = _asked(server, "/search")[-1]["filters"]
    begin, end = (datetime.fromisoformat(day[name]) for name in ("created_from", "created_before"))
    assert begin.tzinfo is not None
    assert end - begin == timedelta(days=1)
    shell("search", "needle", "--since", "2w")
    back = datetime.fromisoformat(_asked(server, "/search")[-1]["filters"]["created_from"])
    assert timedelta(0) <= datetime.now(UTC) - timedelta(weeks=2) - back < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--type", "word", "nor a media type like text/html"),
        ("--language", "german", "no code of two letters"),
        ("--since", "yesterday", "how long ago: 36h, 7d, 2w"),
        ("--until", "2026-02-30", "is no time"),
        ("--since", "0001-01-01T00:00+14:00x", "is no time"),
        ("--box", "1,2,3", "west,south,east,north"),
        ("--box", "0,70,30,35", "south below north"),
        ("--box", "nan,0,1,1", "is no box"),
        ("--limit", "101", "100"),
    ],
)
def test_filter_that_makes_no_sense_is_a_wrong_command_line(shell: Any, server: Any, option: str, value: str, said: str) -> None:
    result = shell("search", "needle", option, value)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert server.requests == []


def test_all_follows_the_ranking_to_its_end_and_counts_on(shell: Any, server: Any) -> None:
    server.search = {"results": [_result(1), _result(2)], "took_ms": 10.0, "model": "minilm", "next": "0"}
    server.more = [
        {"results": [_result(3)], "took_ms": 5.0, "model": "minilm", "next": "1"},
        {"results": [_result(4)], "took_ms": 5.0, "model": "minilm", "next": None},
    ]
    first = shell("search", "needle")
    assert first.stdout.splitlines()[0] == "1. report.pdf, p. 1  0.90"
    assert "2 found in 10 ms; there is more: --pages 2, or --all" in first.stderr
    whole = shell("search", "needle", "--all")
    assert [line for line in whole.stdout.splitlines() if line[:1].isdigit()][-1] == "4. report.pdf, p. 4  0.90"
    assert "4 found in 20 ms\n" in whole.stderr
    assert [body["limit"] for body in _asked(server, "/search")] == [10, 100, 100, 100]
    two = json.loads(shell("search", "needle", "--pages", "2", "--limit", "2", "--json").stdout)
    assert ([result["page"] for result in two["results"]], two["next"], two["took_ms"]) == ([1, 2, 3], "1", 15.0)
    assert _asked(server, "/search")[-1] == {"query": "needle", "limit": 2, "mode": "hybrid", "filters": {}, "after": "0"}


def test_parts_of_the_score_and_other_places_of_the_same_words_are_told(shell: Any, server: Any) -> None:
    duplicates = [_place(1), _place(1), *(_place(number) for number in range(2, 6))]
    server.search = {"results": [_result(1, duplicates=duplicates)], "took_ms": 1.0, "model": None, "next": None}
    result = shell("search", "needle", "--scores")
    assert result.stdout.splitlines() == [
        "1. report.pdf, p. 1  0.90  (meaning 0.80, name 0.25)",
        "needle 1",
        "also in: copy-1.pdf, p. 1; copy-2.pdf, p. 1; copy-3.pdf, p. 1 and 2 more",
    ]
    assert result.stderr.endswith("The model does not answer at the moment: only words were looked for.\n")
    assert "does not answer" not in shell("search", "needle", "--mode", "keyword").stderr


def test_weight_of_meaning_is_shown_changed_and_taken_back(shell: Any, server: Any) -> None:
    assert shell("search-settings").stdout == "Meaning counts 75%, words 25%, as usual.\n"
    assert shell("search-settings", "--semantic-weight", ".6").stdout == "Meaning counts 60%, words 40%.\n"
    assert json.loads(shell("search-settings", "--default", "--json").stdout) == {"semantic_weight": 0.75, "is_default": True}
    assert [body for body in _asked(server, "/settings") if body] == [{"semantic_weight": 0.6}, {"semantic_weight": None}]
    assert shell("search-settings", "--semantic-weight", "2").exit_code == 2
    assert shell("search-settings", "--semantic-weight", "1", "--default").exit_code == 2


def test_similar_documents_are_told_with_what_they_have_in_common(shell: Any, server: Any) -> None:
    server.documents = {DOCUMENT: {"id": DOCUMENT, "filename": "report.pdf"}}
    item = {"document_id": OTHER, "filename": "sister.pdf", "score": 0.87, "text": "The same\nin green."}
    server.similar = {"items": [item | {"passage": _place(1) | {"page": 4}, "like": _place(2) | {"page": 2}}], "took_ms": 1.0}
    result = shell("similar", "report.pdf", "-n", "3")
    assert result.stdout.splitlines() == ["1. sister.pdf  0.87", "p. 4, like p. 2 of report.pdf:", "The same in green."]
    assert json.loads(shell("similar", "report.pdf", "--json").stdout) == server.similar
    server.similar = {"items": [], "took_ms": 1.0}
    assert shell("similar", "report.pdf").stderr == "Nothing here is like report.pdf.\n"
    assert shell("similar", "none.pdf").exit_code == 1


def test_places_are_a_table_of_the_workspace_or_of_one_document(shell: Any, server: Any) -> None:
    berlin = {"id": 1, "name": "Berlin", "kind": "city", "country": "DE", "latitude": 52.52437, "longitude": 13.41053}
    server.places = [berlin | {"population": 3_426_354, "documents": 2, "mentions": 1_007}]
    assert shell("places", "--box", "5,45,15,55").stdout.splitlines() == [
        "place\tcountry\tkind\tmentions\tdocuments\tlatitude\tlongitude",
        "Berlin\tDE\tcity\t1,007\t2\t52.52\t13.41",
    ]
    [query] = [body for _, path, body in server.requests if path.endswith("/places") and body]
    assert query == {"west": "5.0", "south": "45.0", "east": "15.0", "north": "55.0", "page": "1", "per_page": "100"}
    server.documents = {DOCUMENT: {"id": DOCUMENT, "filename": "report.pdf"}}
    assert json.loads(shell("places", "report.pdf", "--json").stdout) == {"places": server.places}
    assert server.requests[-1][1].endswith(f"/documents/{DOCUMENT}/places")
