"""Files come in: accepted for good, or nothing is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import DocumentStatus
from docutalk_common.db import Cause, Database
from docutalk_common.process import wait_until
from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import Upload
from docutalk_gateway.domain import Role
from docutalk_gateway.use_cases.accept_upload import UploadRequest
from sqlalchemy.exc import DBAPIError

from .conftest import somebody_waits_for


async def objects(gateway: Any, person: Any) -> list[str]:
    """The keys of a person's workspace."""
    keys: list[str] = await gateway.storage.keys(f"{person.workspace}/")
    return keys


async def test_upload_while_ingest_is_down_is_accepted_and_shown_as_queued(gateway: Any, person: Any) -> None:
    data = b"# Title\n\nSome words.\n" * 500
    answer = await person.upload(("notes.md", data))
    assert answer.status_code == 202
    [document] = answer.json()["documents"]
    assert document == {"id": document["id"], "filename": "notes.md", "status": "queued"}
    assert answer.headers["location"] == f"{person.documents}/{document['id']}"

    shown = (await person.http.get(answer.headers["location"])).json()
    assert shown["status"] == "queued"
    assert shown["size"] == len(data)
    assert shown["sha256"] == hashlib.sha256(data).hexdigest()
    assert shown["content_type"] == "text/markdown"
    assert shown["progress"] == {
        **{"pages_done": 0, "pages_total": None, "chunks_done": 0, "chunks_total": None, "percent": 0},
        **{"queue_position": None, "eta_seconds": None},
    }
    assert shown["topics"] == []

    [key] = await objects(gateway, person)
    parts = key.split("/")
    assert parts[:2] == [str(person.workspace), document["id"]]
    assert parts[2].endswith(".md")
    assert UUID(parts[2].removesuffix(".md")).version == 4


async def test_upload_is_an_event_in_the_log(gateway: Any, person: Any) -> None:
    answer = await person.upload(("notes.md", b"hello"))
    document_id = answer.json()["documents"][0]["id"]

    async def logged() -> bool:
        return bool((await person.http.get(f"{person.documents}/{document_id}/events")).json()["items"])

    await wait_until(logged, seconds=10, what="the upload is in the log")
    [event] = (await person.http.get(f"{person.documents}/{document_id}/events")).json()["items"]
    assert event["event"] == "document.uploaded"
    assert event["type"] == DocumentUploaded.type
    assert event["document_id"] == document_id
    assert event["actor"] == str(person.id)
    assert event["data"]["filename"] == "notes.md"
    assert "object_key" not in event["data"]


async def test_several_files_and_an_option_are_accepted_in_their_order(gateway: Any, person: Any) -> None:
    files: list[Any] = [("file", (f"{i}.txt", f"text {i}".encode(), "text/plain")) for i in range(4)]
    files.insert(2, ("auto_classify", (None, b"false")))
    answer = await person.http.post(person.documents, files=files)
    assert answer.status_code == 202
    assert [d["filename"] for d in answer.json()["documents"]] == ["0.txt", "1.txt", "2.txt", "3.txt"]
    assert "location" not in answer.headers
    document_id = answer.json()["documents"][0]["id"]

    async def logged() -> bool:
        return bool((await person.http.get(f"{person.documents}/{document_id}/events")).json()["items"])

    await wait_until(logged, seconds=10, what="the upload is in the log")
    [event] = (await person.http.get(f"{person.documents}/{document_id}/events")).json()["items"]
    assert event["data"]["auto_classify"] is False


async def test_bytes_that_lie_in_several_parts_of_the_object_store_come_back_whole(gateway_with: Any) -> None:
    async with gateway_with(max_upload_bytes=32 << 20) as gateway:
        person = await gateway.person()
        data = os.urandom(17 << 20)
        answer = await person.upload(("big.bin", data))
        assert answer.status_code == 202, answer.text
        content = await person.http.get(answer.headers["location"] + "/content")
        assert hashlib.sha256(content.content).digest() == hashlib.sha256(data).digest()


async def test_type_is_told_by_content_and_not_by_name(gateway: Any, person: Any) -> None:
    answer = await person.upload(("report.pdf", b"\xff\xd8\xff\xe0" + b"\x00" * 100), ("photo.jpg", b"%PDF-1.7\n1 0 obj\n"))
    shown = [await person.http.get(f"{person.documents}/{document['id']}") for document in answer.json()["documents"]]
    assert [item.json()["content_type"] for item in shown] == ["image/jpeg", "application/pdf"]


async def test_empty_file_is_accepted(gateway: Any, person: Any) -> None:
    answer = await person.upload(("empty.txt", b""))
    assert answer.status_code == 202
    content = await person.http.get(answer.headers["location"] + "/content")
    assert (content.status_code, content.content) == (200, b"")


async def test_name_is_cleaned(gateway: Any, person: Any) -> None:
    answer = await person.upload(("../../etc/pass\nwd", b"x"))
    assert answer.json()["documents"][0]["filename"] == "passwd"


async def test_file_over_the_limit_is_refused_and_nothing_of_the_request_stays(gateway: Any, person: Any) -> None:
    answer = await person.upload(("small.txt", b"fine"), ("large.bin", os.urandom((8 << 20) + 1)))
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:docutalk:problem:file_too_large"
    assert answer.headers["content-type"] == "application/problem+json"
    assert await objects(gateway, person) == []


async def test_file_of_just_the_limit_is_accepted(gateway: Any, person: Any) -> None:
    assert (await person.upload(("large.bin", os.urandom(8 << 20)))).status_code == 202


@pytest.mark.parametrize("seen", [False, True])
async def test_same_bytes_again_are_the_same_document(gateway: Any, ingest_service: Any, person: Any, seen: bool) -> None:
    first = (await person.upload(("a.txt", b"the same"))).json()["documents"][0]
    if seen:
        ingest_service.put(person.workspace, UUID(first["id"]), status=DocumentStatus.READY)
    again = await person.upload(("b.txt", b"the same"))
    assert again.status_code == 202
    assert again.json()["documents"] == [
        {"id": first["id"], "filename": "a.txt", "status": "ready" if seen else "queued", "duplicate_of": first["id"]}
    ]
    assert len(await objects(gateway, person)) == 1


async def test_same_bytes_twice_in_one_request_are_one_document(gateway: Any, person: Any) -> None:
    documents = (await person.upload(("a.txt", b"twice"), ("b.txt", b"twice"))).json()["documents"]
    assert documents[0]["id"] == documents[1]["id"]
    assert sum("duplicate_of" in d for d in documents) == 1
    assert len(await objects(gateway, person)) == 1


async def test_same_bytes_racing_are_one_document(gateway: Any, person: Any) -> None:
    files = [(f"{i}.txt", f"text {i}".encode()) for i in range(3)]
    answers = await asyncio.gather(*(person.upload(*(files if turn % 2 else files[::-1])) for turn in range(6)))
    assert {answer.status_code for answer in answers} == {202}
    documents = [d for answer in answers for d in answer.json()["documents"]]
    assert len({d["id"] for d in documents}) == 3
    assert sum("duplicate_of" not in d for d in documents) == 3
    assert len(await objects(gateway, person)) == 3


async def test_same_bytes_of_another_workspace_are_another_document(gateway: Any, person: Any) -> None:
    other = await gateway.person()
    mine = (await person.upload(("a.txt", b"shared text"))).json()["documents"][0]
    theirs = (await other.upload(("a.txt", b"shared text"))).json()["documents"][0]
    assert mine["id"] != theirs["id"]
    assert "duplicate_of" not in theirs


async def _send_half(gateway: Any, person: Any, data: bytes, announced: int) -> None:
    """An upload whose connection breaks in the middle."""
    host, port = gateway.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST {person.documents} HTTP/1.1\r\nHost: x\r\nAuthorization: {person.http.headers['authorization']}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {announced}\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="cut.bin"\r\n\r\n'
    )
    writer.write(head.encode() + data)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("size", [100, 300_000, 12 << 20])
async def test_upload_that_breaks_off_leaves_nothing(gateway_with: Any, size: int) -> None:
    async with gateway_with(max_upload_bytes=64 << 20) as gateway:
        person = await gateway.person()
        await _send_half(gateway, person, os.urandom(size), 40 << 20)
        # The gateway stops with the block: it waits for the request, and with that for what it cleans up.
    async with gateway_with() as gateway:
        assert await objects(gateway, person) == []
    listing = await _unseen(gateway, person)
    assert listing == []


async def _unseen(gateway: Any, person: Any) -> list[Any]:
    from docutalk_common.db import Database

    db = Database(gateway.settings.postgres_dsn.get_secret_value(), schema="gateway", pool_size=1)
    try:
        async with db.read() as session:
            return list(await repository.unseen_uploads(session, person.workspace, limit=10))
    finally:
        await db.close()


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"{}", "application/json"),
        (b"nothing", "multipart/form-data; boundary=b"),
        (b"--b--\r\n", "multipart/form-data; boundary=b"),
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx', "multipart/form-data; boundary=b"),
        (
            b'--b\r\nContent-Disposition: form-data; name="auto_classify"\r\n\r\ntrue\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="auto_classify"\r\n\r\nmaybe\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
    ],
)
async def test_request_that_is_no_upload_is_refused(gateway: Any, person: Any, content: bytes, content_type: str) -> None:
    answer = await person.http.post(person.documents, content=content, headers={"Content-Type": content_type})
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:docutalk:problem:malformed_upload"
    assert await objects(gateway, person) == []


async def test_viewer_may_not_upload(gateway: Any, person: Any) -> None:
    viewer = await gateway.person()
    async with gateway.db.transaction(Cause.new()) as tx:
        await repository.add_member(tx.session, person.workspace, viewer.id, Role.VIEWER)
    answer = await viewer.http.post(person.documents, files=[("file", ("a.txt", b"x"))])
    assert answer.status_code == 403
    assert (await viewer.http.delete(f"{person.documents}/{person.id}")).status_code == 403
    assert (await viewer.http.get(f"/api/v1/workspaces/{person.workspace}")).json()["role"] == "viewer"


async def test_upload_repeated_with_its_key_is_answered_as_before(gateway: Any, person: Any) -> None:
    key = {"Idempotency-Key": "upload-1"}
    first = await person.upload(("a.txt", b"keyed"), headers=key)
    again = await person.upload(("a.txt", b"keyed"), headers=key)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    other = await person.upload(("a.txt", b"something else"), headers=key)
    assert other.status_code == 422
    assert other.json()["type"] == "urn:docutalk:problem:idempotency_key_reused"
    assert len(await objects(gateway, person)) == 1


async def test_upload_that_failed_may_be_tried_again_with_its_key(gateway: Any, person: Any) -> None:
    key = {"Idempotency-Key": "upload-2"}
    failed = await person.upload(("large.bin", os.urandom((8 << 20) + 1)), headers=key)
    assert failed.status_code == 413
    assert (await person.upload(("a.txt", b"fine"), headers=key)).status_code == 202


class _TakenBackError(Exception):
    """Rolls a transaction back."""


@pytest.mark.parametrize("accepted", [True, False])
async def test_request_cancelled_during_its_commit_keeps_just_what_became_a_document(
    gateway: Any, person: Any, accepted: bool
) -> None:
    """Another transaction with the same bytes holds the commit up; the request is cancelled; then the other decides."""

    async def data() -> AsyncIterator[bytes]:
        yield b"undecided"

    upload = UploadRequest(gateway.storage, gateway.db, workspace_id=person.workspace, max_bytes=100)
    await upload.add("a.txt", data())
    [mine] = upload.files
    other = Upload(
        document_id=uuid7(),
        workspace_id=person.workspace,
        uploaded_by=person.id,
        filename="a.txt",
        content_type="text/plain",
        size=9,
        sha256=mine.sha256,
        object_key="elsewhere",
    )

    with contextlib.suppress(_TakenBackError):
        async with gateway.db.transaction(Cause.new()) as tx:
            await repository.add_upload(tx.session, other)
            committing = asyncio.create_task(upload.commit(Cause.new(), uploaded_by=person.id, auto_classify=True))
            await somebody_waits_for(tx.session, gateway.db)
            committing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await committing
            discarding = asyncio.create_task(upload.discard())
            if accepted:
                raise _TakenBackError  # takes the other's row back, so that ours is the one
    await discarding
    assert await objects(gateway, person) == ([mine.key] if accepted else [])


async def test_upload_while_the_message_server_is_away_is_accepted_and_announced_later(
    stack: Any, gateway: Any, person: Any
) -> None:
    await stack.backend.stop_server("nats")
    try:
        answer = await person.upload(("a.txt", b"patience"))
        assert answer.status_code == 202, answer.text
    finally:
        await stack.backend.start_server("nats")
    timeline = answer.headers["location"] + "/events"

    async def announced() -> bool:
        found = await person.http.get(timeline)
        return found.status_code == 200 and bool(found.json()["items"])

    await wait_until(announced, seconds=20, what="the upload is in the log")


async def test_upload_while_the_object_store_is_away_is_refused_and_may_be_repeated(
    stack: Any, gateway: Any, person: Any
) -> None:
    await stack.backend.stop_server("storage")
    try:
        answer = await person.upload(("a.txt", b"x" * 100_000))
        assert answer.status_code == 503, answer.text
        assert "retry-after" in answer.headers
        assert "127.0.0.1" not in answer.text
        assert (await person.http.get("/health")).json()["status"] == "degraded"
    finally:
        await stack.backend.start_server("storage")
    assert (await person.upload(("a.txt", b"x" * 100_000))).status_code == 202
    assert json.loads((await person.http.get("/health")).content)["status"] == "ok"


async def test_failure_to_clean_up_does_not_hide_the_failure_before_it(gateway: Any, person: Any) -> None:
    async def data() -> AsyncIterator[bytes]:
        yield b"never a document"

    broken = Database(gateway.settings.postgres_dsn.get_secret_value(), schema="a_schema_without_tables", pool_size=1)
    upload = UploadRequest(gateway.storage, broken, workspace_id=person.workspace, max_bytes=100)
    try:
        await upload.add("a.txt", data())
        with pytest.raises(DBAPIError, match="does not exist"):
            await upload.commit(Cause.new(), uploaded_by=person.id, auto_classify=True)
        await upload.discard()
    finally:
        await broken.close()
    [stays] = upload.files
    assert (await gateway.storage.stat(stays.key)).size == stays.size, "nobody could tell whether it is a document"
