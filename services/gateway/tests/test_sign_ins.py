"""Where somebody is signed in, and the end of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from docutalk_gateway.adapters.models import AuditEntry
from docutalk_gateway.api.devices import device_of
from sqlalchemy import select

SESSIONS = "/api/v1/users/me/sessions"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:139.0) Gecko/20100101 Firefox/139.0"
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0"
SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"


@pytest.fixture
async def person(gateway: Any) -> Any:
    """A new account: these tests count and end its sign-ins."""
    return await gateway.person()


async def sessions(person: Any) -> list[dict[str, Any]]:
    """Where somebody is signed in."""
    items: list[dict[str, Any]] = (await person.http.get(SESSIONS)).raise_for_status().json()["items"]
    return items


async def test_sign_ins_are_listed_with_device_and_address_last_used_first(gateway: Any, person: Any) -> None:
    http = await gateway.client()
    body = {"email": person.email, "password": "a long enough password"}
    pair = (await http.post("/api/v1/auth/login", json=body, headers={"User-Agent": FIREFOX})).json()
    [newest, first] = await sessions(person)
    assert (newest["device"], newest["user_agent"], newest["address"]) == ("Firefox on Linux", FIREFOX, "127.0.0.1")
    assert (newest["method"], newest["current"]) == ("password", False)
    assert (first["device"], first["current"]) == ("python-httpx", True)
    await http.post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token}, headers={"User-Agent": "curl/8.1"})
    [used, other] = await sessions(person)
    assert (used["id"], used["device"], used["created_at"]) == (first["id"], "curl", first["created_at"])
    assert used["last_used_at"] > first["last_used_at"]
    assert used["expires_at"] > first["expires_at"]
    assert pair["refresh_token"] not in str(other)


async def test_ended_sign_in_is_refused_with_the_next_request_and_others_are_not(gateway: Any, person: Any) -> None:
    lost = await gateway.sign_in(person.email)
    [theirs] = [item for item in await sessions(person) if not item["current"]]
    assert (await lost.http.get("/api/v1/users/me")).status_code == 200
    assert (await person.http.delete(f"{SESSIONS}/{theirs['id']}")).status_code == 204
    assert (await lost.http.get("/api/v1/users/me")).status_code == 401
    again = await (await gateway.client()).post("/api/v1/auth/refresh", json={"refresh_token": lost.refresh_token})
    assert again.status_code == 401
    assert [item["current"] for item in await sessions(person)] == [True]
    assert (await person.http.delete(f"{SESSIONS}/{theirs['id']}")).status_code == 404
    async with gateway.db.read() as session:
        ended = select(AuditEntry).where(AuditEntry.action == "sign_in.ended", AuditEntry.target_id == UUID(theirs["id"]))
        [entry] = await session.scalars(ended)
    assert entry.actor_id == person.id


async def test_ending_all_others_keeps_this_one(gateway: Any, person: Any) -> None:
    others = [await gateway.sign_in(person.email) for _ in range(2)]
    assert len(await sessions(person)) == 3
    assert (await person.http.delete(SESSIONS)).status_code == 204
    assert [(await other.http.get("/api/v1/users/me")).status_code for other in others] == [401, 401]
    assert [item["current"] for item in await sessions(person)] == [True]


async def test_own_sign_in_can_be_ended_as_well(person: Any) -> None:
    [mine] = await sessions(person)
    assert (await person.http.delete(f"{SESSIONS}/{mine['id']}")).status_code == 204
    assert (await person.http.get(SESSIONS)).status_code == 401


async def test_sign_in_of_somebody_else_is_neither_seen_nor_ended(gateway: Any, person: Any) -> None:
    other = await gateway.person()
    [theirs] = await sessions(other)
    assert theirs["id"] not in [item["id"] for item in await sessions(person)]
    assert (await person.http.delete(f"{SESSIONS}/{theirs['id']}")).status_code == 404
    assert (await other.http.get("/api/v1/users/me")).status_code == 200


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (FIREFOX, "Firefox on Linux"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36 Edg/137.0", "Edge on Windows"),
        (f"Mozilla/5.0 (Linux; Android 10; K) {CHROME} Mobile Safari/537.36", "Chrome on Android"),
        (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) {SAFARI}", "Safari on iPhone"),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {SAFARI}", "Safari on macOS"),
        ("docutalk/0.1.0", "docutalk"),
        ("python-httpx/0.28.1", "python-httpx"),
        ("<script>alert(1)</script>", "Unknown device"),
        ("", "Unknown device"),
        (None, "Unknown device"),
    ],
)
def test_device_has_the_name_that_a_person_would_give_it(user_agent: str | None, device: str) -> None:
    assert device_of(user_agent) == device
