"""A new file for a document: its next version, beside the one that is read until then."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import DocumentStatus, DocumentVersion
from docutalk_common.db import Cause, outbox
from docutalk_common.process import wait_until
from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import Upload
from docutalk_gateway.use_cases.go_after_a_deadlock import DEADLOCK_DETECTED
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from .conftest import somebody_waits_for


async def upload(person: Any, name: str, data: bytes) -> UUID:
    """Uploads one file; its document."""
    return UUID((await person.upload((name, data))).json()["documents"][0]["id"])


async def new_version(person: Any, document_id: UUID, name: str, data: bytes, **headers: str) -> Any:
    """Uploads a file for a document."""
    return await person.http.post(f"{person.documents}/{document_id}/versions", files=[("file", (name, data))], headers=headers)


async def objects(gateway: Any, person: Any) -> list[str]:
    """The keys of a person's workspace."""
    keys: list[str] = await gateway.storage.keys(f"{person.workspace}/")
    return keys


async def test_new_file_for_a_document_is_accepted_as_its_next_version_while_ingest_is_down(gateway: Any, person: Any) -> None:
    document_id = await upload(person, "plan.txt", b"the plan")
    answer = await new_version(person, document_id, "plan 2.txt", b"a better plan")
    assert answer.status_code == 202, answer.text
    shown = answer.json()
    assert (shown["id"], shown["version"], shown["status"], shown["unchanged"]) == (str(document_id), 2, "queued", False)
    assert (shown["filename"], shown["size"]) == ("plan 2.txt", 13)
    assert answer.headers["location"] == f"{person.documents}/{document_id}"
    contents = [
        (await person.http.get(f"{person.documents}/{document_id}/content", params=params)).content
        for params in ({}, {"version": 1}, {"version": 2})
    ]
    assert contents == [b"a better plan", b"the plan", b"a better plan"]
    assert len(await objects(gateway, person)) == 2

    async def logged() -> list[Any]:
        items = (await person.http.get(f"{person.documents}/{document_id}/events")).json()["items"]
        return [(item["type"], item["data"]["version"]) for item in items]

    async def both() -> bool:
        return len(await logged()) == 2

    await wait_until(both, seconds=10, what="both versions are announced")
    assert await logged() == [(DocumentUploaded.type, 1), (DocumentUploaded.type, 2)]


async def test_same_bytes_as_the_newest_version_change_nothing(gateway: Any, ingest_service: Any, person: Any) -> None:
    document_id = await upload(person, "plan.txt", b"stays the same")
    ingest_service.put(person.workspace, document_id, filename="plan.txt", served_version=1)
    answer = await new_version(person, document_id, "other name.txt", b"stays the same")
    assert answer.status_code == 202
    assert (answer.json()["unchanged"], answer.json()["version"], answer.json()["status"]) == (True, 1, "ready")
    assert len(await objects(gateway, person)) == 1


async def test_bytes_of_another_document_are_a_conflict_that_names_it(gateway: Any, person: Any) -> None:
    other, document_id = await upload(person, "other.txt", b"taken"), await upload(person, "mine.txt", b"mine")
    answer = await new_version(person, document_id, "mine.txt", b"taken")
    assert answer.status_code == 409
    assert answer.json()["detail"] == f"This workspace has the same bytes already, as the document other.txt ({other})."
    assert len(await objects(gateway, person)) == 2
    content = await person.http.get(f"{person.documents}/{document_id}/content")
    assert content.content == b"mine", "the version before it is still the current one"


async def test_bytes_are_looked_for_among_current_versions_only(person: Any) -> None:
    document_id = await upload(person, "plan.txt", b"first")
    await new_version(person, document_id, "plan.txt", b"second")
    assert await upload(person, "again.txt", b"second") == document_id
    fresh = await upload(person, "copy.txt", b"first")
    assert fresh != document_id, "the first version is superseded: its bytes are free"
    back = await new_version(person, document_id, "plan.txt", b"first")
    assert back.status_code == 409, "now they belong to the copy"


async def test_racing_versions_of_a_document_all_get_a_number_of_their_own(gateway: Any, person: Any) -> None:
    document_id = await upload(person, "plan.txt", b"zero")
    answers = await asyncio.gather(*(new_version(person, document_id, "plan.txt", f"racer {n}".encode()) for n in range(5)))
    assert {answer.status_code for answer in answers} == {202}
    assert len(await objects(gateway, person)) == 6
    async with gateway.db.read() as session:
        current = await repository.upload_of(session, person.workspace, document_id)
        versions = [await repository.upload_of(session, person.workspace, document_id, version=n) for n in range(1, 7)]
    assert current is not None
    assert current.version == 6
    assert all(versions)


def next_of(current: Upload, sha256: str) -> Upload:
    """The row of a document's second version."""
    about = ("document_id", "workspace_id", "uploaded_by", "filename", "content_type")
    return Upload(**{name: getattr(current, name) for name in about}, version=2, size=1, sha256=sha256, object_key="second")


async def test_version_that_waits_for_one_that_waits_for_it_goes_after_it(gateway: Any, person: Any) -> None:
    """Each takes the bytes that the other gives up, and PostgreSQL ends the one that has waited longer."""
    left, right = await upload(person, "left.txt", b"on the left"), await upload(person, "right.txt", b"on the right")
    answers = []
    while not answers or (answers[-1] == 409 and len(answers) < 5):
        try:
            async with gateway.db.transaction(Cause.new()) as tx:
                of_left = await repository.upload_of(tx.session, person.workspace, left)
                of_right = await repository.upload_of(tx.session, person.workspace, right)
                await repository.supersede_upload(tx.session, of_right, datetime.now(UTC))
                sending = asyncio.create_task(new_version(person, left, "left.txt", b"on the right"))
                await somebody_waits_for(tx.session, gateway.db)
                added = await repository.add_upload(tx.session, next_of(of_right, of_left.sha256))
                assert not added, "left keeps its bytes until then"
        except DBAPIError as error:
            # PostgreSQL looks a second after each wait began. This test was held up, and it was this one's that was ended, so
            # that right has kept its bytes: once more.
            if getattr(error.orig, "sqlstate", None) != DEADLOCK_DETECTED:
                raise
        answers.append((await sending).status_code)
    assert answers[-1] == 202


async def test_version_repeated_with_its_key_is_made_once(gateway: Any, person: Any) -> None:
    document_id = await upload(person, "plan.txt", b"keyed zero")
    key = {"Idempotency-Key": "version-1"}
    first = await new_version(person, document_id, "plan.txt", b"keyed one", **key)
    again = await new_version(person, document_id, "plan.txt", b"keyed one", **key)
    assert (again.status_code, again.content) == (202, first.content)
    assert len(await objects(gateway, person)) == 2


@pytest.mark.parametrize("known", [True, False])
async def test_document_that_nobody_uploaded_takes_no_version(
    gateway: Any, ingest_service: Any, person: Any, known: bool
) -> None:
    document_id = uuid7()
    if known:
        ingest_service.put(person.workspace, document_id, source_id=uuid7())
    answer = await new_version(person, document_id, "a.txt", b"a version")
    assert answer.status_code == (409 if known else 404)
    assert await objects(gateway, person) == []


async def test_two_files_are_no_version(gateway: Any, person: Any) -> None:
    document_id = await upload(person, "plan.txt", b"one file")
    files = [("file", ("a", b"1")), ("file", ("b", b"2"))]
    answer = await person.http.post(f"{person.documents}/{document_id}/versions", files=files)
    assert (answer.status_code, answer.json()["detail"]) == (422, "A version is one file.")
    assert len(await objects(gateway, person)) == 1


async def test_version_that_ingest_does_not_know_yet_is_shown_over_the_one_that_it_knows(
    ingest_service: Any, person: Any
) -> None:
    document_id = await upload(person, "plan.txt", b"known")
    ingest_service.put(person.workspace, document_id, served_version=1, page_count=3)
    await new_version(person, document_id, "plan.txt", b"not known yet")
    url = f"{person.documents}/{document_id}"
    listed = (await person.http.get(person.documents)).json()
    for shown in ((await person.http.get(url)).json(), listed["items"][0]):
        assert (shown["version"], shown["served_version"], shown["status"]) == (2, 1, "queued")
        assert shown["page_count"] is None
    assert listed["total"] == 1
    assert [item["filename"] for item in (await person.http.get(person.documents, params={"status": "ready"})).json()["items"]]
    assert [item["version"] for item in (await person.http.get(f"{url}/versions")).json()["items"]] == [2]
    ingest_service.put(person.workspace, document_id, version=2, served_version=1, status=DocumentStatus.FAILED)
    assert (await person.http.get(url)).json()["status"] == "failed"
    ingest_service.put(person.workspace, document_id, version=2, served_version=2)
    assert (await person.http.get(person.documents)).json()["items"][0]["served_version"] == 2


def _version(number: int, key: str, data: bytes) -> DocumentVersion:
    return DocumentVersion(
        version=number,
        filename=f"v{number}.txt",
        content_type="text/plain",
        size=len(data),
        sha256=f"{number}" * 64,
        object_key=key,
        created_by=uuid7(),
        created_at=datetime.now(UTC),
    )


async def test_content_of_a_document_from_a_source_is_where_ingest_says(gateway: Any, ingest_service: Any, person: Any) -> None:
    document_id, keys = uuid7(), [f"{person.workspace}/{uuid7()}/{n}.txt" for n in range(2)]

    async def pieces(data: bytes) -> Any:
        yield data

    for key, data in zip(keys, (b"as it was", b"as it is"), strict=True):
        await gateway.storage.upload_stream(key, pieces(data), content_type="text/plain")
    ingest_service.put(
        person.workspace, document_id, filename="Eine Seite.html", size=8, object_key=keys[1], version=2, source_id=uuid7()
    )
    ingest_service.versions[document_id] = [_version(2, keys[1], b"as it is"), _version(1, keys[0], b"as it was")]
    url = f"{person.documents}/{document_id}"
    content = await person.http.get(f"{url}/content")
    assert (content.content, content.headers["content-disposition"]) == (
        b"as it is",
        "attachment; filename*=UTF-8''Eine%20Seite.html",
    )
    assert (await person.http.get(f"{url}/content", params={"version": 1})).content == b"as it was"
    assert (await person.http.get(f"{url}/content", params={"version": 3})).status_code == 404
    listed = (await person.http.get(f"{url}/versions")).json()
    assert [item["version"] for item in listed["items"]] == [2, 1]
    assert "object_key" not in listed["items"][0]


async def test_superseded_upload_is_forgotten_once_ingest_knows_the_version(
    gateway: Any, ingest_service: Any, person: Any
) -> None:
    document_id = await upload(person, "plan.txt", b"forget me")
    await new_version(person, document_id, "plan.txt", b"keep me")

    async def first_is_kept() -> bool:
        async with gateway.db.transaction(Cause.new()) as tx:
            await repository.delete_superseded_uploads(tx.session, datetime.now(UTC))
            return await repository.upload_of(tx.session, person.workspace, document_id, version=1) is not None

    assert await first_is_kept()
    ingest_service.put(person.workspace, document_id, version=2)
    await person.http.get(f"{person.documents}/{document_id}")
    assert not await first_is_kept()
    assert (await person.http.get(f"{person.documents}/{document_id}/content")).content == b"keep me"


async def test_version_that_comes_while_its_document_is_deleted_goes_with_it(gateway: Any, person: Any) -> None:
    document_id = await upload(person, "plan.txt", b"deleted meanwhile")

    async def delete() -> None:
        async with gateway.db.transaction(Cause.new()) as tx:
            await repository.delete_uploads(tx.session, person.workspace, [document_id])

    async with gateway.db.transaction(Cause.new()) as tx:
        await repository.lock_versions(tx.session, document_id)
        first = await repository.upload_of(tx.session, person.workspace, document_id)
        assert first is not None
        second = next_of(first, "2" * 64)
        await repository.supersede_upload(tx.session, first, datetime.now(UTC))
        assert await repository.add_upload(tx.session, second)
        deleting = asyncio.create_task(delete())
        await somebody_waits_for(tx.session, gateway.db)
    await deleting
    async with gateway.db.read() as session:
        assert await repository.upload_of(session, person.workspace, document_id) is None
    assert await upload(person, "plan.txt", b"deleted meanwhile") != document_id


async def test_row_and_event_of_a_version_are_one_transaction(gateway: Any, person: Any) -> None:
    """A refused version leaves neither behind: no event, and the version before it stays the current one."""
    await upload(person, "other.txt", b"taken here")
    document_id = await upload(person, "mine.txt", b"mine here")
    assert (await new_version(person, document_id, "mine.txt", b"taken here")).status_code == 409
    async with gateway.db.read() as session:
        current = await repository.upload_of(session, person.workspace, document_id)
        waiting = (await session.execute(select(outbox.c.payload))).scalars().all()
    assert current is not None
    assert (current.version, current.superseded_at) == (1, None)
    assert not [payload for payload in waiting if str(document_id).encode() in payload and b'"version":2' in payload]


async def test_page_of_a_version_is_asked_for_by_its_number(ingest_service: Any, person: Any) -> None:
    document_id = uuid7()
    ingest_service.put(person.workspace, document_id, version=2, served_version=2)
    ingest_service.pages[document_id, 1] = "words"
    page = await person.http.get(f"{person.documents}/{document_id}/pages/1", params={"version": 2})
    assert (page.json()["text"], page.json()["version"]) == ("words", 2)
