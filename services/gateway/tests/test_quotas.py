"""What a workspace may hold and how often it may be asked: all of a request or nothing, also when many come at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.ingest import WorkspaceUsage
from docutalk_common.db import Cause
from docutalk_gateway.adapters import erasure_repository
from docutalk_gateway.adapters.models import AuditEntry, PostedMessage, Upload, Workspace
from docutalk_gateway.domain import WorkspaceArchived
from docutalk_gateway.use_cases.accept_upload import UploadRequest
from sqlalchemy import func, select, text, update

ADMIN = ("admin@docutalk.local", "correct horse battery staple")


@pytest.fixture(scope="module")
async def administrator(gateway: Any) -> Any:
    """The administrator, signed in once."""
    return await gateway.sign_in(*ADMIN)


async def limit(administrator: Any, person: Any, **limits: int | None) -> dict[str, Any]:
    """Sets limits of this person's workspace."""
    answer = await administrator.http.patch(f"/api/v1/admin/workspaces/{person.workspace}", json=limits)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def uploads(gateway: Any, person: Any) -> int:
    """How many uploads of the workspace are known."""
    async with gateway.db.read() as session:
        count: int = await session.scalar(select(func.count()).where(Upload.workspace_id == person.workspace))
    return count


def assert_quota_exceeded(answer: Any, *words: str) -> None:
    """It is refused, and says why."""
    assert answer.status_code == 409, answer.text
    assert answer.json()["type"] == "urn:docutalk:problem:quota_exceeded"
    assert all(word in answer.json()["detail"] for word in words), answer.text


async def test_upload_over_the_limit_of_documents_stores_nothing_of_the_request(
    gateway: Any, person: Any, administrator: Any
) -> None:
    """While ingest is away, too."""
    await limit(administrator, person, max_documents=2)
    assert (await person.upload(("a.txt", b"a"))).status_code == 202
    answer = await person.upload(("b.txt", b"b"), ("c.txt", b"c"))
    assert_quota_exceeded(
        answer, "limit of documents of this workspace is 2", "it would hold 3", "Nothing of this request was stored"
    )
    assert await uploads(gateway, person) == 1
    assert len(await gateway.storage.keys(f"{person.workspace}/")) == 1
    assert (await person.upload(("b.txt", b"b"))).status_code == 202


async def test_bytes_that_are_there_already_are_accepted_in_a_full_workspace(person: Any, administrator: Any) -> None:
    await person.upload(("a.txt", b"a"))
    await limit(administrator, person, max_documents=1, max_bytes=1)
    again = await person.upload(("b.txt", b"a"))
    assert again.status_code == 202
    assert "duplicate_of" in again.json()["documents"][0]


async def test_new_version_counts_with_the_one_that_it_takes_the_place_of(
    gateway: Any, person: Any, administrator: Any, ingest_service: Any
) -> None:
    [document] = (await person.upload(("a.txt", b"12345"))).json()["documents"]
    await limit(administrator, person, max_documents=1, max_bytes=8)
    versions = f"{person.documents}/{document['id']}/versions"
    ingest_service.put(person.workspace, document["id"])
    refused = await person.http.post(versions, files={"file": ("a.txt", b"6789")})
    assert_quota_exceeded(refused, "limit of bytes of this workspace is 8", "it would hold 9")
    assert await uploads(gateway, person) == 1
    assert (await person.http.post(versions, files={"file": ("a.txt", b"678")})).status_code == 202


async def test_limit_of_documents_that_was_lowered_since_does_not_refuse_versions_of_those_that_are_there(
    person: Any, administrator: Any, ingest_service: Any
) -> None:
    first, _ = (await person.upload(("a.txt", b"a"), ("b.txt", b"b"))).json()["documents"]
    await limit(administrator, person, max_documents=1)
    ingest_service.put(person.workspace, first["id"])
    versions = f"{person.documents}/{first['id']}/versions"
    assert (await person.http.post(versions, files={"file": ("a.txt", b"c")})).status_code == 202
    assert_quota_exceeded(await person.upload(("d.txt", b"d")), "limit of documents of this workspace is 1", "would hold 3")


async def test_what_sources_brought_is_counted(person: Any, administrator: Any, ingest_service: Any) -> None:
    ingest_service.usage = WorkspaceUsage(documents=9, bytes=90, collected_documents=4, collected_bytes=40)
    await limit(administrator, person, max_documents=5)
    assert (await person.upload(("a.txt", b"a"))).status_code == 202
    assert_quota_exceeded(await person.upload(("b.txt", b"b")), "limit of documents of this workspace is 5", "it would hold 6")


async def test_older_versions_count_that_are_known_to_ingest_only(
    gateway: Any, person: Any, administrator: Any, ingest_service: Any
) -> None:
    """Which versions there were is forgotten here after a day."""
    [document] = (await person.upload(("a.txt", b"12345"))).json()["documents"]
    ingest_service.put(person.workspace, document["id"])
    versions = f"{person.documents}/{document['id']}/versions"
    assert (await person.http.post(versions, files={"file": ("a.txt", b"6789")})).status_code == 202
    await limit(administrator, person, max_bytes=20)
    ingest_service.usage = WorkspaceUsage(documents=1, bytes=24, older_bytes=20)
    assert_quota_exceeded(await person.upload(("b.txt", b"b")), "limit of bytes of this workspace is 20", "it would hold 25")
    # What was superseded a moment ago is known on both sides.
    ingest_service.usage = WorkspaceUsage(documents=1, bytes=9, older_bytes=5)
    assert (await person.upload(("b.txt", b"b" * 11))).status_code == 202
    assert_quota_exceeded(await person.upload(("c.txt", b"c")), "it would hold 21")


async def test_requests_at_once_store_no_more_than_the_limit(gateway: Any, person: Any, administrator: Any) -> None:
    await limit(administrator, person, max_documents=3)
    answers = await asyncio.gather(*(person.upload((f"{i}.txt", b"%d" % i)) for i in range(8)))
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [409] * 5
    assert await uploads(gateway, person) == 3
    assert len(await gateway.storage.keys(f"{person.workspace}/")) == 3


async def test_repeated_upload_counts_once(person: Any, administrator: Any) -> None:
    await limit(administrator, person, max_documents=1)
    headers = {"Idempotency-Key": "once"}
    answers = [await person.upload(("a.txt", b"a"), headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()


async def ask(person: Any, headers: dict[str, str] | None = None) -> Any:
    """Asks a question."""
    path = f"/api/v1/workspaces/{person.workspace}/chat"
    return await person.http.post(path, json={"message": "What?"}, headers=headers)


@pytest.mark.usefixtures("no_turn_of_the_day")
async def test_question_over_the_limit_of_the_day_is_refused_until_midnight(
    gateway: Any, person: Any, administrator: Any, chat_service: Any
) -> None:
    await limit(administrator, person, max_questions_per_day=2)
    async with gateway.db.transaction(Cause.new()) as tx:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        about = {"workspace_id": person.workspace, "user_id": person.id, "fingerprint": b""}
        ids = {"answer_id": uuid7(), "message_id": uuid7(), "session_id": uuid7()}
        tx.session.add(PostedMessage(**about, **ids, created_at=yesterday))
    keys = ["first", "first", "second", "third"]
    answers = [await ask(person, {"Idempotency-Key": key}) for key in keys]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    refused = answers[-1]
    assert refused.json()["type"] == "urn:docutalk:problem:questions_used_up"
    assert "2 questions a day" in refused.json()["detail"]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    left = (tomorrow - datetime.now(UTC)).total_seconds()
    assert abs(int(refused.headers["retry-after"]) - left) < 10
    assert len(chat_service.posted) == 2
    await limit(administrator, person, max_questions_per_day=None)
    assert (await ask(person)).status_code == 200


@pytest.mark.usefixtures("no_turn_of_the_day")
async def test_questions_of_who_was_erased_since_still_count(
    gateway: Any, person: Any, administrator: Any, chat_service: Any
) -> None:
    """Or visitors of a link would have the day's questions again with each visit that ends."""
    await limit(administrator, person, max_questions_per_day=1)
    assert (await ask(person)).status_code == 200
    async with gateway.db.transaction(Cause.new()) as tx:
        posted = await erasure_repository.posted_by(tx.session, person.id, limit=100)
        [asked] = [one for one in posted if one.workspace_id == person.workspace]
        answer_id, session_id = str(asked.answer_id), str(asked.session_id)
        await erasure_repository.forget_posted(tx.session, [asked.answer_id])
    async with gateway.db.read() as session:
        rows = "SELECT row_to_json(m)::text FROM posted_messages m WHERE workspace_id = :id"
        [row] = await session.scalars(text(rows), {"id": person.workspace})
    assert not [word for word in (str(person.id), answer_id, session_id) if word in row]
    assert (await ask(person)).status_code == 429


@pytest.mark.usefixtures("no_turn_of_the_day")
async def test_questions_at_once_are_no_more_than_the_limit(person: Any, administrator: Any, chat_service: Any) -> None:
    await limit(administrator, person, max_questions_per_day=2)
    answers = await asyncio.gather(*(ask(person) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 2 + [429] * 4


@pytest.mark.usefixtures("no_turn_of_the_day")
async def test_usage_tells_what_there_is_and_what_may_be(
    person: Any, administrator: Any, ingest_service: Any, chat_service: Any
) -> None:
    ingest_service.usage = WorkspaceUsage(documents=9, bytes=90, pages=30, sources=2, collected_documents=4)
    await limit(administrator, person, max_bytes=1000)
    await ask(person)
    assert (await person.http.get(f"/api/v1/workspaces/{person.workspace}/usage")).json() == {
        **{"documents": 9, "bytes": 90, "pages": 30, "sources": 2, "questions_today": 1, "members": 1},
        "limits": {"max_documents": None, "max_bytes": 1000, "max_questions_per_day": None},
    }


async def test_limits_of_the_settings_hold_where_a_workspace_has_none(gateway_with: Any) -> None:
    async with gateway_with(quota_documents=1, quota_bytes=5) as limited:
        administrator, person = await limited.sign_in(*ADMIN), await limited.person()
        assert_quota_exceeded(await person.upload(("a.txt", b"123456")), "limit of bytes of this workspace is 5")
        assert (await person.upload(("a.txt", b"12345"))).status_code == 202
        assert_quota_exceeded(await person.upload(("b.txt", b"")), "limit of documents of this workspace is 1")
        shown = await limit(administrator, person, max_documents=2)
        assert shown["limits"] == {"max_documents": 2, "max_bytes": 5, "max_questions_per_day": None}
        assert shown["own_limits"] == {"max_documents": 2, "max_bytes": None, "max_questions_per_day": None}
        assert (await person.upload(("b.txt", b""))).status_code == 202


async def test_administrator_sees_how_large_workspaces_are_and_not_what_they_are_called(
    gateway: Any, person: Any, administrator: Any
) -> None:
    await person.upload(("secret-name.txt", b"12345"))
    listing = await administrator.http.get("/api/v1/admin/workspaces", params={"per_page": 5})
    assert listing.status_code == 200
    assert "secret" not in listing.text
    assert "name" not in listing.json()["items"][0]
    [mine] = [item for item in listing.json()["items"] if item["id"] == str(person.workspace)]
    assert (mine["members"], mine["owner_ids"]) == (1, [str(person.id)])
    assert (mine["uploaded_documents"], mine["uploaded_bytes"]) == (1, 5)
    assert (await person.http.get("/api/v1/admin/workspaces")).status_code == 403
    refused = await person.http.patch(f"/api/v1/admin/workspaces/{person.workspace}", json={"max_bytes": None})
    assert refused.status_code == 403
    missing = await administrator.http.patch(f"/api/v1/admin/workspaces/{uuid7()}", json={"max_bytes": 1})
    assert missing.status_code == 404
    negative = await administrator.http.patch(f"/api/v1/admin/workspaces/{person.workspace}", json={"max_bytes": -1})
    assert negative.status_code == 422


async def test_changed_quota_is_noted(gateway: Any, person: Any, administrator: Any) -> None:
    await limit(administrator, person, max_bytes=7)
    async with gateway.db.read() as session:
        which = (AuditEntry.workspace_id == person.workspace, AuditEntry.action == "workspace.quota_changed")
        [entry] = await session.scalars(select(AuditEntry).where(*which))
    assert entry.actor_id == administrator.id
    assert entry.details == {"max_documents": None, "max_bytes": 7, "max_questions_per_day": None}


async def test_upload_that_began_before_the_workspace_was_archived_is_refused(gateway: Any, person: Any) -> None:
    async def data() -> Any:
        yield b"late"

    upload = UploadRequest(gateway.storage, gateway.db, workspace_id=person.workspace, max_bytes=100)
    await upload.add("a.txt", data())
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(update(Workspace).where(Workspace.id == person.workspace).values(archived_at=datetime.now(UTC)))
    with pytest.raises(WorkspaceArchived):
        await upload.commit(Cause.new(), uploaded_by=person.id, auto_classify=True)
    await upload.discard()
    assert await gateway.storage.keys(f"{person.workspace}/") == []
