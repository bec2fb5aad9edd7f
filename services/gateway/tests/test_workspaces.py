"""Workspaces that rest, and which one somebody has by default."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.gateway import GetWorkspace, WorkspaceState
from docutalk_common.errors import NotFound
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.settings import ServiceSettings
from docutalk_gateway.adapters.models import AuditEntry
from sqlalchemy import select


def path_of(person: Any) -> str:
    """The path of this person's workspace."""
    return f"/api/v1/workspaces/{person.workspace}"


async def audited(gateway: Any, workspace_id: UUID) -> list[str]:
    """What was noted about a workspace, oldest first."""
    async with gateway.db.read() as session:
        actions = await session.scalars(
            select(AuditEntry.action).where(AuditEntry.workspace_id == workspace_id).order_by(AuditEntry.id)
        )
    return list(actions)


async def test_archived_workspace_is_read_and_refuses_documents_questions_and_changes(
    gateway: Any, person: Any, ingest_service: Any
) -> None:
    archived = await person.http.post(f"{path_of(person)}/archive")
    assert archived.status_code == 200, archived.text
    assert archived.json()["archived_at"] is not None
    refused = [
        await person.upload(("a.txt", b"words")),
        await person.http.post(f"{path_of(person)}/chat", json={"message": "What?"}),
        await person.http.patch(path_of(person), json={"name": "Other"}),
    ]
    assert {answer.status_code for answer in refused} == {409}
    assert {answer.json()["type"] for answer in refused} == {"urn:docutalk:problem:workspace_archived"}
    assert await gateway.storage.keys(f"{person.workspace}/") == []
    shown = (await person.http.get(path_of(person))).json()
    assert shown["archived_at"] == archived.json()["archived_at"]
    assert (await person.http.get(person.documents)).status_code == 200


async def test_restored_workspace_takes_documents_again(person: Any) -> None:
    await person.http.post(f"{path_of(person)}/archive")
    restored = await person.http.post(f"{path_of(person)}/restore")
    assert restored.json()["archived_at"] is None
    assert (await person.upload(("a.txt", b"words"))).status_code == 202


async def test_archiving_twice_is_done_and_noted_once(gateway: Any, person: Any) -> None:
    first = (await person.http.post(f"{path_of(person)}/archive")).json()
    assert (await person.http.post(f"{path_of(person)}/archive")).json() == first
    for _ in range(2):
        assert (await person.http.post(f"{path_of(person)}/restore")).status_code == 200
    assert await audited(gateway, person.workspace) == ["workspace.created", "workspace.archived", "workspace.restored"]


@pytest.fixture
async def ask_gateway(stack: Any, gateway: Any) -> Any:
    """Asks the gateway as ingest does."""
    environment = stack.service_environment("ingest")
    settings = ServiceSettings(**{name.removeprefix("DOCUTALK_").lower(): value for name, value in environment.items()})
    broker = MessageBroker(settings, service="ingest", db=None)
    await broker.start()

    async def ask(workspace_id: UUID) -> WorkspaceState:
        question = GetWorkspace(workspace_id=workspace_id)
        return await broker.requests.ask("rpc.gateway.v1.workspace.get", question, WorkspaceState)

    yield ask
    await broker.stop()


async def test_other_services_learn_whether_a_workspace_is_archived_and_whether_there_is_one(
    person: Any, ask_gateway: Any
) -> None:
    assert await ask_gateway(person.workspace) == WorkspaceState()
    await person.http.post(f"{path_of(person)}/archive")
    assert await ask_gateway(person.workspace) == WorkspaceState(archived=True)
    with pytest.raises(NotFound):
        await ask_gateway(uuid7())


async def test_whoever_has_no_workspace_has_the_next_one_by_default(gateway: Any) -> None:
    person = await gateway.person()
    assert (await person.http.delete(path_of(person))).status_code == 202
    assert (await person.http.get("/api/v1/users/me")).json()["default_workspace_id"] is None
    made = [(await person.http.post("/api/v1/workspaces", json={"name": name})).json()["id"] for name in ("First", "Second")]
    assert (await person.http.get("/api/v1/users/me")).json()["default_workspace_id"] == made[0]
