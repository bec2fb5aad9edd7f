"""Sources over HTTP: what is asked of ingest, and how its answers look."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from docutalk_common.contracts.ingest import SourceKind

FEED = {
    "kind": "feed",
    "name": "News",
    "config": {"url": "https://example.com/feed"},
    "schedule": {"every_seconds": 3600},
}


def url_of(person: Any, *parts: str) -> str:
    """A path below the person's sources."""
    return "/".join([f"/api/v1/workspaces/{person.workspace}/sources", *parts])


async def added(person: Any, **changes: Any) -> dict[str, Any]:
    """Adds a source."""
    answer = await person.http.post(url_of(person), json=FEED | changes)
    assert answer.status_code == 201, answer.text
    source: dict[str, Any] = answer.json()
    return source


async def test_source_is_added_once_for_each_key_and_shown(ingest_service: Any, person: Any) -> None:
    key = {"Idempotency-Key": "source-1"}
    answer = await person.http.post(url_of(person), json=FEED, headers=key)
    assert answer.status_code == 201
    source = answer.json()
    assert answer.headers["location"] == url_of(person, source["id"])
    assert {name: source[name] for name in ("kind", "name", "config", "paused", "document_count")} == {
        **{"kind": "feed", "name": "News", "config": FEED["config"], "paused": False, "document_count": 0},
    }
    assert source["schedule"] == {"cron": None, "every_seconds": 3600, "timezone": "UTC"}
    assert source["last_run"]["status"] == "queued"
    assert (await person.http.post(url_of(person), json=FEED, headers=key)).json() == source
    [asked] = ingest_service.asked
    assert (asked.kind, asked.created_by) == (SourceKind.FEED, person.id)
    assert (await person.http.get(url_of(person, source["id"]))).json() == source
    listing = (await person.http.get(url_of(person))).json()
    assert (listing["total"], [item["id"] for item in listing["items"]]) == (1, [source["id"]])


async def test_source_is_changed_paused_and_resumed(ingest_service: Any, person: Any) -> None:
    url = url_of(person, (await added(person))["id"])
    changed = (await person.http.patch(url, json={"name": "Other news", "schedule": None})).json()
    assert (changed["name"], changed["schedule"], changed["config"]) == ("Other news", None, FEED["config"])
    assert (await person.http.post(f"{url}/pause")).json()["paused"] is True
    conflict = await person.http.post(f"{url}/run")
    assert (conflict.status_code, conflict.json()["detail"]) == (409, "A run of this source is going on.")
    assert (await person.http.post(f"{url}/resume")).json()["paused"] is False
    run = await person.http.post(f"{url}/run")
    assert (run.status_code, run.json()["status"], run.json()["trigger"]) == (202, "queued", "manual")
    assert [item["status"] for item in (await person.http.get(f"{url}/runs")).json()["items"]] == ["queued"]


@pytest.mark.parametrize("with_documents", [True, False])
async def test_source_is_deleted_with_its_documents_only_if_asked_for(
    ingest_service: Any, person: Any, with_documents: bool
) -> None:
    url = url_of(person, (await added(person))["id"])
    params = {"with_documents": "true"} if with_documents else {}
    assert (await person.http.delete(url, params=params)).status_code == 204
    assert ingest_service.asked[-1].with_documents is with_documents
    assert (await person.http.get(url)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        FEED | {"config": {}},
        FEED | {"kind": "telegram"},
        FEED | {"name": " "},
        FEED | {"schedule": {"every_seconds": 59}},
        FEED | {"schedule": {"every_seconds": 60, "cron": "* * * * *"}},
        FEED | {"schedule": {}},
        FEED | {"config": {"urls": ["https://example.com/\x00"]}},
        FEED | {"config": {"nested": {"half \ud800": 1}}},
    ],
)
async def test_source_that_makes_no_sense_is_refused(ingest_service: Any, person: Any, body: dict[str, Any]) -> None:
    import json

    headers = {"Content-Type": "application/json"}
    answer = await person.http.post(url_of(person), content=json.dumps(body), headers=headers)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_sources_of_others_are_not_found(gateway: Any, ingest_service: Any, person: Any) -> None:
    source = await added(person)
    other = await gateway.person()
    assert (await other.http.get(url_of(person, source["id"]))).status_code == 404
    assert (await other.http.get(url_of(other, source["id"]))).status_code == 404
    assert (await other.http.get(url_of(other, str(uuid4()), "runs"))).status_code == 404
    assert (await other.http.get(url_of(other))).json()["total"] == 0


async def test_documents_are_listed_by_source_and_type(ingest_service: Any, person: Any) -> None:
    from docutalk_common.contracts.envelope import uuid7

    source = uuid7()
    ingest_service.put(person.workspace, uuid7(), filename="page.html", content_type="text/html", source_id=source)
    ingest_service.put(person.workspace, uuid7(), filename="a.pdf", content_type="application/pdf")
    await person.upload(("pending.html", b"<!doctype html><p>hello"))

    async def names(**params: Any) -> list[str]:
        return [item["filename"] for item in (await person.http.get(person.documents, params=params)).json()["items"]]

    assert await names(source_id=str(source)) == ["page.html"]
    assert await names(content_type="application/pdf") == ["a.pdf"]
    assert await names(type="text/html") == ["pending.html", "page.html"]
