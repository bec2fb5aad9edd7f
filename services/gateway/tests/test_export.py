"""A workspace leaves as an archive: whole, the same each time, and nobody else's."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from docutalk_common.contracts import chat
from docutalk_common.errors import RequestFailed
from docutalk_gateway.adapters.models import AuditEntry
from docutalk_gateway.use_cases.export_workspace import PIECE
from docutalk_local.testing import TestStack
from sqlalchemy import select

from .portable import Services, lines, unpacked

MIB = 1 << 20


@pytest.fixture
async def services(stack: TestStack) -> AsyncIterator[Services]:
    found = Services()
    async with found.serving(stack):
        yield found


async def exported(person: Any, **wanted: Any) -> httpx.Response:
    """The whole export."""
    answer = await person.http.get(f"/api/v1/workspaces/{person.workspace}/export", params=wanted)
    assert answer.status_code == 200, answer.text
    return answer  # type: ignore[no-any-return]


async def test_export_holds_documents_sources_conversations_and_settings(gateway: Any, person: Any, services: Services) -> None:
    source = services.put_source(person.workspace)
    documents = [
        await services.put_document(gateway.storage, person.workspace, b"one", b"one again", filename="Résumé.TXT"),
        await services.put_document(
            gateway.storage, person.workspace, b"two", source_id=source.source_id, origin="https://e.com/2"
        ),
        await services.put_document(gateway.storage, person.workspace, b"", filename="empty"),
    ]
    services.put_session(person.workspace, person.id, [documents[0].document_id], turns=3)
    services.weights[person.workspace] = 0.25
    services.answering[person.workspace] = chat.ChatSettings(model="tiny", passages=5)

    answer = await exported(person)

    assert answer.headers["content-type"] == "application/zip"
    assert (answer.headers["x-export-files"], answer.headers["x-export-bytes"]) == ("4", "15")
    files = unpacked(answer.content)
    first, second, empty = (str(document.document_id) for document in documents)
    assert list(files) == [
        f"files/{first}/1.txt",
        f"files/{first}/2.txt",
        f"files/{second}/1.txt",
        f"files/{empty}/1",
        *("documents.jsonl", "sources.jsonl", "sessions.jsonl", "manifest.json"),
    ]
    assert files[f"files/{first}/2.txt"] == b"one again"
    found = lines(files, "documents.jsonl")
    assert [line["document_id"] for line in found] == [first, second, empty]
    assert found[0]["filename"] == "Résumé.TXT"
    assert found[0]["versions"][1]["sha256"] == hashlib.sha256(b"one again").hexdigest()
    assert found[0]["versions"][1]["path"] == f"files/{first}/2.txt"
    assert found[1]["source_id"] == lines(files, "sources.jsonl")[0]["source_id"] == str(source.source_id)
    assert [line["type"] for line in lines(files, "sessions.jsonl")] == ["session", *["message"] * 6]
    manifest = json.loads(files["manifest.json"])
    assert (manifest["format"], manifest["version"]) == ("docutalk-workspace", 1)
    assert manifest["workspace"]["id"] == str(person.workspace)
    assert manifest["settings"]["search"] == {"semantic_weight": 0.25}
    assert manifest["settings"]["chat"] == {"model": "tiny", "temperature": None, "passages": 5}
    assert manifest["counts"] == {"documents": 3, "files": 4, "sources": 1, "sessions": 1, "messages": 6}
    for part in manifest["parts"]:
        assert part["sha256"] == hashlib.sha256(files[part["path"]]).hexdigest()
        assert part["size"] == len(files[part["path"]])


async def test_archive_names_no_person_and_no_place_in_the_object_store(gateway: Any, person: Any, services: Services) -> None:
    document = await services.put_document(gateway.storage, person.workspace, b"text")
    services.put_session(person.workspace, person.id, [document.document_id])

    everything = b"".join(unpacked((await exported(person)).content).values())

    for secret in (str(person.id), person.email, document.versions[0].object_key, "object_key"):
        assert secret.encode() not in everything


async def test_same_workspace_gives_the_same_bytes(gateway: Any, person: Any, services: Services) -> None:
    for number in range(5):
        await services.put_document(gateway.storage, person.workspace, f"{number}".encode() * 1000)
    services.put_session(person.workspace, person.id)

    first, second = [(await exported(person)).content for _ in range(2)]

    assert first == second


async def test_only_own_conversations_leave(gateway: Any, person: Any, services: Services) -> None:
    other = await gateway.person()
    services.put_session(person.workspace, other.id, text="Nobody else may know.")

    answer = await exported(person)

    assert unpacked(answer.content)["sessions.jsonl"] == b""


async def test_export_without_files_and_conversations(gateway: Any, person: Any, services: Services) -> None:
    await services.put_document(gateway.storage, person.workspace, b"text")
    services.put_session(person.workspace, person.id)

    answer = await exported(person, include_files=False, include_sessions=False)

    files = unpacked(answer.content)
    assert list(files) == ["documents.jsonl", "sources.jsonl", "manifest.json"]
    assert lines(files, "documents.jsonl")[0]["versions"][0]["path"] is None
    assert answer.headers["x-export-files"] == "0"


async def test_upload_that_ingest_does_not_know_yet_is_exported(person: Any, services: Services) -> None:
    accepted = (await person.upload(("a.txt", b"first"), ("b.txt", b"second"))).json()["documents"]
    first, second = sorted(document["id"] for document in accepted)
    known = (await person.http.get(f"{person.documents}/{first}")).json()
    assert known["status"] == "queued"

    files = unpacked((await exported(person)).content)

    assert [line["document_id"] for line in lines(files, "documents.jsonl")] == [first, second]
    assert {files[name] for name in files if name.startswith("files/")} == {b"first", b"second"}


async def test_new_version_that_ingest_does_not_know_yet_is_exported(gateway: Any, person: Any, services: Services) -> None:
    accepted = (await person.upload(("a.txt", b"first"))).json()["documents"][0]["id"]
    before = await services.put_document(gateway.storage, person.workspace, b"first", document_id=accepted)
    form = {"file": ("a.txt", b"second", "text/plain")}
    answer = await person.http.post(f"{person.documents}/{before.document_id}/versions", files=form)
    assert answer.status_code in {202, 503}, answer.text

    files = unpacked((await exported(person)).content)

    [line] = lines(files, "documents.jsonl")
    assert [version["version"] for version in line["versions"]] == [1, 2]
    assert files[line["versions"][1]["path"]] == b"second"


async def test_file_that_is_lost_cuts_the_connection(gateway: Any, person: Any, services: Services) -> None:
    await services.put_document(gateway.storage, person.workspace, b"text")
    lost = await services.put_document(gateway.storage, person.workspace, b"more text")
    await gateway.storage.delete([lost.versions[0].object_key])

    with pytest.raises(httpx.RemoteProtocolError):
        await exported(person)


@pytest.mark.parametrize("content", [b"TEXT", b"tex", b"text and more"])
async def test_file_that_was_changed_in_the_store_cuts_the_connection(
    gateway: Any, person: Any, services: Services, content: bytes
) -> None:
    document = await services.put_document(gateway.storage, person.workspace, b"text")
    spoilt = document.versions[0].model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    services.documents[person.workspace][document.document_id] = document.model_copy(update={"versions": [spoilt]})

    with pytest.raises(httpx.RemoteProtocolError):
        await exported(person)


async def test_document_that_is_deleted_meanwhile_is_nowhere_in_the_archive(
    gateway: Any, person: Any, services: Services
) -> None:
    large = await services.put_document(gateway.storage, person.workspace, bytes(64 * MIB))
    deleted = await services.put_document(gateway.storage, person.workspace, b"one", b"two")
    stays = await services.put_document(gateway.storage, person.workspace, b"three")
    received = bytearray()

    async with person.http.stream("GET", f"/api/v1/workspaces/{person.workspace}/export") as answer:
        assert answer.headers["x-export-files"] == "4"
        async for chunk in answer.aiter_bytes():
            if not received:
                del services.documents[person.workspace][deleted.document_id]
                await gateway.storage.delete([version.object_key for version in deleted.versions])
            received += chunk

    files = unpacked(bytes(received))
    assert [line["document_id"] for line in lines(files, "documents.jsonl")] == [str(large.document_id), str(stays.document_id)]
    assert not [name for name in files if str(deleted.document_id) in name]
    assert json.loads(files["manifest.json"])["counts"]["files"] == 2


async def test_files_larger_than_a_piece_are_whole(gateway: Any, person: Any, services: Services) -> None:
    content = bytes(range(256)) * (3 * PIECE // 256) + b"end"
    document = await services.put_document(gateway.storage, person.workspace, content)

    files = unpacked((await exported(person)).content)

    assert files[f"files/{document.document_id}/1.txt"] == content


async def test_export_without_a_service_is_a_503_before_anything_is_sent(person: Any, services: Services) -> None:
    services.refusals["export"] = [RequestFailed("unavailable", "ingest is not running")]

    answer = await person.http.get(f"/api/v1/workspaces/{person.workspace}/export")

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"


async def test_stranger_learns_nothing_of_a_workspace(gateway: Any, person: Any, services: Services) -> None:
    stranger = await gateway.person()

    answer = await stranger.http.get(f"/api/v1/workspaces/{person.workspace}/export")

    assert answer.status_code == 404


async def test_export_is_in_the_audit_log(gateway: Any, person: Any, services: Services) -> None:
    await services.put_document(gateway.storage, person.workspace, b"text")

    await exported(person)

    which = select(AuditEntry).where(AuditEntry.workspace_id == person.workspace, AuditEntry.action == "workspace.exported")
    async with gateway.db.read() as session:
        [entry] = await session.scalars(which)
    assert entry.actor_id == person.id
    assert entry.details == {"documents": 1, "with_files": True, "with_sessions": True}


async def test_archive_is_opened_by_other_programs_with_fixed_times(gateway: Any, person: Any, services: Services) -> None:
    await services.put_document(gateway.storage, person.workspace, b"text")

    opened = zipfile.ZipFile(io.BytesIO((await exported(person)).content))

    assert {info.date_time for info in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.external_attr >> 16 for info in opened.infolist()} == {0o100644}


async def test_exports_that_nobody_reads_to_the_end_are_in_nobodys_way(gateway: Any, person: Any, services: Services) -> None:
    await services.put_document(gateway.storage, person.workspace, bytes(24 * MIB))
    path = f"/api/v1/workspaces/{person.workspace}/export"

    async def leave_early() -> None:
        async with person.http.stream("GET", path) as answer:
            assert await anext(answer.aiter_bytes())

    for _ in range(3):
        await asyncio.gather(*(leave_early() for _ in range(10)))

    assert await asyncio.wait_for(exported(person), 30)


async def test_many_exports_at_once_are_all_whole(gateway: Any, person: Any, services: Services) -> None:
    for number in range(4):
        await services.put_document(gateway.storage, person.workspace, bytes([number]) * 3 * MIB)

    answers = await asyncio.wait_for(asyncio.gather(*(exported(person) for _ in range(24))), 60)

    assert len({hashlib.sha256(answer.content).digest() for answer in answers}) == 1
