"""Documents: those that ingest knows, and those that it does not know yet."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.ingest import DocumentDeleted, DocumentMetadata, DocumentStatus
from docutalk_common.process import wait_until
from docutalk_gateway.adapters import repository


async def upload(person: Any, name: str, data: bytes) -> UUID:
    """Uploads one file; its document."""
    answer = await person.upload((name, data))
    return UUID(answer.json()["documents"][0]["id"])


async def test_document_is_shown_as_ingest_tells_it(ingest_service: Any, person: Any) -> None:
    document_id = await upload(person, "a.txt", b"a")
    ingest_service.put(
        person.workspace,
        document_id,
        status=DocumentStatus.EMBEDDING,
        page_count=4,
        pages_done=4,
        chunk_count=10,
        chunks_done=5,
        eta_seconds=2.3,
        metadata=DocumentMetadata(title="A title", language="en"),
    )
    shown = (await person.http.get(f"{person.documents}/{document_id}")).json()
    assert set(shown) == {
        *("id", "filename", "content_type", "size", "sha256", "status", "code", "reason", "page_count", "chunk_count"),
        *("progress", "topics", "version", "served_version", "attempt", "metadata", "source_id", "origin"),
        *("created_at", "updated_at"),
    }
    assert shown["status"] == "embedding"
    assert shown["progress"] == {
        **{"pages_done": 4, "pages_total": 4, "chunks_done": 5, "chunks_total": 10, "percent": 75},
        **{"queue_position": None, "eta_seconds": 3},
    }
    assert shown["metadata"] == {
        **{"title": "A title", "author": None, "created_at": None, "modified_at": None, "language": "en"},
    }
    assert shown["created_at"].endswith("Z")


async def test_failed_document_says_why(ingest_service: Any, person: Any) -> None:
    document_id = await upload(person, "a.pdf", b"a")
    ingest_service.put(person.workspace, document_id, status=DocumentStatus.FAILED, code="encrypted", reason="It is encrypted.")
    shown = (await person.http.get(f"{person.documents}/{document_id}")).json()
    assert (shown["status"], shown["code"], shown["reason"]) == ("failed", "encrypted", "It is encrypted.")


async def test_document_that_ingest_does_not_know_yet_is_queued_until_it_was_seen(
    gateway: Any, ingest_service: Any, person: Any
) -> None:
    document_id = await upload(person, "a.txt", b"b")
    url = f"{person.documents}/{document_id}"
    assert (await person.http.get(url)).json()["status"] == "queued"
    ingest_service.put(person.workspace, document_id)
    assert (await person.http.get(url)).json()["status"] == "ready"
    del ingest_service.documents[document_id]
    assert (await person.http.get(url)).status_code == 404, "ingest knew it and does not any more: it is deleted"


async def test_document_that_is_nowhere_is_not_found(ingest_service: Any, person: Any) -> None:
    answer = await person.http.get(f"{person.documents}/{uuid4()}")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "There is no such document."


async def test_list_while_ingest_is_down_is_refused_at_once(person: Any) -> None:
    answer = await person.http.get(person.documents)
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:docutalk:problem:unavailable"
    assert "retry-after" in answer.headers


@pytest.mark.parametrize("per_page", [1, 2, 3, 7, 20])
async def test_list_puts_uploads_that_ingest_does_not_know_first_across_pages(
    gateway: Any, ingest_service: Any, person: Any, per_page: int
) -> None:
    known = [uuid7() for _ in range(7)]
    for document_id in known:
        ingest_service.put(person.workspace, document_id)
    pending = [await upload(person, f"{i}.txt", f"pending {i}".encode()) for i in range(3)]
    expected = [str(i) for i in [*sorted(pending, reverse=True), *sorted(known, reverse=True)]]
    found: list[str] = []
    for page in range(1, 12):
        listing = (await person.http.get(person.documents, params={"page": page, "per_page": per_page})).json()
        assert (listing["total"], listing["page"], listing["per_page"]) == (10, page, per_page)
        if not listing["items"]:
            break
        found += [item["id"] for item in listing["items"]]
    assert found == expected


async def test_list_filters_also_what_ingest_does_not_know(ingest_service: Any, person: Any) -> None:
    await upload(person, "Quarterly report.txt", b"1")
    await upload(person, "notes.txt", b"2")
    ingest_service.put(person.workspace, uuid7(), filename="old report.pdf")

    async def names(**params: str) -> list[str]:
        return [item["filename"] for item in (await person.http.get(person.documents, params=params)).json()["items"]]

    assert await names(q="REPORT") == ["Quarterly report.txt", "old report.pdf"]
    assert await names(status="ready") == ["old report.pdf"]
    assert await names(status="queued") == ["notes.txt", "Quarterly report.txt"]
    assert (await person.http.get(person.documents, params={"status": "lost"})).status_code == 422
    assert (await person.http.get(person.documents, params={"per_page": 1000})).status_code == 422


async def test_listed_uploads_are_seen_once_ingest_knows_them(gateway: Any, ingest_service: Any, person: Any) -> None:
    document_id = await upload(person, "a.txt", b"c")
    ingest_service.put(person.workspace, document_id)
    assert (await person.http.get(person.documents)).json()["total"] == 1
    async with gateway.db.read() as session:
        assert await repository.unseen_uploads(session, person.workspace, limit=10) == []


async def test_deleted_document_is_gone_and_its_bytes_may_come_again(ingest_service: Any, person: Any) -> None:
    document_id = await upload(person, "a.txt", b"again and again")
    ingest_service.put(person.workspace, document_id)
    assert (await person.http.delete(f"{person.documents}/{document_id}")).status_code == 204
    assert (await person.http.get(f"{person.documents}/{document_id}")).status_code == 404
    assert (await person.http.get(f"{person.documents}/{document_id}/content")).status_code == 404
    assert (await person.http.delete(f"{person.documents}/{document_id}")).status_code == 404
    assert await upload(person, "a.txt", b"again and again") != document_id


async def test_document_that_ingest_does_not_take_up_cannot_be_deleted_yet(ingest_service: Any, person: Any) -> None:
    document_id = await upload(person, "a.txt", b"d")
    answer = await person.http.delete(f"{person.documents}/{document_id}")
    assert answer.status_code == 409
    assert "retry-after" in answer.headers


async def test_delete_while_ingest_is_down_is_refused(person: Any) -> None:
    document_id = await upload(person, "a.txt", b"e")
    assert (await person.http.delete(f"{person.documents}/{document_id}")).status_code == 503


@pytest.mark.parametrize(
    ("header", "status", "start", "end"),
    [("bytes=0-9", 206, 0, 10), ("bytes=100-", 206, 100, None), ("bytes=-5", 206, -5, None), ("bytes=0-1,3-4", 200, 0, None)],
)
async def test_content_is_sent_in_part(person: Any, header: str, status: int, start: int, end: int | None) -> None:
    data = bytes(range(256)) * 4
    document_id = await upload(person, "a.bin", data + person.id.bytes)
    answer = await person.http.get(f"{person.documents}/{document_id}/content", headers={"Range": header})
    wanted = (data + person.id.bytes)[start:end]
    assert (answer.status_code, answer.content) == (status, wanted)
    assert int(answer.headers["content-length"]) == len(wanted)
    if status == 206:
        first = start if start >= 0 else len(data) + 16 + start
        assert answer.headers["content-range"] == f"bytes {first}-{first + len(wanted) - 1}/{len(data) + 16}"


async def test_content_is_a_download_that_no_browser_runs(person: Any) -> None:
    html = b"<!doctype html><script>alert(1)</script>"
    document_id = await upload(person, 'eine "Seite" ü.html', html)
    answer = await person.http.get(f"{person.documents}/{document_id}/content")
    assert answer.content == html
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''eine%20%22Seite%22%20%C3%BC.html"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["etag"] == f'"{hashlib.sha256(html).hexdigest()}"'
    again = await person.http.get(f"{person.documents}/{document_id}/content", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_content_range_outside_is_refused(person: Any) -> None:
    document_id = await upload(person, "a.bin", b"12345")
    answer = await person.http.get(f"{person.documents}/{document_id}/content", headers={"Range": "bytes=5-"})
    assert answer.status_code == 416


async def test_page_is_its_number_label_and_text(ingest_service: Any, person: Any) -> None:
    document_id = uuid7()
    ingest_service.put(person.workspace, document_id)
    ingest_service.pages[document_id, 2] = 'Größe "quoted"\n\x00'
    answer = await person.http.get(f"{person.documents}/{document_id}/pages/2")
    assert answer.json() == {"number": 2, "label": "2", "kind": "page", "version": 1, "text": 'Größe "quoted"\n\x00'}
    assert (await person.http.get(f"{person.documents}/{document_id}/pages/3")).status_code == 404
    assert (await person.http.get(f"{person.documents}/{document_id}/pages/0")).status_code == 422


@pytest.mark.parametrize("length", [199_999, 200_000, 200_001, 1_000_000])
async def test_page_larger_than_a_message_comes_whole(ingest_service: Any, person: Any, length: int) -> None:
    document_id = uuid7()
    text = ('a"ü😀\\' * (length // 5 + 1))[:length]
    ingest_service.put(person.workspace, document_id)
    ingest_service.pages[document_id, 1] = text
    answer = await person.http.get(f"{person.documents}/{document_id}/pages/1")
    assert answer.json() == {"number": 1, "label": "1", "kind": "page", "version": 1, "text": text}


async def test_bytes_of_a_document_deleted_elsewhere_may_come_again(stack: Any, gateway: Any, person: Any) -> None:
    """A document that is deleted without the gateway, for example because its workspace is."""
    import nats
    from docutalk_common.testing.conformance import Wire, envelope_for

    document_id = await upload(person, "a.txt", b"deleted elsewhere")
    wire = Wire(nc := await nats.connect(**stack.nats_operator), nc.jetstream())
    await wire.send(envelope_for(DocumentDeleted(workspace_id=person.workspace, document_id=document_id, object_keys=[])))

    async def freed() -> bool:
        async with gateway.db.read() as session:
            return await repository.upload_of(session, person.workspace, document_id) is None

    await wait_until(freed, seconds=10, what="the hash is free")
    await nc.close()
