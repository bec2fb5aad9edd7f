"""What is deleted is gone everywhere: here at once, in the other services by their receipts, and then in the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from docutalk_common.contracts import chat, embed, ingest
from docutalk_common.contracts.envelope import Envelope, ErasureReceipt, uuid7
from docutalk_common.contracts.gateway import NO_WORKSPACE, MessagePosted, UserDeleted, WorkspaceDeleted
from docutalk_common.db import Cause
from docutalk_common.errors import NotFound
from docutalk_common.messaging import event_log
from docutalk_common.messaging.streams import DEAD_LETTERS, EVENTS, SCHEDULES, TOKENS
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.erasure_repository import hold_workspace
from docutalk_gateway.adapters.models import AuditEntry, Import, Invitation, PostedMessage, Share, Upload
from docutalk_gateway.domain import Role
from docutalk_gateway.use_cases.accept_upload import UploadRequest
from docutalk_gateway.use_cases.sweep_expired import sweep_expired
from sqlalchemy import select, text

from .leftovers import messages_with, subjects_with, tables_with

ADMIN = ("admin@docutalk.local", "correct horse battery staple")
PASSWORD = "a long enough password"
PLANTED = "quetzalcoatl"
RECEIPTS: dict[str, type[ErasureReceipt]] = {
    "ingest": ingest.DataErased,
    "embed": embed.DataErased,
    "chat": chat.DataErased,
}


@pytest.fixture
async def wire(stack: Any) -> AsyncIterator[Wire]:
    """The operator's connection."""
    wire = await Wire.connect(stack.nats_operator)
    yield wire
    await wire.nc.close()


@dataclass
class Others:
    """Stands in for the services behind: sends their receipts, and looks at what they would have been told."""

    wire: Wire
    http: Any

    async def told(self, subject: str) -> list[dict[str, Any]]:
        """The data of events in the log."""
        stored = await event_log.read(self.wire.nc, EVENTS, subject)
        return [Envelope.model_validate_json(item.data).data for item in stored]

    async def confirm(self, erasure_id: str, workspace_id: UUID, *services: str, **fields: Any) -> None:
        """Sends receipts, of all services unless some are named."""
        for service in services or tuple(RECEIPTS):
            about = {"workspace_id": workspace_id, "erasure_id": erasure_id, "removed": {"things": 2}}
            await self.wire.send(envelope_for(RECEIPTS[service](**{**about, **fields})))

    async def state(self, erasure_id: str) -> dict[str, Any]:
        """The erasure as anybody sees it who has its id."""
        answer = await self.http.get(f"/api/v1/erasures/{erasure_id}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def until(self, erasure_id: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Waits for a state of the erasure."""

        async def so() -> bool:
            return holds(await self.state(erasure_id))

        await wait_until(so, seconds=15, what=f"the erasure {erasure_id} comes so far")
        return await self.state(erasure_id)

    async def until_complete(self, erasure_id: str) -> dict[str, Any]:
        """Waits for the end."""
        return await self.until(erasure_id, lambda state: state["status"] == "complete")


@pytest.fixture
async def others(gateway: Any, wire: Wire) -> Others:
    """The services behind the gateway."""
    return Others(wire, await gateway.client())


async def plant(gateway: Any, person: Any, wire: Wire) -> None:
    """Leaves a word, or an id, in everything that can hold one of a workspace."""
    workspace, soon = person.workspace, datetime.now(UTC) + timedelta(hours=1)
    path = f"/api/v1/workspaces/{workspace}"
    renamed = await person.http.patch(path, json={"name": PLANTED, "description": PLANTED, "system_prompt": PLANTED})
    assert renamed.status_code == 200
    assert (await person.upload((f"{PLANTED}.txt", PLANTED.encode()), headers={"Idempotency-Key": "one"})).status_code == 202
    asked = await person.http.post(f"{path}/chat", json={"message": PLANTED}, headers={"Idempotency-Key": PLANTED})
    assert asked.status_code == 200, asked.text
    async with gateway.db.transaction(Cause.new()) as tx:
        tx.session.add(
            Invitation(
                id=uuid7(),
                token_hash=uuid7().bytes,
                email=f"{PLANTED}@example.com",
                workspace_id=workspace,
                role="viewer",
                invited_by=person.id,
                expires_at=soon,
            )
        )
        share = Share(id=uuid7(), workspace_id=workspace, name=PLANTED, target="workspace", target_id=workspace, hint="x")
        share.permissions, share.token_hash, share.created_by = ["view"], uuid7().bytes, person.id
        tx.session.add(share)
    await plant_in_streams(wire, workspace)


async def plant_in_streams(wire: Wire, workspace: UUID) -> None:
    """Messages of every kind about a workspace."""
    await wire.send(envelope_for(ingest.ExtractDocument(workspace_id=workspace, document_id=uuid7())))
    due = ingest.SourceDue(workspace_id=workspace, source_id=uuid7())
    await wire.send(envelope_for(due))
    schedule = {"Nats-Schedule": "@at 2099-01-01T00:00:00Z", "Nats-Schedule-Target": due.subject()}
    await wire.js.publish(f"sch.{due.subject().partition('.')[2]}", b"{}", stream=SCHEDULES, headers=schedule)
    await wire.js.publish(f"tok.{workspace}.{uuid7()}", PLANTED.encode(), stream=TOKENS)
    for document in (str(uuid7()), "none"):
        subject = f"dlq.ingest.ingest-document-extract.{workspace}.{document}"
        await wire.js.publish(subject, PLANTED.encode(), stream=DEAD_LETTERS)


async def test_deleted_workspace_is_gone_from_every_table_the_log_and_the_object_store(
    gateway: Any, others: Others, wire: Wire, chat_service: Any
) -> None:
    person = await gateway.person()
    made = await person.http.post("/api/v1/workspaces", json={"name": PLANTED}, headers={"Idempotency-Key": "made"})
    home, person.workspace = person.workspace, UUID(made.json()["id"])
    await plant(gateway, person, wire)
    words = [str(person.workspace), PLANTED]
    before = await subjects_with(wire.js, words)
    assert {subject.partition(".")[0] for subject in before} == {"evt", "work", "sch", "due", "tok", "dlq"}

    answer = await person.http.delete(f"/api/v1/workspaces/{person.workspace}")
    assert answer.status_code == 202, answer.text
    begun = answer.json()
    assert answer.headers["location"] == f"/api/v1/erasures/{begun['id']}"
    assert (begun["kind"], begun["status"], begun["waiting_for"]) == ("workspace", "pending", ["ingest", "embed", "chat"])
    [own] = begun["receipts"]
    counts = {"members": 1, "invitations": 1, "shares": 1, "uploads": 1, "questions": 1, "imports": 0, "stored_answers": 2}
    assert own == {"service": "gateway", "removed": counts}
    assert (await person.http.get(f"/api/v1/workspaces/{person.workspace}")).status_code == 404
    assert (await person.http.delete(f"/api/v1/workspaces/{person.workspace}")).status_code == 404

    async def is_told() -> bool:
        return len(await others.told(f"evt.gateway.v1.workspace.deleted.{person.workspace}.>")) == 1

    await wait_until(is_told, seconds=10, what="the event is in the log")

    async def is_gone() -> bool:  # the event itself leaves the outbox a moment later
        return await tables_with(gateway.db, words, but={"erasures", "erasure_receipts", "audit_log"}) == {}

    await wait_until(is_gone, seconds=10, what="no table has it any more")

    await others.confirm(begun["id"], person.workspace)
    state = await others.until_complete(begun["id"])
    assert {receipt["service"]: receipt["removed"] for receipt in state["receipts"]} == {
        "gateway": {**counts, "objects": 1},
        **{service: {"things": 2} for service in RECEIPTS},
    }
    assert await subjects_with(wire.js, words) == []
    assert await messages_with(wire.js, EVENTS, [PLANTED]) == []
    assert await gateway.storage.keys(f"{person.workspace}/") == []
    assert await tables_with(gateway.db, [PLANTED]) == {}
    assert set(await tables_with(gateway.db, words)) == {"audit_log"}
    assert (await person.http.get("/api/v1/users/me")).json()["default_workspace_id"] == str(home)


async def test_other_workspaces_keep_everything(gateway: Any, person: Any, others: Others, wire: Wire) -> None:
    other = UUID((await person.http.post("/api/v1/workspaces", json={"name": "Other"})).json()["id"])
    for workspace in (person.workspace, other):
        await plant_in_streams(wire, workspace)
    kept = await subjects_with(wire.js, [str(other)])
    assert len(kept) == 6
    begun = (await person.http.delete(f"/api/v1/workspaces/{person.workspace}")).json()
    await others.confirm(begun["id"], person.workspace)
    await others.until_complete(begun["id"])
    assert await subjects_with(wire.js, [str(person.workspace)]) == []
    assert await subjects_with(wire.js, [str(other)]) == kept


async def test_log_keeps_the_deletion_until_every_service_has_given_all_parts_of_its_receipt(person: Any, others: Others) -> None:
    begun = (await person.http.delete(f"/api/v1/workspaces/{person.workspace}")).json()
    subject = f"evt.gateway.v1.workspace.deleted.{person.workspace}.>"

    async def is_told() -> bool:
        return len(await others.told(subject)) == 1

    await wait_until(is_told, seconds=10, what="the event is in the log")
    await others.confirm(begun["id"], person.workspace, "ingest", "embed")
    await others.confirm(begun["id"], person.workspace, "chat", part=2, parts=2)
    await others.confirm(begun["id"], person.workspace, "chat", part=2, parts=2)
    state = await others.until(begun["id"], lambda state: len(state["receipts"]) == 4)
    assert (state["status"], state["waiting_for"]) == ("pending", ["chat"])
    assert await is_told()
    await others.confirm(begun["id"], person.workspace, "chat", part=1, parts=2)
    state = await others.until_complete(begun["id"])
    assert {"service": "chat", "removed": {"things": 4}} in state["receipts"]
    assert not await is_told()


async def test_workspace_is_deleted_by_its_owner_in_person(gateway: Any, person: Any) -> None:
    path = f"/api/v1/workspaces/{person.workspace}"
    editor = await gateway.person()
    async with gateway.db.transaction(Cause.new()) as tx:
        await repository.add_member(tx.session, person.workspace, editor.id, Role.EDITOR)
    assert (await editor.http.delete(path)).status_code == 403
    key = (await person.http.post("/api/v1/users/me/api-keys", json={"name": "k"})).json()["key"]
    assert (await person.http.delete(path, headers={"Authorization": f"Bearer {key}"})).status_code == 403
    assert (await person.http.get(path)).status_code == 200


async def test_erasure_is_shown_to_whoever_has_its_id(others: Others) -> None:
    assert (await others.http.get(f"/api/v1/erasures/{uuid7()}")).status_code == 404


async def test_upload_that_is_on_its_way_when_its_workspace_is_deleted_becomes_nothing(gateway: Any, person: Any) -> None:
    async def data() -> AsyncIterator[bytes]:
        yield b"late"

    upload = UploadRequest(gateway.storage, gateway.db, workspace_id=person.workspace, max_bytes=100)
    await upload.add("a.txt", data())
    assert (await person.http.delete(f"/api/v1/workspaces/{person.workspace}")).status_code == 202
    with pytest.raises(NotFound):
        await upload.commit(Cause.new(), uploaded_by=person.id, auto_classify=True)
    await upload.discard()
    assert await gateway.storage.keys(f"{person.workspace}/") == []
    assert await tables_with(gateway.db, [str(person.workspace)], but={"erasures", "audit_log", "outbox"}) == {}


async def test_deletion_waits_for_what_is_being_added_and_removes_it(gateway: Any, person: Any) -> None:
    """An upload and a question, in transactions that have looked at the workspace and not ended yet."""

    async def waits() -> bool:
        async with gateway.db.read() as session:
            return bool(await session.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")))

    async with gateway.db.transaction(Cause.new()) as tx:
        assert await hold_workspace(tx.session, person.workspace, person.id) is not None
        deleting = asyncio.create_task(person.http.delete(f"/api/v1/workspaces/{person.workspace}"))
        await wait_until(waits, seconds=10, what="the deletion waits")
        row = Upload(document_id=uuid7(), workspace_id=person.workspace, uploaded_by=person.id, filename="a", size=1)
        row.content_type, row.sha256, row.object_key = "text/plain", "0" * 64, f"{person.workspace}/x"
        await repository.add_upload(tx.session, row)
        asked = PostedMessage(answer_id=uuid7(), message_id=uuid7(), session_id=uuid7(), workspace_id=person.workspace)
        asked.user_id, asked.fingerprint = person.id, b""
        await repository.add_posted_message(tx.session, asked)
    answer = await deleting
    assert answer.status_code == 202
    removed = answer.json()["receipts"][0]["removed"]
    assert (removed["uploads"], removed["questions"]) == (1, 1)


async def test_uploads_and_questions_that_race_a_deletion_leave_nothing(
    gateway: Any, person: Any, others: Others, chat_service: Any, wire: Wire
) -> None:
    path = f"/api/v1/workspaces/{person.workspace}"
    racing = [person.upload((f"{i}.txt", b"%d" % i)) for i in range(6)]
    racing += [person.http.post(f"{path}/chat", json={"message": "What?"}) for _ in range(6)]
    racing.insert(6, person.http.delete(path))
    answers = await asyncio.gather(*racing)
    assert {answer.status_code for answer in answers} <= {200, 202, 404}
    [begun] = [answer.json() for answer in answers if "waiting_for" in answer.json()]
    assert await tables_with(gateway.db, [str(person.workspace)], but={"erasures", "audit_log", "outbox"}) == {}

    async def is_told() -> bool:
        return len(await others.told(f"evt.gateway.v1.workspace.deleted.{person.workspace}.>")) == 1

    await wait_until(is_told, seconds=10, what="the event is in the log")
    await others.confirm(begun["id"], person.workspace)
    await others.until_complete(begun["id"])
    assert await subjects_with(wire.js, [str(person.workspace)]) == []
    assert await gateway.storage.keys(f"{person.workspace}/") == []


# Users -----------------------------------------------------------------------------------------------------------


async def delete_me(person: Any, password: str | None = PASSWORD) -> Any:
    """Deletes the account."""
    body = {} if password is None else {"password": password}
    return await person.http.request("DELETE", "/api/v1/users/me", json=body)


async def test_deleted_user_is_gone_with_their_own_workspaces_and_nameless_in_those_of_others(
    gateway: Any, person: Any, others: Others, wire: Wire, chat_service: Any
) -> None:
    http, email = await gateway.client(), f"{uuid7()}@example.com"
    registration = {"email": email, "password": PASSWORD, "display_name": PLANTED}
    await http.post("/api/v1/auth/register", json=registration, headers={"Idempotency-Key": "registered"})
    guest = await gateway.sign_in(email)
    own = guest.workspace
    async with gateway.db.transaction(Cause.new()) as tx:
        await repository.add_member(tx.session, person.workspace, guest.id, Role.EDITOR)
    key = (await guest.http.post("/api/v1/users/me/api-keys", json={"name": PLANTED})).json()["key"]
    await plant(gateway, guest, wire)
    guest.workspace = person.workspace
    assert (await guest.upload(("shared.txt", b"shared"))).status_code == 202
    path = f"/api/v1/workspaces/{person.workspace}"
    for who, words in ((guest, PLANTED), (person, "kept")):
        assert (await who.http.post(f"{path}/chat", json={"message": words})).status_code == 200
    async with gateway.db.transaction(Cause.new()) as tx:
        for accepted_by, email in ((guest.id, None), (None, guest.email)):
            invitation = Invitation(id=uuid7(), token_hash=uuid7().bytes, email=email, workspace_id=person.workspace)
            invitation.role, invitation.invited_by, invitation.accepted_by = "viewer", person.id, accepted_by
            invitation.expires_at = datetime.now(UTC) + timedelta(hours=1)
            tx.session.add(invitation)

    assert len(await messages_with(wire.js, EVENTS, [PLANTED])) == 3, "two questions and an upload"
    answer = await delete_me(guest)
    assert answer.status_code == 202, answer.text
    begun = answer.json()
    assert (begun["kind"], begun["status"], len(begun["children"])) == ("user", "pending", 1)
    assert (await guest.http.get("/api/v1/users/me")).status_code == 401
    with_key = {"Authorization": f"Bearer {key}"}
    assert (await others.http.get("/api/v1/users/me", headers=with_key)).status_code == 401
    again = await others.http.post("/api/v1/auth/refresh", json={"refresh_token": guest.refresh_token})
    assert again.status_code == 401
    login = {"email": guest.email, "password": PASSWORD}
    assert (await others.http.post("/api/v1/auth/login", json=login)).status_code == 401
    async with gateway.db.read() as session:
        [uploaded_by] = await session.scalars(select(Upload.uploaded_by).where(Upload.workspace_id == person.workspace))
        [accepted_by] = await session.scalars(select(Invitation.accepted_by).where(Invitation.workspace_id == person.workspace))
        traces = await session.execute(select(AuditEntry.address, AuditEntry.user_agent).where(AuditEntry.actor_id == guest.id))
    assert uploaded_by == accepted_by == UUID(int=0)
    assert {tuple(trace) for trace in traces} == {(None, None)}

    [child] = begun["children"]
    await others.confirm(begun["id"], NO_WORKSPACE)
    state = await others.until(begun["id"], lambda state: state["waiting_for"] == [])
    assert state["status"] == "pending", "its workspace is not erased yet"
    await others.confirm(child, own)
    await others.until_complete(child)
    state = await others.until_complete(begun["id"])
    assert {receipt["service"] for receipt in state["receipts"]} == {"gateway", *RECEIPTS}
    kept_ids = {"erasures", "erasure_receipts", "audit_log"}
    assert await tables_with(gateway.db, [str(guest.id), guest.email, PLANTED], but=kept_ids) == {}
    assert await tables_with(gateway.db, [guest.email, PLANTED]) == {}
    assert await subjects_with(wire.js, [str(guest.id), str(own), begun["id"]]) == []
    assert await messages_with(wire.js, EVENTS, [PLANTED]) == []
    answers = [str(posted.answer_id) for posted in chat_service.posted if posted.user_id == guest.id]
    assert len(answers) == 2
    assert await messages_with(wire.js, TOKENS, answers) == []
    [kept] = await others.told(f"{MessagePosted.subject_filter().removesuffix('*.*')}{person.workspace}.*")
    assert kept["text"] == "kept"
    assert (await person.http.get(path)).status_code == 200


async def test_words_that_a_receipt_names_are_purged_and_others_stay(
    gateway: Any, person: Any, others: Others, wire: Wire
) -> None:
    """Questions of weeks ago, which only chat knows."""
    guest = await gateway.person()
    questions = [
        MessagePosted(
            workspace_id=person.workspace,
            message_id=uuid7(),
            answer_id=uuid7(),
            session_id=uuid7(),
            user_id=who.id,
            text=PLANTED,
        )
        for who in (guest, guest, person)
    ]
    for question in questions:
        await wire.send(envelope_for(question))
    begun = (await delete_me(guest)).json()
    named = [f"evt.gateway.v1.message.posted.*.{question.message_id}" for question in questions[:2]]
    for part, subject in enumerate(named, start=1):
        await others.confirm(begun["id"], NO_WORKSPACE, "chat", part=part, parts=2, subjects=[subject])
    await others.confirm(begun["id"], NO_WORKSPACE, "ingest", "embed")
    await others.confirm(begun["children"][0], guest.workspace)
    await others.until_complete(begun["id"])
    assert await messages_with(wire.js, EVENTS, [PLANTED]) == [questions[2].subject()]
    await wire.js.purge_stream(EVENTS)


async def test_words_of_a_deleted_conversation_and_of_a_question_that_was_given_up_on_are_purged(
    gateway: Any, person: Any, others: Others, wire: Wire, chat_service: Any
) -> None:
    """Chat knows nothing of them any more when the person goes, weeks later."""
    guest = await gateway.person()
    async with gateway.db.transaction(Cause.new()) as tx:
        await repository.add_member(tx.session, person.workspace, guest.id, Role.VIEWER)
    path = f"/api/v1/workspaces/{person.workspace}/chat"
    headers = {"Idempotency-Key": "three weeks ago"}
    assert (await guest.http.post(path, json={"message": PLANTED}, headers=headers)).status_code == 200
    [asked] = [posted for posted in chat_service.posted if posted.user_id == guest.id]
    named = uuid7()
    about = {"message_id": asked.message_id, "answer_id": asked.answer_id, "session_id": asked.session_id}
    await wire.send(envelope_for(chat.AnswerStarted(workspace_id=person.workspace, **about)))
    for message_id in (asked.message_id, named):
        subject = f"dlq.chat.chat-message-posted.{person.workspace}.{message_id}"
        await wire.js.publish(subject, PLANTED.encode(), stream=DEAD_LETTERS)
    async with gateway.db.transaction(Cause.new()) as tx:
        weeks = "UPDATE posted_messages SET created_at = now() - interval '21 days' WHERE user_id = :id"
        await tx.session.execute(text(weeks), {"id": guest.id})
    await sweep_expired(gateway.db)
    assert (await guest.http.post(path, json={"message": "another"}, headers=headers)).status_code == 200, "the key is free again"
    begun = (await delete_me(guest)).json()
    subject = f"evt.gateway.v1.message.posted.*.{named}"
    await others.confirm(begun["id"], NO_WORKSPACE, "chat", subjects=[subject])
    await others.confirm(begun["id"], NO_WORKSPACE, "ingest", "embed")
    await others.confirm(begun["children"][0], guest.workspace)
    await others.until_complete(begun["id"])
    assert await messages_with(wire.js, EVENTS, [PLANTED]) == []
    assert await subjects_with(wire.js, [f"dlq.chat.chat-message-posted.{person.workspace}", str(asked.answer_id)]) == []


@pytest.mark.parametrize("subject", [">", "evt.>", "evt.gateway.v1.message.posted.*.*", "tok.*.*"])
async def test_receipt_that_would_purge_more_than_one_thing_is_a_dead_letter(
    gateway: Any, person: Any, others: Others, wire: Wire, subject: str
) -> None:
    begun = (await person.http.delete(f"/api/v1/workspaces/{person.workspace}")).json()
    await others.confirm(begun["id"], person.workspace, "chat", subjects=[subject])

    async def buried() -> bool:
        return bool(await subjects_with(wire.js, [f"dlq.gateway.gateway-chat-erased.{person.workspace}"]))

    await wait_until(buried, seconds=10, what="the receipt is a dead letter")
    assert "chat" in (await others.state(begun["id"]))["waiting_for"]


async def test_account_is_deleted_with_its_password_only(gateway: Any, person: Any) -> None:
    guest = await gateway.person()
    assert (await delete_me(guest, None)).status_code == 422
    wrong = await delete_me(guest, "another long password")
    assert (wrong.status_code, wrong.json()["type"]) == (403, "urn:docutalk:problem:wrong_password")
    assert (await guest.http.get("/api/v1/users/me")).status_code == 200
    key = (await guest.http.post("/api/v1/users/me/api-keys", json={"name": "k"})).json()["key"]
    with_key = {"Authorization": f"Bearer {key}"}
    refused = await guest.http.request("DELETE", "/api/v1/users/me", json={"password": PASSWORD}, headers=with_key)
    assert refused.status_code == 403


async def test_archive_that_a_deleted_user_sent_is_deleted(gateway: Any) -> None:
    async def data() -> AsyncIterator[bytes]:
        yield b"all that somebody had elsewhere"

    guest, key = await gateway.person(), f"imports/{uuid7()}.zip"
    await gateway.storage.upload_stream(key, data(), content_type="application/zip")
    async with gateway.db.transaction(Cause.new()) as tx:
        tx.session.add(Import(id=uuid7(), user_id=guest.id, object_key=key, size=31, status="done"))
    assert (await delete_me(guest)).status_code == 202
    assert await gateway.storage.keys(key) == []


async def test_account_without_a_password_is_deleted_without_one(gateway: Any) -> None:
    guest = await gateway.person()
    async with gateway.db.transaction(Cause.new()) as tx:
        user = await repository.user_by_id(tx.session, guest.id)
        user.password_hash = None
    assert (await guest.http.delete("/api/v1/users/me")).status_code == 202


async def test_only_owner_of_a_workspace_with_other_members_transfers_it_first(gateway: Any, person: Any) -> None:
    guest = await gateway.person()
    async with gateway.db.transaction(Cause.new()) as tx:
        await repository.add_member(tx.session, guest.workspace, person.id, Role.EDITOR)
    refused = await delete_me(guest)
    assert refused.status_code == 409
    assert f"My documents ({guest.workspace})" in refused.json()["detail"]
    administrator = await gateway.sign_in(*ADMIN)
    refused = await administrator.http.delete(f"/api/v1/admin/users/{guest.id}")
    assert refused.status_code == 409
    assert str(guest.workspace) in refused.json()["detail"]
    assert "My documents" not in refused.json()["detail"], "what it is called is its members' own"
    path = f"/api/v1/workspaces/{guest.workspace}"
    assert (await guest.http.post(f"{path}/owner", json={"user_id": str(person.id)})).status_code == 200
    deleted = await delete_me(guest)
    assert (deleted.status_code, deleted.json()["children"]) == (202, [])
    assert (await person.http.get(path)).json()["role"] == "owner"


async def test_administrator_deletes_an_account_and_not_the_last_administrator(gateway: Any, others: Others) -> None:
    administrator, guest = await gateway.sign_in(*ADMIN), await gateway.person()
    assert (await guest.http.delete(f"/api/v1/admin/users/{guest.id}")).status_code == 403
    deleted = await administrator.http.delete(f"/api/v1/admin/users/{guest.id}")
    assert deleted.status_code == 202
    assert (await guest.http.get("/api/v1/users/me")).status_code == 401
    assert (await administrator.http.delete(f"/api/v1/admin/users/{guest.id}")).status_code == 404
    for refused in (
        await administrator.http.delete(f"/api/v1/admin/users/{administrator.id}"),
        await delete_me(administrator, ADMIN[1]),
    ):
        assert refused.status_code == 409
        assert "only administrator" in refused.json()["detail"]


@pytest.mark.usefixtures("without_administrators")
async def test_two_administrators_who_delete_each_other_at_once_leave_one(gateway: Any) -> None:
    one, two = [await gateway.person() for _ in range(2)]
    async with gateway.db.transaction(Cause.new()) as tx:
        for person in (one, two):
            user = await repository.user_by_id(tx.session, person.id)
            user.is_admin = True
    answers = await asyncio.gather(
        one.http.delete(f"/api/v1/admin/users/{two.id}"), two.http.delete(f"/api/v1/admin/users/{one.id}")
    )
    assert sorted(answer.status_code for answer in answers) in ([202, 401], [202, 409])


async def test_events_of_a_deletion_name_their_erasure(gateway: Any, others: Others) -> None:
    guest = await gateway.person()
    begun = (await delete_me(guest)).json()
    users = f"{UserDeleted.subject_filter().removesuffix('*.*')}{NO_WORKSPACE}.{guest.id}"
    workspaces = f"{WorkspaceDeleted.subject_filter().removesuffix('*.*')}{guest.workspace}.*"

    async def told() -> bool:
        return bool(await others.told(users)) and bool(await others.told(workspaces))

    await wait_until(told, seconds=10, what="the events are in the log")
    assert [event["erasure_id"] for event in await others.told(users)] == [begun["id"]]
    assert [event["erasure_id"] for event in await others.told(workspaces)] == begun["children"]
