"""Invitations: who makes them, what they say, whom they let in, and how often."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from docutalk_common.db import Cause
from docutalk_gateway.adapters.models import AuditEntry, Invitation
from docutalk_gateway.adapters.tokens import hash_token
from docutalk_gateway.use_cases.sweep_expired import sweep_expired
from sqlalchemy import select, text
from structlog.testing import capture_logs

PASSWORD = "a long enough password"
INVITED = "/api/v1/invited"


@pytest.fixture(scope="module")
async def owner(gateway: Any) -> Any:
    """Who invites: into a workspace of each test's own."""
    return await gateway.person()


@pytest.fixture
async def workspace(owner: Any) -> str:
    """The path of a new workspace."""
    made = await owner.http.post("/api/v1/workspaces", json={"name": "The orchard"})
    return f"/api/v1/workspaces/{made.json()['id']}"


async def invite(owner: Any, workspace: str, **fields: Any) -> dict[str, Any]:
    """A new invitation with everything that its making answers."""
    answer = await owner.http.post(f"{workspace}/invitations", json={"role": "editor", **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def accept(person: Any, invitation: dict[str, Any]) -> Any:
    """Follows it as somebody who is signed in."""
    return await person.http.post(f"{INVITED}/{invitation['token']}/accept")


async def roles(owner: Any, workspace: str) -> dict[str, str]:
    """Who is a member, as what."""
    members = (await owner.http.get(f"{workspace}/members")).json()["items"]
    return {member["user_id"]: member["role"] for member in members}


async def audited(gateway: Any, action: str, target_id: str) -> list[AuditEntry]:
    """What the audit log has of it."""
    async with gateway.db.read() as session:
        found = await session.scalars(
            select(AuditEntry).where(AuditEntry.action == action, AuditEntry.target_id == UUID(target_id))
        )
        return list(found)


async def change(gateway: Any, invitation: dict[str, Any], what: str) -> None:
    """Changes the stored invitation, as time would."""
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text(f"UPDATE invitations SET {what} WHERE id = :id"), {"id": UUID(invitation["id"])})


async def test_invitation_is_shown_once_and_only_its_hash_is_stored(gateway: Any, owner: Any, workspace: str) -> None:
    made = await invite(owner, workspace)
    assert made["link"] == f"{gateway.url}{INVITED}/{made['token']}"
    lifetime = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=167) < lifetime < timedelta(hours=168)
    listed = (await owner.http.get(f"{workspace}/invitations")).json()
    assert listed["items"] == [{name: value for name, value in made.items() if name not in {"token", "link"}}]
    async with gateway.db.read() as session:
        stored = await session.get(Invitation, UUID(made["id"]))
    assert stored.token_hash == hash_token(made["token"])
    [entry] = await audited(gateway, "invitation.created", made["id"])
    assert (entry.actor_id, entry.details) == (owner.id, {"role": "editor"})


async def test_link_begins_with_the_public_address_when_there_is_one(gateway_with: Any) -> None:
    async with gateway_with(public_url="https://docs.example.com/talk/") as public:
        person = await public.person()
        made = await invite(person, f"/api/v1/workspaces/{person.workspace}")
    assert made["link"] == f"https://docs.example.com/talk/api/v1/invited/{made['token']}"


async def test_invitation_tells_whereto_and_by_whom_but_no_address(gateway: Any, workspace: str, owner: Any) -> None:
    made = await invite(owner, workspace, email="guest@example.com", expires_in_hours=1)
    http = await gateway.client()
    told = await http.get(f"{INVITED}/{made['token']}")
    assert told.json() == {
        "invited_by": None,
        "workspace": "The orchard",
        "role": "editor",
        "email": "guest@example.com",
        "expires_at": made["expires_at"],
    }
    assert owner.email not in told.text
    await owner.http.patch("/api/v1/users/me", json={"display_name": "Ada"})
    assert (await http.get(f"{INVITED}/{made['token']}")).json()["invited_by"] == "Ada"
    await owner.http.patch("/api/v1/users/me", json={"display_name": None})


async def test_token_of_an_invitation_is_not_logged(gateway: Any, owner: Any, workspace: str) -> None:
    made, http = await invite(owner, workspace), await gateway.client()
    with capture_logs() as said:
        for path in ("", "/accept", "/", "/accept/", "/acept", "/a/b"):
            for method in ("GET", "POST", "DELETE"):
                await http.request(method, f"{INVITED}/{made['token']}{path}")
    paths = [entry["path"] for entry in said if entry["event"] == "request"]
    assert len(paths) == 18
    assert "/invited/{token}/accept" in paths
    assert made["token"] not in str(said)


async def test_unknown_used_expired_and_withdrawn_invitations_look_the_same(gateway: Any, owner: Any, workspace: str) -> None:
    used, expired, withdrawn = [await invite(owner, workspace) for _ in range(3)]
    person = await gateway.person()
    assert (await accept(person, used)).status_code == 200
    await change(gateway, expired, "expires_at = now() - interval '1 second'")
    assert (await owner.http.delete(f"{workspace}/invitations/{withdrawn['id']}")).status_code == 204
    other = await gateway.person()
    told = set()
    for token in [used["token"], expired["token"], withdrawn["token"], "nobody-made-this"]:
        for answer in [await other.http.get(f"{INVITED}/{token}"), await other.http.post(f"{INVITED}/{token}/accept")]:
            told.add((answer.status_code, answer.json()["detail"]))
    assert told == {(404, "This invitation is not valid (any more). Ask for a new one.")}
    assert (await owner.http.get(f"{workspace}/invitations")).json()["items"] == []


async def test_invitation_makes_a_member_of_who_has_an_account(gateway: Any, owner: Any, workspace: str) -> None:
    made, person = await invite(owner, workspace), await gateway.person()
    joined = await accept(person, made)
    assert (joined.json()["name"], joined.json()["role"]) == ("The orchard", "editor")
    assert (await roles(owner, workspace))[str(person.id)] == "editor"
    [entry] = await audited(gateway, "invitation.accepted", made["id"])
    assert (entry.actor_id, entry.workspace_id) == (person.id, UUID(workspace.rpartition("/")[2]))


async def test_higher_role_is_kept_and_a_lower_one_raised(gateway: Any, owner: Any, workspace: str) -> None:
    person = await gateway.person()
    for role, expected in [
        ("viewer", "viewer"),
        ("editor", "editor"),
        ("viewer", "editor"),
        ("owner", "owner"),
        ("editor", "owner"),
    ]:
        joined = await accept(person, await invite(owner, workspace, role=role))
        assert joined.json()["role"] == expected
    assert (await roles(owner, workspace))[str(person.id)] == "owner"


async def test_invitation_used_by_several_at_the_same_moment_lets_one_in(gateway: Any, owner: Any, workspace: str) -> None:
    made = await invite(owner, workspace)
    people = await asyncio.gather(*(gateway.person() for _ in range(4)))
    answers = await asyncio.gather(*(accept(person, made) for person in people))
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404]
    assert len(await roles(owner, workspace)) == 2


async def test_invitation_for_an_address_works_for_that_one_only(gateway: Any, owner: Any, workspace: str) -> None:
    person, other = await gateway.person(), await gateway.person()
    made = await invite(owner, workspace, email=person.email.upper())
    refused = await accept(other, made)
    assert refused.status_code == 403
    assert person.email not in refused.text.lower()
    assert (await accept(person, made)).status_code == 200


async def test_inviting_an_address_tells_nothing_of_its_account(gateway: Any, owner: Any, workspace: str) -> None:
    person = await gateway.person()
    known = await invite(owner, workspace, email=person.email)
    unknown = await invite(owner, workspace, email=f"{uuid4().hex}@example.com")
    assert known.keys() == unknown.keys()
    assert list(await roles(owner, workspace)) == [str(owner.id)]


async def test_invitation_makes_an_account_while_registration_is_closed(gateway_with: Any) -> None:
    async with gateway_with(open_registration=False) as closed:
        admin = await closed.sign_in(closed.settings.admin_email, closed.settings.admin_password.get_secret_value())
        made = await invite(admin, f"/api/v1/workspaces/{admin.workspace}", role="viewer")
        http, email = await closed.client(), f"{uuid4().hex}@example.com"
        body = {"email": email, "password": PASSWORD, "invitation": made["token"]}
        answer = await http.post("/api/v1/auth/register", json=body)
        assert answer.status_code == 201, answer.text
        assert answer.json()["is_admin"] is False
        person = await closed.sign_in(email)
        assert (await person.http.get(f"/api/v1/workspaces/{admin.workspace}")).json()["role"] == "viewer"
        assert person.workspace != admin.workspace
        again = await http.post("/api/v1/auth/register", json={**body, "email": f"{uuid4().hex}@example.com"})
        assert again.status_code == 404
        [registered] = await audited(closed, "account.registered", str(person.id))
        [accepted] = await audited(closed, "invitation.accepted", made["id"])
        assert (registered.actor_id, accepted.actor_id) == (person.id, person.id)


async def test_registrations_with_one_invitation_at_once_make_one_account(gateway: Any, owner: Any, workspace: str) -> None:
    made, http = await invite(owner, workspace), await gateway.client()
    bodies = [{"email": f"{uuid4().hex}@example.com", "password": PASSWORD, "invitation": made["token"]} for _ in range(3)]
    answers = await asyncio.gather(*(http.post("/api/v1/auth/register", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, 404, 404]
    assert len(await roles(owner, workspace)) == 2
    for body, answer in zip(bodies, answers, strict=True):
        signed_in = await http.post("/api/v1/auth/login", json={"email": body["email"], "password": PASSWORD})
        assert signed_in.status_code == (200 if answer.status_code == 201 else 401), "half an account was left behind"


async def test_registration_with_an_invitation_for_another_address_is_refused(gateway: Any, owner: Any, workspace: str) -> None:
    email = f"{uuid4().hex}@example.com"
    made, http = await invite(owner, workspace, email=email), await gateway.client()
    body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD, "invitation": made["token"]}
    assert (await http.post("/api/v1/auth/register", json=body)).status_code == 403
    assert (await http.post("/api/v1/auth/register", json={**body, "email": email})).status_code == 201


async def test_invitation_of_who_is_no_owner_any_more_lets_nobody_in(gateway: Any, owner: Any, workspace: str) -> None:
    second, person = await gateway.person(), await gateway.person()
    await accept(second, await invite(owner, workspace, role="owner"))
    made = await invite(second, workspace, role="owner")
    async with gateway.db.transaction(Cause.new()) as tx:
        where = {"user": second.id, "workspace": UUID(workspace.rpartition("/")[2])}
        demote = text("UPDATE members SET role = 'viewer' WHERE user_id = :user AND workspace_id = :workspace")
        await tx.session.execute(demote, where)
    assert (await accept(person, made)).status_code == 404
    assert (await accept(second, made)).status_code == 404, "a way back for who was removed"


@pytest.mark.parametrize("role", ["viewer", "editor"])
async def test_only_owners_see_make_and_withdraw_invitations(gateway: Any, owner: Any, workspace: str, role: str) -> None:
    person = await gateway.person()
    await accept(person, await invite(owner, workspace, role=role))
    made, path = await invite(owner, workspace), f"{workspace}/invitations"
    assert (await person.http.get(path)).status_code == 403
    assert (await person.http.post(path, json={"role": "viewer"})).status_code == 403
    assert (await person.http.delete(f"{path}/{made['id']}")).status_code == 403
    stranger = await gateway.person()
    assert (await stranger.http.get(path)).status_code == 404


async def test_owner_of_another_workspace_can_not_withdraw(gateway: Any, owner: Any, workspace: str) -> None:
    made, stranger = await invite(owner, workspace), await gateway.person()
    theirs = f"/api/v1/workspaces/{stranger.workspace}/invitations/{made['id']}"
    assert (await stranger.http.delete(theirs)).status_code == 404
    assert (await stranger.http.get(f"{INVITED}/{made['token']}")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"role": "admin"},
        {"role": "viewer", "email": "nobody"},
        {"role": "viewer", "expires_in_hours": 0},
        {"role": "viewer", "expires_in_hours": 721},
        {"role": "viewer", "uses": 2},
    ],
)
async def test_invitation_that_is_not_valid_is_refused(owner: Any, workspace: str, body: dict[str, Any]) -> None:
    assert (await owner.http.post(f"{workspace}/invitations", json=body)).status_code == 422


async def test_administrator_invites_to_an_account_and_no_workspace(gateway: Any) -> None:
    admin = await gateway.sign_in(gateway.settings.admin_email, gateway.settings.admin_password.get_secret_value())
    made = (await admin.http.post("/api/v1/admin/invitations", json={"expires_in_hours": 2})).json()
    assert made["role"] is None
    listed = (await admin.http.get("/api/v1/admin/invitations")).json()
    assert made["id"] in [item["id"] for item in listed["items"]]
    person = await gateway.person()
    told = (await person.http.get(f"{INVITED}/{made['token']}")).json()
    assert (told["invited_by"], told["workspace"]) == ("Administrator", None)
    assert (await accept(person, made)).status_code == 409
    body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD, "invitation": made["token"]}
    assert (await (await gateway.client()).post("/api/v1/auth/register", json=body)).status_code == 201
    another = (await admin.http.post("/api/v1/admin/invitations", json={})).json()
    assert (await admin.http.delete(f"/api/v1/admin/invitations/{another['id']}")).status_code == 204
    assert (await admin.http.delete(f"/api/v1/admin/invitations/{another['id']}")).status_code == 404
    assert (await person.http.post("/api/v1/admin/invitations", json={})).status_code == 403


async def test_sweep_forgets_expired_invitations_only(gateway: Any, owner: Any, workspace: str) -> None:
    expired, current = await invite(owner, workspace), await invite(owner, workspace)
    await change(gateway, expired, "expires_at = now() - interval '1 second'")
    await sweep_expired(gateway.db)
    async with gateway.db.read() as session:
        assert await session.get(Invitation, UUID(expired["id"])) is None
        assert await session.get(Invitation, UUID(current["id"])) is not None
