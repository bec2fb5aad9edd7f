"""A deleted workspace, and a deleted person, are gone from every schema, the object store and the log; receipts say what went."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import asyncpg
import httpx
import nats
from docutalk_common.messaging.streams import DEAD_LETTERS, EVENTS, SCHEDULES, SERVICES, TOKENS, WORK
from docutalk_common.messaging.topology import OPERATOR
from docutalk_common.process import wait_until
from docutalk_common.settings import ServiceSettings
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.pdf import make_pdf
from docutalk_local.environment import DATABASE, service_environment
from docutalk_local.testing.system import Person, System

WORD = "Vermillionfjord"
TEXT = f"The lighthouse of {WORD} has a lamp of nine hundred candles and was built in 1911."
QUESTION = f"When was the lighthouse of {WORD} built?"
# What may stay: that there was an erasure, of what id, who asked for it; and which ids are not to come back.
STAYS = {
    *("gateway.erasures", "gateway.erasure_receipts", "gateway.audit_log"),
    *("ingest.erased_workspaces", "embed.erased_workspaces", "chat.erased"),
    # Names of messages that were handled; they hold no words.
    *(f"{service}.inbox" for service in SERVICES),
}


async def traces_in_postgres(system: System, wanted: Iterable[str]) -> dict[str, int]:
    """How many rows of each table, of every service's schema, hold any of these texts in any column."""
    found: dict[str, int] = {}
    connection = await asyncpg.connect(system.stack.servers.superuser_dsn, database=DATABASE)
    try:
        tables = await connection.fetch(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY($1) ORDER BY 1, 2", list(SERVICES)
        )
        for schema, table in tables:
            statement = f'SELECT count(*) FROM {schema}."{table}" AS r WHERE EXISTS (SELECT FROM unnest($1::text[]) w'
            count = await connection.fetchval(f"{statement} WHERE position(lower(w) IN lower(r::text)) > 0)", list(wanted))
            if count and f"{schema}.{table}" not in STAYS:
                found[f"{schema}.{table}"] = count
    finally:
        await connection.close()
    return found


async def traces_in_the_log(system: System, wanted: Iterable[str]) -> list[str]:
    """The subjects of messages, in every stream, whose subject or payload holds any of these texts."""
    words = [word.lower().encode() for word in wanted]
    nc = await nats.connect(system.stack.servers.nats_url, user=OPERATOR, password=system.stack.secrets.nats[OPERATOR])
    found = []
    try:
        manager = nc.jsm()
        for stream in (EVENTS, WORK, SCHEDULES, TOKENS, DEAD_LETTERS):
            state = (await manager.stream_info(stream)).state
            for sequence in range(max(1, state.first_seq), state.last_seq + 1):
                try:
                    message = await manager.get_msg(stream, sequence)
                except nats.js.errors.NotFoundError:
                    continue
                content = f"{message.subject} ".encode() + (message.data or b"")
                if any(word in content.lower() for word in words):
                    found.append(f"{stream} {message.subject}")
    finally:
        await nc.close()
    return found


async def traces_in_the_bucket(system: System, prefixes: Iterable[str]) -> list[str]:
    """The keys of objects that hold any of these."""
    settings = ServiceSettings.from_environment(service_environment("gateway", system.stack.servers, system.stack.secrets))
    storage = ObjectStorage(settings, threads=1)
    try:
        return [key for key in await storage.keys() if any(prefix in key for prefix in prefixes)]
    finally:
        storage.close()


async def completed(system: System, erasure_id: str) -> dict[str, Any]:
    """The erasure, when every service has given its receipt."""
    erasure: dict[str, Any] = {}

    async def complete() -> bool:
        async with httpx.AsyncClient(base_url=system.stack.url) as http:
            erasure.update((await http.get(f"/api/v1/erasures/{erasure_id}")).json())
        return erasure["status"] == "complete"

    await wait_until(complete, seconds=60, what="the erasure is complete")
    return erasure


async def until_published(system: System, wanted: list[str]) -> None:
    """Returns when no message of these waits: a receipt that has come is taken out of its outbox a moment later."""

    async def published() -> bool:
        return not any(table.endswith(".outbox") for table in await traces_in_postgres(system, wanted))

    await wait_until(published, seconds=30, what="the receipts have left the outboxes")


def removed(erasure: dict[str, Any]) -> dict[str, dict[str, int]]:
    """What each service says that it removed."""
    return {receipt["service"]: receipt["removed"] for receipt in erasure["receipts"]}


async def filled(person: Person, workspace: str) -> dict[str, str]:
    """Something of everything that a workspace can hold; the ids of it."""
    there = Person(person.http, workspace)
    [accepted] = await there.upload([(f"{WORD}.pdf", make_pdf([TEXT]))])
    note = {"kind": "text", "name": f"Notes of {WORD}", "config": {"title": WORD, "text": f"{WORD} lies in the north."}}
    source = await there.call("POST", "/sources", json={**note, "schedule": {"every_seconds": 3600}})
    await there.until_final([accepted["id"]], seconds=60)

    async def is_collected() -> bool:
        found = await there.call("GET", f"/documents?source_id={source['id']}")
        return [document["status"] for document in found["items"]] == ["ready"]

    await wait_until(is_collected, seconds=60, what="the source brought its document")
    await there.call("GET", f"/documents/{accepted['id']}/pages/1/boxes?start=0&end=5")
    answer = await there.ask(QUESTION)
    assert answer["citations"], answer
    await there.call("PATCH", "/search/settings", json={"semantic_weight": 0.4})
    await there.call("PATCH", "/chat/settings", json={"passages": 7})
    await there.call("POST", "/shares", json={"target": {"kind": "workspace"}, "permissions": ["view"], "name": f"Of {WORD}"})
    await there.call("POST", "/invitations", json={"role": "viewer"})
    return {"document": accepted["id"], "source": source["id"], "session": answer["session_id"], "answer": answer["message_id"]}


async def test_deleted_workspace_is_gone_everywhere_and_others_stay(shared_system: System) -> None:
    person = await shared_system.register("leaver@example.com")
    made = await person.http.post("/api/v1/workspaces", json={"name": f"All of {WORD}"}, headers={"Idempotency-Key": WORD})
    workspace = made.json()["id"]
    ids = await filled(person, workspace)
    kept = await filled(person, person.workspace)
    wanted = [workspace, *ids.values()]
    assert len(await traces_in_postgres(shared_system, wanted)) > 10
    assert await traces_in_the_bucket(shared_system, [workspace])
    assert await traces_in_the_log(shared_system, [workspace])

    answer = await person.http.delete(f"/api/v1/workspaces/{workspace}")
    assert answer.status_code == 202, answer.text
    for path in ("", "/documents", f"/documents/{ids['document']}/content", "/chat/sessions", "/members"):
        assert (await person.http.get(f"/api/v1/workspaces/{workspace}{path}")).status_code == 404
    erasure = await completed(shared_system, answer.json()["id"])

    assert set(removed(erasure)) == set(SERVICES)
    assert removed(erasure)["ingest"]["documents"] == 2
    assert removed(erasure)["ingest"]["objects"] >= 2
    assert removed(erasure)["chat"]["sessions"] == 1
    await until_published(shared_system, wanted)
    assert await traces_in_postgres(shared_system, wanted) == {}
    assert await traces_in_the_bucket(shared_system, [workspace]) == []
    assert await traces_in_the_log(shared_system, wanted) == []
    # Of the other workspace, whose content is the same, nothing is missing.
    assert [hit["document_id"] for hit in await person.search(QUESTION)][:1] == [kept["document"]]
    messages = await person.call("GET", f"/chat/sessions/{kept['session']}/messages")
    assert messages["items"][-1]["citations"]
    content = await person.http.get(f"/api/v1/workspaces/{person.workspace}/documents/{kept['document']}/content")
    assert content.status_code == 200


async def test_deleted_person_is_gone_everywhere_and_what_they_gave_to_others_stays(shared_system: System) -> None:
    colleague = await shared_system.register("stayer@example.com")
    first_email, email = "first.of.vermillionfjord@example.com", "goner.of.vermillionfjord@example.com"
    invitation = await colleague.call("POST", "/invitations", json={"role": "editor", "email": first_email})
    person = await shared_system.register(first_email)
    me = (await person.http.get("/api/v1/users/me")).json()
    joined = await person.http.post(f"/api/v1/invited/{invitation['token']}/accept")
    assert joined.is_success, joined.text
    change = {"email": email, "current_password": "a long enough password"}
    assert (await person.http.patch("/api/v1/users/me", json=change)).is_success
    own = await filled(person, person.workspace)
    shared = Person(person.http, colleague.workspace)
    [given] = await shared.upload([("given.pdf", make_pdf(["The ferry to the island goes at nine."]))])
    await shared.until_final([given["id"]], seconds=60)
    asked = await shared.ask(f"What has {WORD} to do with the ferry?")
    key = (await person.http.post("/api/v1/users/me/api-keys", json={"name": WORD})).json()["key"]

    answer = await person.http.request("DELETE", "/api/v1/users/me", json={"password": "a long enough password"})
    assert answer.status_code == 202, answer.text
    assert (await person.http.get("/api/v1/users/me")).status_code == 401
    async with httpx.AsyncClient(base_url=shared_system.stack.url, headers={"Authorization": f"Bearer {key}"}) as program:
        assert (await program.get("/api/v1/workspaces")).status_code == 401
    erasure = await completed(shared_system, answer.json()["id"])

    assert set(removed(erasure)) == set(SERVICES)
    # Those of their own workspace are counted here or with that, whichever chat hears of first.
    assert removed(erasure)["chat"]["sessions"] in {1, 2}
    wanted = [me["id"], first_email, email, person.workspace, *own.values(), asked["session_id"], asked["message_id"]]
    await until_published(shared_system, wanted)
    assert await traces_in_postgres(shared_system, wanted) == {}
    assert await traces_in_the_bucket(shared_system, [person.workspace]) == []
    assert await traces_in_the_log(shared_system, [person.workspace, WORD + " to do with"]) == []
    assert (await colleague.document(given["id"]))["status"] == "ready"
    again = await shared_system.register(first_email)
    assert (await again.http.get("/api/v1/users/me")).json()["id"] != me["id"]
