"""What can be done to documents: retry, cancel, rename, one action on many."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.ingest import BulkAction, DocumentStatus
from docutalk_common.db import Cause
from docutalk_gateway.adapters import repository
from docutalk_gateway.domain import Role


async def upload(person: Any, name: str, data: bytes) -> UUID:
    """Uploads one file; its document."""
    return UUID((await person.upload((name, data))).json()["documents"][0]["id"])


async def test_failed_document_is_retried_once_for_each_key(ingest_service: Any, person: Any) -> None:
    document_id = uuid7()
    ingest_service.put(person.workspace, document_id, status=DocumentStatus.FAILED, code="encrypted", reason="It is encrypted.")
    url, key = f"{person.documents}/{document_id}/retry", {"Idempotency-Key": "retry-1"}
    answer = await person.http.post(url, json={"password": "secret"}, headers=key)
    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["attempt"], answer.json()["reason"]) == ("queued", 2, None)
    assert "secret" not in answer.text
    assert [(r.password, r.retried_by) for r in ingest_service.asked] == [("secret", person.id)]
    again = await person.http.post(url, json={"password": "secret"}, headers=key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    assert len(ingest_service.asked) == 1


@pytest.mark.parametrize(("action", "status"), [("retry", DocumentStatus.READY), ("cancel", DocumentStatus.FAILED)])
async def test_action_that_the_state_forbids_is_a_conflict_that_says_why(
    ingest_service: Any, person: Any, action: str, status: DocumentStatus
) -> None:
    document_id = uuid7()
    ingest_service.put(person.workspace, document_id, status=status)
    answer = await person.http.post(f"{person.documents}/{document_id}/{action}")
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:docutalk:problem:conflict"
    assert answer.json()["detail"].startswith(f"a.txt is {status.value}")


async def test_document_is_cancelled(ingest_service: Any, person: Any) -> None:
    document_id = uuid7()
    ingest_service.put(person.workspace, document_id, status=DocumentStatus.EXTRACTING)
    answer = await person.http.post(f"{person.documents}/{document_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    assert (await person.http.post(f"{person.documents}/{uuid4()}/cancel")).status_code == 404


@pytest.mark.parametrize("action", ["cancel", "retry", "rename"])
async def test_upload_is_waited_for_until_ingest_knows_it(ingest_service: Any, person: Any, action: str) -> None:
    document_id = await upload(person, "a.txt", action.encode())
    url = f"{person.documents}/{document_id}"
    call = person.http.patch(url, json={"filename": "b.txt"}) if action == "rename" else person.http.post(f"{url}/{action}")
    asking = asyncio.create_task(call)
    done, _ = await asyncio.wait({asking}, timeout=0.3)
    assert not done, "it is not refused at once"
    ingest_service.put(person.workspace, document_id, status=DocumentStatus.FAILED if action == "retry" else "queued")
    assert (await asking).status_code == (200 if action == "rename" else 202)


async def test_upload_that_ingest_does_not_take_up_cannot_be_cancelled_yet(ingest_service: Any, person: Any) -> None:
    document_id = await upload(person, "a.txt", b"not yet")
    answer = await person.http.post(f"{person.documents}/{document_id}/cancel")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:docutalk:problem:document_being_accepted")
    assert "retry-after" in answer.headers


async def test_new_name_is_shown_everywhere(ingest_service: Any, person: Any) -> None:
    document_id = await upload(person, "a.txt", b"rename me")
    ingest_service.put(person.workspace, document_id)
    url = f"{person.documents}/{document_id}"
    answer = await person.http.patch(url, json={"filename": " ../plans/Pläne\u202e.txt "})
    assert (answer.status_code, answer.json()["filename"]) == (200, "Pläne.txt")
    content = await person.http.get(f"{url}/content")
    assert content.headers["content-disposition"].endswith("''Pl%C3%A4ne.txt")
    assert (await person.upload(("a.txt", b"rename me"))).json()["documents"][0]["filename"] == "Pläne.txt"
    for wrong in ({"filename": "  "}, {"filename": "x" * 256}, {}, {"filename": "a", "size": 1}):
        assert (await person.http.patch(url, json=wrong)).status_code == 422


async def test_bulk_delete_frees_the_bytes_and_tells_what_was_refused(ingest_service: Any, person: Any) -> None:
    kept, pending, gone = await upload(person, "a.txt", b"kept"), await upload(person, "b.txt", b"pending"), uuid7()
    deleted = await upload(person, "c.txt", b"deleted")
    for document_id in (kept, deleted):
        ingest_service.put(person.workspace, document_id)
    chosen = [str(i) for i in (deleted, pending, gone)]
    answer = await person.http.post(f"{person.documents}/bulk", json={"action": "delete", "document_ids": chosen})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["document_ids"], body["remaining"]) == ([str(deleted)], 3)
    assert {item["document_id"]: item["code"] for item in body["refused"]} == {
        str(pending): "document_being_accepted",
        str(gone): "not_found",
    }
    assert await upload(person, "c.txt", b"deleted") != deleted
    assert await upload(person, "a.txt", b"kept") == kept


async def test_bulk_retry_by_filter_asks_with_the_filter(ingest_service: Any, person: Any) -> None:
    body = {"action": "retry", "status": "failed", "q": "report", "source_id": str(source := uuid7())}
    assert (await person.http.post(f"{person.documents}/bulk", json=body)).status_code == 200
    [asked] = ingest_service.asked
    assert (asked.action, asked.status, asked.q, asked.source_id) == (BulkAction.RETRY, "failed", "report", source)
    assert asked.changed_by == person.id


@pytest.mark.parametrize(
    "body",
    [
        {"action": "delete"},
        {"action": "delete", "document_ids": []},
        {"action": "delete", "document_ids": [str(uuid4())], "status": "failed"},
        {"action": "burn", "status": "failed"},
        {"action": "retry", "document_ids": [str(uuid4())] * 501},
    ],
)
async def test_bulk_action_on_everything_or_nothing_is_refused(ingest_service: Any, person: Any, body: dict[str, Any]) -> None:
    assert (await person.http.post(f"{person.documents}/bulk", json=body)).status_code == 422
    assert ingest_service.asked == []


async def test_viewer_may_change_nothing(gateway: Any, ingest_service: Any, person: Any) -> None:
    viewer = await gateway.person()
    async with gateway.db.transaction(Cause.new()) as tx:
        await repository.add_member(tx.session, person.workspace, viewer.id, Role.VIEWER)
    document_id = uuid7()
    ingest_service.put(person.workspace, document_id, status=DocumentStatus.FAILED)
    url = f"{person.documents}/{document_id}"
    answers = [
        await viewer.http.post(f"{url}/retry"),
        await viewer.http.post(f"{url}/cancel"),
        await viewer.http.patch(url, json={"filename": "b"}),
        await viewer.http.post(f"{url}/versions", files=[("file", ("a.txt", b"x"))]),
        await viewer.http.post(f"{person.documents}/bulk", json={"action": "retry", "status": "failed"}),
        await viewer.http.post(
            f"/api/v1/workspaces/{person.workspace}/sources", json={"kind": "text", "name": "n", "config": {}}
        ),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert (await viewer.http.get(f"{url}/versions")).status_code == 200
