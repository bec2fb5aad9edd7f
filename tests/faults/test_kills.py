"""Everything is killed while documents are processed and the model is changed, and nothing is lost, doubled or stuck."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import nats
import pytest
from docutalk_common.messaging import event_log
from docutalk_common.messaging.streams import EVENTS, SERVICES, WORK
from docutalk_common.process import wait_until
from docutalk_common.testing.embeddings_server import DIMENSION, MODEL, EmbeddingsServer
from docutalk_common.testing.pdf import make_pdf
from docutalk_local.environment import role_dsn
from docutalk_local.home import OPERATOR
from docutalk_local.testing.system import Person, System, endpoint_settings, running_system

pytestmark = pytest.mark.faults

VICTIMS = ("ingest", "embed", "postgres", "nats", "gateway", "chat", "storage")
SECONDS = 240.0
OUTCOMES = ("gateway.v1.document.uploaded", "ingest.v1.document.ready")
CALM_OUTCOMES = (*OUTCOMES, "embed.v1.document.indexed")
CHANGES = "/api/v1/admin/model-changes"
# So slow that the vectors of the calm run's passages are still being computed while most victims are killed, and that some
# documents get theirs with their passages and others later.
SECONDS_OF_AN_ANSWER = 1.0
TEXTS_OF_A_REQUEST = "8"


def _library(copies: int = 8, pages: int = 26) -> list[tuple[str, bytes]]:
    """Files with different, wordy pages: enough work that every kill hits something in flight."""
    files = []
    for copy in range(copies):
        texts = []
        for page in range(pages):
            words = hashlib.sha256(f"{copy} {page}".encode()).hexdigest()
            lines = [
                f"Report {copy} page {page} line {n} mentions {words[n : n + 8]} and the harvest of {1900 + n}."
                for n in range(40)
            ]
            texts.append("\n".join(lines))
        files.append((f"report-{copy:02}.pdf", make_pdf(texts)))
    return files


async def _chunks(system: System, workspace: str) -> dict[str, list[tuple[Any, ...]]]:
    """What embed holds of a workspace: for each file every chunk with its place, text and whether it has a vector."""
    connection = await asyncpg.connect(role_dsn(system.stack.servers, system.stack.secrets, "embed"))
    try:
        rows = await connection.fetch(
            """
            SELECT d.filename, c.ordinal, c.page, c.start_offset, c.end_offset, md5(c.text) AS text, count(e.chunk_id) AS vectors
            FROM embed.chunks c
            JOIN embed.documents d USING (document_id)
            LEFT JOIN embed.embeddings_1 e USING (chunk_id)
            WHERE c.workspace_id = $1 GROUP BY d.filename, c.chunk_id ORDER BY d.filename, c.ordinal
            """,
            workspace,
        )
    finally:
        await connection.close()
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault(row["filename"], []).append(tuple(row)[1:])
    return found


async def _settled(system: System) -> bool:
    """Nothing in any outbox and nothing in the work queue."""
    for service in SERVICES:
        connection = await asyncpg.connect(role_dsn(system.stack.servers, system.stack.secrets, service))
        try:
            if await connection.fetchval(f"SELECT count(*) FROM {service}.outbox"):
                return False
        finally:
            await connection.close()
    nc = await nats.connect(system.stack.servers.nats_url, user=OPERATOR, password=system.stack.secrets.nats[OPERATOR])
    try:
        return (await nc.jetstream().stream_info(WORK)).state.messages == 0
    finally:
        await nc.close()


async def _administer(system: System, method: str, path: str, **arguments: Any) -> Any:
    """The administrator's call, tried again while a service restarts."""
    answers: list[httpx.Response] = []

    async def answered() -> bool:
        try:
            answers.append(await system.admin.http.request(method, path, **arguments))
        except httpx.TransportError:
            return False
        return answers[-1].status_code not in (503, 504)

    await wait_until(answered, seconds=60, what=f"{method} {path} is answered", every=0.2)
    assert answers[-1].is_success, answers[-1].text
    return answers[-1].json()


async def _change(system: System) -> dict[str, Any]:
    """The newest change of model."""
    changes: list[dict[str, Any]] = (await _administer(system, "GET", CHANGES))["items"]
    return changes[0]


async def _without_vectors(system: System) -> tuple[int, int, int]:
    """How many chunks there are, and how many of them have no vector of the old model, and of the new one."""
    connection = await asyncpg.connect(role_dsn(system.stack.servers, system.stack.secrets, "embed"))
    try:
        row = await connection.fetchrow(
            "SELECT count(*), count(*) - count(o.chunk_id), count(*) - count(n.chunk_id) FROM embed.chunks"
            " LEFT JOIN embed.embeddings_1 o USING (chunk_id) LEFT JOIN embed.embeddings_2 n USING (chunk_id)"
        )
        assert row is not None
        return tuple(row)
    finally:
        await connection.close()


async def _kill_everything_in_turn(system: System, person: Person, documents: list[str]) -> tuple[int, int]:
    """Kills the next victim each time the previous one works again and at least one count has moved. Half of the documents
    are cancelled before the first kill, some of them waiting and some under way, and tried again after it. Returns the kills
    that happened while documents were still being processed, and while vectors of the new model were being computed."""
    supervisor = system.stack.supervisor
    undecided = {"document_ids": documents[::2]}
    await wait_until(lambda: _in_line(person, documents), seconds=SECONDS, what="documents wait for others", every=0.01)
    assert (await person.call("POST", "/documents/bulk", json={"action": "cancel", **undecided}))["document_ids"]
    before: Any = None
    kills = changing = 0
    for victim in VICTIMS:

        async def moved() -> bool:
            nonlocal before
            states = [await person.document(document) for document in documents]
            if all(state["status"] in {"ready", "failed"} for state in states):
                return True
            counts = [(state["status"], state["progress"]) for state in states]
            changed = counts != before
            before = counts
            return changed

        await wait_until(moved, seconds=SECONDS, what=f"progress before {victim} is killed")
        states = [await person.document(document) for document in documents]
        if any(state["status"] not in {"ready", "failed"} for state in states):
            kills += 1
        changing += (await _change(system))["state"] == "running"
        await supervisor.kill(victim)
        await supervisor.until_ready(victim, timeout=120)
        if victim == VICTIMS[0]:
            assert (await person.call("POST", "/documents/bulk", json={"action": "retry", **undecided}))["document_ids"]
    return kills, changing


async def _in_line(person: Person, documents: list[str]) -> bool:
    """Whether some documents wait for their turn while others are worked on."""
    found = {(await person.document(document))["status"] for document in documents}
    return "queued" in found and bool(found & {"extracting", "embedding"})


async def test_every_document_is_ready_with_the_chunks_of_a_calm_run_after_each_process_was_killed(tmp_path: Path) -> None:
    files = _library()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddingsServer())
        settings = endpoint_settings(server) | {"DOCUTALK_EMBED_ENDPOINT_BATCH": TEXTS_OF_A_REQUEST}
        system = await stack.enter_async_context(running_system(tmp_path / "home", settings))
        calm = await system.register("calm@example.com")
        accepted = await calm.upload(files)
        calm_documents = await calm.until_final([d["id"] for d in accepted], seconds=SECONDS)
        assert {d["status"] for d in calm_documents.values()} == {"ready"}
        expected = await _chunks(system, calm.workspace)
        assert len(expected) == len(files)

        model = {"name": MODEL, "provider": "openai", "dimension": DIMENSION}
        await _administer(system, "POST", "/api/v1/admin/models", json=model)
        server.delay = SECONDS_OF_AN_ANSWER
        await _administer(system, "POST", CHANGES, json={"to_model": MODEL})

        stormy = await system.register("stormy@example.com")
        accepted = await stormy.upload(files)
        ids = [d["id"] for d in accepted]
        kills, changing = await _kill_everything_in_turn(system, stormy, ids)
        assert changing >= 3, f"only {changing} kills hit the change of model: the endpoint is too fast for this machine"
        assert kills >= 4, f"only {kills} kills hit documents in flight: the library is too small for this machine"
        documents = await stormy.until_final(ids, seconds=SECONDS)

        assert {d["filename"]: (d["status"], d["reason"]) for d in documents.values()} == {
            name: ("ready", None) for name, _ in files
        }
        assert await _chunks(system, stormy.workspace) == expected
        await wait_until(lambda: _settled(system), seconds=30, what="outboxes and the work queue are empty")
        await _each_outcome_was_told_once(system, calm.workspace, len(files), CALM_OUTCOMES)
        # Who tries again may be told once more that everything was embedded before.
        await _each_outcome_was_told_once(system, stormy.workspace, len(files), OUTCOMES)
        server.delay = 0.0
        await _the_change_comes_to_its_end(system, stormy)


async def _the_change_comes_to_its_end(system: System, person: Person) -> None:
    async def complete() -> bool:
        return (await _change(system))["state"] == "complete"

    await wait_until(complete, seconds=SECONDS, what="every passage has a vector of the new model")
    chunks, without_old, without_new = await _without_vectors(system)
    assert (without_old, without_new) == (0, 0)

    async def counted() -> bool:
        change = await _change(system)
        return bool(chunks <= change["passages_done"] == change["passages_total"])

    await wait_until(counted, seconds=30, what="the figures of the change are up to date")
    query = {"query": "the harvest of 1907", "mode": "semantic"}
    assert (await person.call("POST", "/search", json=query))["model"] != MODEL
    await _administer(system, "POST", f"{CHANGES}/{(await _change(system))['id']}/switch")
    found = await person.call("POST", "/search", json=query)
    assert found["model"] == MODEL
    assert found["results"]


async def _each_outcome_was_told_once(system: System, workspace: str, files: int, kinds: tuple[str, ...]) -> None:
    nc = await nats.connect(system.stack.servers.nats_url, user=OPERATOR, password=system.stack.secrets.nats[OPERATOR])
    try:
        for kind in kinds:
            events = await event_log.read(nc, EVENTS, f"evt.{kind}.{workspace}.*")
            assert len(events) == files, f"{kind}: {len(events)} events for {files} documents"
    finally:
        await nc.close()
