"""One part of the system is away: the others go on, and what waits is done when it is back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from docutalk_common.testing.pdf import make_pdf
from docutalk_local.testing.system import System, running_system


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with running_system(tmp_path_factory.mktemp("degraded"), durable=False) as system:
        yield system


async def test_upload_while_ingest_is_down_is_accepted_at_once_and_processed_later(system: System) -> None:
    person = await system.register("patient@example.com")
    supervisor = system.stack.supervisor
    await supervisor.stop_one("ingest")
    try:
        started = time.monotonic()
        accepted = await person.upload([("later.pdf", make_pdf(["The lighthouse of Alexandria was 103 metres high."]))])
        assert time.monotonic() - started < 5
        assert accepted[0]["status"] == "queued"
        assert (await person.document(accepted[0]["id"]))["status"] == "queued"
    finally:
        await supervisor.start_again("ingest")
    documents = await person.until_final([accepted[0]["id"]], seconds=60)
    assert [d["status"] for d in documents.values()] == ["ready"]


async def test_chat_says_why_at_once_while_embed_is_down_and_uploads_go_on(system: System) -> None:
    person = await system.register("curious@example.com")
    first = await person.upload([("before.pdf", make_pdf(["The library of Celsus stands in Ephesus."]))])
    await person.until_final([first[0]["id"]], seconds=60)
    supervisor = system.stack.supervisor
    await supervisor.stop_one("embed")
    try:
        started = time.monotonic()
        answer = await person.http.post(
            f"/api/v1/workspaces/{person.workspace}/chat", json={"message": "Where does the library of Celsus stand?"}
        )
        assert time.monotonic() - started < 5
        assert answer.status_code == 503
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert "search" in answer.json()["detail"].lower()
        second = await person.upload([("during.pdf", make_pdf(["The theatre of Aspendos seats 7,000."]))])
        assert second[0]["status"] == "queued"
    finally:
        await supervisor.start_again("embed")
    documents = await person.until_final([second[0]["id"]], seconds=60)
    assert [d["status"] for d in documents.values()] == ["ready"]
    answer = await person.ask("Where does the library of Celsus stand?")
    assert "Ephesus" in answer["response"]


async def test_chat_says_why_at_once_while_chat_is_down(system: System) -> None:
    person = await system.register("silent@example.com")
    supervisor = system.stack.supervisor
    await supervisor.stop_one("chat")
    try:
        answer = await person.http.post(f"/api/v1/workspaces/{person.workspace}/chat", json={"message": "Hello?"})
        assert answer.status_code == 503
        assert "is not running" in answer.json()["detail"]
    finally:
        await supervisor.start_again("chat")
