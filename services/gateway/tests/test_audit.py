"""The audit log as administrators and owners read it, and how long it is kept."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import docutalk_gateway
import pytest
from docutalk_common.db import Cause
from docutalk_common.process import wait_until
from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.audit_log import Action, Actor, ActorKind, note
from docutalk_gateway.adapters.models import AuditEntry, RateWindow
from docutalk_gateway.domain import Role
from docutalk_gateway.use_cases.sweep_expired import sweep_expired
from sqlalchemy import func, select, update

ALL = "/api/v1/admin/audit-log"


@pytest.fixture(scope="module")
async def admin(gateway: Any) -> Any:
    return await gateway.sign_in(gateway.settings.admin_email, gateway.settings.admin_password.get_secret_value())


async def noted(gateway: Any, *actions: Action, workspace_id: UUID | None, actor: Actor) -> None:
    """Entries in this order, each in a millisecond of its own: that is how exact their order is."""
    for action in actions:
        async with gateway.db.transaction(Cause.new()) as tx:
            note(tx.session, action, actor, workspace_id=workspace_id, target_id=uuid4(), count=1)
        noted_at = time.time_ns() // 1_000_000

        async def later(noted_at: int = noted_at) -> bool:
            return time.time_ns() // 1_000_000 > noted_at

        await wait_until(later, seconds=1, what="the next millisecond", every=0.001)


def by(person: Any) -> Actor:
    return Actor(ActorKind.USER, person.id, "192.0.2.7", "a browser")


async def test_owner_reads_what_was_done_in_the_workspace_newest_first(gateway: Any, person: Any) -> None:
    await noted(gateway, Action.SHARED, Action.EXPORTED, workspace_id=person.workspace, actor=by(person))
    await noted(gateway, Action.SHARE_OPENED, workspace_id=uuid4(), actor=by(person))
    listing = (await person.http.get(f"/api/v1/workspaces/{person.workspace}/audit-log")).json()
    assert [item["action"] for item in listing["items"]][:2] == ["workspace.exported", "share.created"]
    assert "share.opened" not in {item["action"] for item in listing["items"]}
    first = listing["items"][0]
    assert (first["actor"], first["actor_id"], first["details"]) == ("user", str(person.id), {"count": 1})
    assert first["actor_name"] == person.email


async def test_owner_sees_neither_addresses_nor_sign_ins(gateway: Any, person: Any) -> None:
    await noted(gateway, Action.SHARED, workspace_id=person.workspace, actor=by(person))
    answer = await person.http.get(f"/api/v1/workspaces/{person.workspace}/audit-log")
    assert "192.0.2.7" not in answer.text
    assert "a browser" not in answer.text
    assert "sign_in" not in answer.text


async def test_owner_sees_the_names_of_members_only(gateway: Any, person: Any, admin: Any) -> None:
    await noted(gateway, Action.SHARED, workspace_id=person.workspace, actor=by(admin))
    path = f"/api/v1/workspaces/{person.workspace}/audit-log"
    assert (await person.http.get(path)).json()["items"][0]["actor_name"] is None
    async with gateway.db.transaction(Cause.new()) as tx:
        await repository.add_member(tx.session, person.workspace, admin.id, Role.VIEWER)
    assert (await person.http.get(path)).json()["items"][0]["actor_name"] == "Administrator"


async def test_workspace_log_is_for_owners_and_the_whole_log_for_administrators(gateway: Any, person: Any, admin: Any) -> None:
    path = f"/api/v1/workspaces/{person.workspace}/audit-log"
    assert (await admin.http.get(path)).status_code == 404
    async with gateway.db.transaction(Cause.new()) as tx:
        await repository.add_member(tx.session, person.workspace, admin.id, Role.EDITOR)
    assert (await admin.http.get(path)).status_code == 403
    assert (await person.http.get(ALL)).status_code == 403
    assert (await admin.http.get(ALL)).status_code == 200


async def test_administrator_sees_who_signed_in_from_where(gateway: Any, admin: Any) -> None:
    http = await gateway.client()
    body = {"email": admin.email, "password": gateway.settings.admin_password.get_secret_value()}
    assert (await http.post("/api/v1/auth/login", json=body, headers={"User-Agent": "a phone"})).status_code == 200
    found = (await admin.http.get(ALL, params={"action": "sign_in.succeeded", "actor_id": str(admin.id)})).json()["items"][0]
    assert (found["address"], found["user_agent"], found["actor_name"]) == ("127.0.0.1", "a phone", "Administrator")
    assert found["workspace_id"] is None


async def test_log_is_narrowed_and_read_in_pages(gateway: Any, person: Any, admin: Any) -> None:
    mine = {"workspace_id": str(person.workspace)}
    await noted(gateway, *[Action.SHARED] * 3, Action.EXPORTED, workspace_id=person.workspace, actor=by(person))
    one = (await admin.http.get(ALL, params={**mine, "action": "share.created", "per_page": 2, "page": 2})).json()
    assert (one["total"], len(one["items"])) == (3, 1)
    now = datetime.now(UTC)
    later = {"since": (now + timedelta(hours=1)).isoformat()}
    assert (await admin.http.get(ALL, params={**mine, **later})).json()["total"] == 0
    earlier = {"since": (now - timedelta(hours=1)).isoformat(), "until": (now + timedelta(hours=1)).isoformat()}
    assert (await admin.http.get(ALL, params={**mine, **earlier, "action": "workspace.exported"})).json()["total"] == 1
    for wrong in ({"action": "unknown"}, {"since": "yesterday"}, {"actor_id": "me"}, {"since": "2026-01-01T00:00:00"}):
        assert (await admin.http.get(ALL, params=wrong)).status_code == 422


async def test_entries_are_kept_for_their_time_and_windows_until_they_end(gateway: Any, person: Any) -> None:
    actor = replace(by(person), id=uuid4())
    await noted(gateway, Action.SHARED, Action.EXPORTED, workspace_id=None, actor=actor)
    mine = AuditEntry.actor_id == actor.id
    async with gateway.db.transaction(Cause.new()) as tx:
        old = datetime.now(UTC) - timedelta(days=31)
        await tx.session.execute(update(AuditEntry).where(mine, AuditEntry.action == Action.SHARED.value).values(at=old))
        for minutes in (-5, 5):
            ends_at = datetime.now(UTC) + timedelta(minutes=minutes)
            tx.session.add(RateWindow(bucket=f"sweep:{actor.id}", window=minutes, taken=1, ends_at=ends_at))
    await sweep_expired(gateway.db, audit_stays=timedelta(days=30))
    async with gateway.db.read() as session:
        assert list(await session.scalars(select(AuditEntry.action).where(mine))) == [Action.EXPORTED.value]
        windows = select(func.min(RateWindow.window)).where(RateWindow.bucket == f"sweep:{actor.id}")
        assert await session.scalar(windows) == 5


def test_every_action_is_noted_somewhere() -> None:
    folder = Path(docutalk_gateway.__file__).parent
    sources = "".join(file.read_text(encoding="utf-8") for file in folder.rglob("*.py") if file.name != "audit_log.py")
    assert {action for action in Action if f"Action.{action.name}" not in sources} == set()
