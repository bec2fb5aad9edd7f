"""Everything is killed while documents are processed, and nothing is lost, doubled or stuck."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import asyncpg
import nats
import pytest
from docutalk_common.messaging import event_log
from docutalk_common.messaging.streams import EVENTS, SERVICES, WORK
from docutalk_common.process import wait_until
from docutalk_common.testing.pdf import make_pdf
from docutalk_local.environment import role_dsn
from docutalk_local.home import OPERATOR
from docutalk_local.testing.system import Person, System, running_system

pytestmark = pytest.mark.faults

VICTIMS = ("ingest", "embed", "nats", "gateway", "postgres", "chat", "storage")
SECONDS = 240.0
OUTCOMES = ("gateway.v1.document.uploaded", "ingest.v1.document.ready")
CALM_OUTCOMES = (*OUTCOMES, "embed.v1.document.indexed")


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


async def _kill_everything_in_turn(system: System, person: Person, documents: list[str]) -> int:
    """Kills the next victim each time the previous one works again and at least one count has moved. Half of the documents
    are cancelled before the first kill, some of them waiting and some under way, and tried again after it. Returns the kills
    that happened while documents were still being processed."""
    supervisor = system.stack.supervisor
    undecided = {"document_ids": documents[::2]}
    await wait_until(lambda: _in_line(person, documents), seconds=SECONDS, what="documents wait for others", every=0.01)
    assert (await person.call("POST", "/documents/bulk", json={"action": "cancel", **undecided}))["document_ids"]
    before: Any = None
    kills = 0
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
        await supervisor.kill(victim)
        await supervisor.until_ready(victim, timeout=60)
        if victim == VICTIMS[0]:
            assert (await person.call("POST", "/documents/bulk", json={"action": "retry", **undecided}))["document_ids"]
    return kills


async def _in_line(person: Person, documents: list[str]) -> bool:
    """Whether some documents wait for their turn while others are worked on."""
    found = {(await person.document(document))["status"] for document in documents}
    return "queued" in found and bool(found & {"extracting", "embedding"})


async def test_every_document_is_ready_with_the_chunks_of_a_calm_run_after_each_process_was_killed(tmp_path: Path) -> None:
    files = _library()
    async with running_system(tmp_path / "home") as system:
        calm = await system.register("calm@example.com")
        accepted = await calm.upload(files)
        calm_documents = await calm.until_final([d["id"] for d in accepted], seconds=SECONDS)
        assert {d["status"] for d in calm_documents.values()} == {"ready"}
        expected = await _chunks(system, calm.workspace)
        assert len(expected) == len(files)

        stormy = await system.register("stormy@example.com")
        accepted = await stormy.upload(files)
        ids = [d["id"] for d in accepted]
        kills = await _kill_everything_in_turn(system, stormy, ids)
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


async def _each_outcome_was_told_once(system: System, workspace: str, files: int, kinds: tuple[str, ...]) -> None:
    nc = await nats.connect(system.stack.servers.nats_url, user=OPERATOR, password=system.stack.secrets.nats[OPERATOR])
    try:
        for kind in kinds:
            events = await event_log.read(nc, EVENTS, f"evt.{kind}.{workspace}.*")
            assert len(events) == files, f"{kind}: {len(events)} events for {files} documents"
    finally:
        await nc.close()
