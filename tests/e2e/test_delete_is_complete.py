"""A deleted document is gone from every service, and its timeline holds a receipt from each of them."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from docutalk_common.process import wait_until
from docutalk_common.settings import ServiceSettings
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.pdf import make_pdf
from docutalk_local.environment import role_dsn, service_environment
from docutalk_local.testing.system import Person, System

RECEIPTS = ("document.erased", "document.unindexed", "document.uncited")
HELD = {
    "ingest": ("pages", "units", "versions", "batches", "renderings"),
    "embed": ("chunks", "index_batches", "mentions", "document_names"),
}
QUESTION = "When did the observatory at Kestrel Ridge open?"


async def rows(system: System, document_id: str) -> dict[str, int]:
    """How many rows of a document each table of ingest and embed has, where there are any; those with vectors, one for each
    model, count as one."""
    found: dict[str, int] = {}
    for service, tables in HELD.items():
        connection = await asyncpg.connect(role_dsn(system.stack.servers, system.stack.secrets, service))
        try:
            vectors = await connection.fetch("SELECT tablename FROM pg_tables WHERE tablename LIKE 'embeddings\\_%'")
            for table in (*tables, *(row["tablename"] for row in vectors if service == "embed")):
                statement = f"SELECT count(*) FROM {service}.{table} WHERE document_id = $1"
                if count := await connection.fetchval(statement, document_id):
                    name = f"{service}.{table.rstrip('_0123456789')}"
                    found[name] = found.get(name, 0) + count
        finally:
            await connection.close()
    return found


async def objects(system: System, person: Person, document_id: str) -> list[str]:
    """The keys under a document's prefix in the object store."""
    settings = ServiceSettings.from_environment(service_environment("ingest", system.stack.servers, system.stack.secrets))
    storage = ObjectStorage(settings, threads=1)
    try:
        return await storage.keys(f"{person.workspace}/{document_id}/")
    finally:
        storage.close()


async def receipts(person: Person, document_id: str) -> dict[str, Any]:
    """The receipts in the timeline, by event."""
    timeline = await person.call("GET", f"/documents/{document_id}/events")
    return {item["event"]: item["data"] for item in timeline["items"] if item["event"] in RECEIPTS}


async def test_deleted_document_leaves_its_quotes_and_three_receipts_and_nothing_else(shared_system: System) -> None:
    person = await shared_system.register("forgetful@example.com")
    pages = ["Preface of a report on the hill.", "The observatory at Kestrel Ridge opened in 1974 with a mirror of two metres."]
    [accepted] = await person.upload([("observatory.pdf", make_pdf(pages))])
    document_id = accepted["id"]
    [document] = (await person.until_final([document_id], seconds=60)).values()
    assert document["status"] == "ready"
    answer = await person.ask(QUESTION)
    [citation] = [citation for citation in answer["citations"] if "1974" in citation["quote"]]
    assert citation["source_deleted_at"] is None
    assert {"ingest.pages", "embed.chunks", "embed.embeddings"} <= set(await rows(shared_system, document_id))
    assert len(await objects(shared_system, person, document_id)) == 1

    await person.call("DELETE", f"/documents/{document_id}")

    async def told() -> bool:
        return len(await receipts(person, document_id)) == len(RECEIPTS)

    await wait_until(told, seconds=30, what="the three receipts are there")
    found = await receipts(person, document_id)
    assert found["document.erased"]["objects"] == 1
    assert found["document.erased"]["pages"] == 2
    assert found["document.unindexed"]["chunks"] == document["chunk_count"]
    assert found["document.uncited"]["citations"] == len(answer["citations"])
    assert await rows(shared_system, document_id) == {}
    assert await objects(shared_system, person, document_id) == []
    assert await person.search(QUESTION) == []
    for path in (f"/documents/{document_id}", f"/documents/{document_id}/pages/2", f"/documents/{document_id}/content"):
        with pytest.raises(AssertionError, match=": 404 "):
            await person.call("GET", path)
    messages = await person.call("GET", f"/chat/sessions/{answer['session_id']}/messages")
    kept = messages["items"][-1]["citations"]
    assert [item["quote"] for item in kept] == [item["quote"] for item in answer["citations"]]
    assert all(item["source_deleted_at"] for item in kept)
    assert (await person.ask(QUESTION))["citations"] == []


async def test_document_that_is_deleted_while_it_is_processed_leaves_nothing(shared_system: System) -> None:
    person = await shared_system.register("hasty@example.com")
    text = "\n\n".join(f"Paragraph {n} of the log tells of pump {n} and of the harbour." for n in range(3000))
    accepted = await person.upload([(f"log-{n}.txt", f"{n}\n{text}".encode()) for n in range(3)])
    ids = [document["id"] for document in accepted]
    await asyncio.gather(*(person.call("DELETE", f"/documents/{document_id}") for document_id in ids))

    async def gone() -> bool:
        found = [await receipts(person, document_id) for document_id in ids]
        return all(len(item) == len(RECEIPTS) for item in found)

    await wait_until(gone, seconds=30, what="the receipts are there")
    for document_id in ids:
        await wait_until(lambda wanted=document_id: _nothing(shared_system, person, wanted), seconds=30, what="nothing is left")


async def _nothing(system: System, person: Person, document_id: str) -> bool:
    return not await rows(system, document_id) and not await objects(system, person, document_id)
