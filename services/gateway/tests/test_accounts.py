"""What people change of their own accounts, and administrators of those of others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from docutalk_common.db import Cause
from docutalk_common.process import wait_until
from docutalk_gateway.adapters.models import AuditEntry, PasswordReset, User
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.adapters.tokens import hash_token
from docutalk_gateway.use_cases.sweep_expired import sweep_expired
from sqlalchemy import select, text

PASSWORD = "a long enough password"
BETTER = "a better password yet"
ME = "/api/v1/users/me"
USERS = "/api/v1/admin/users"


@pytest.fixture
async def person(gateway: Any) -> Any:
    """A new account: these tests change it."""
    return await gateway.person()


@pytest.fixture(scope="module")
async def admin(gateway: Any) -> Any:
    """The administrator from settings."""
    return await gateway.sign_in(gateway.settings.admin_email, gateway.settings.admin_password.get_secret_value())


async def change(gateway: Any, user_id: UUID, what: str) -> None:
    """Changes the stored account."""
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text(f"UPDATE users SET {what} WHERE id = :id"), {"id": user_id})


async def login(gateway: Any, email: str, password: str) -> int:
    """The status of a sign-in."""
    body = {"email": email, "password": password}
    return int((await (await gateway.client()).post("/api/v1/auth/login", json=body)).status_code)


async def audited(gateway: Any, action: str, target_id: UUID) -> list[AuditEntry]:
    """What the audit log has of it."""
    async with gateway.db.read() as session:
        which = select(AuditEntry).where(AuditEntry.action == action, AuditEntry.target_id == target_id)
        return list(await session.scalars(which.order_by(AuditEntry.id)))


# Oneself ---------------------------------------------------------------------------------------------------------


async def test_name_and_default_workspace_are_changed_and_the_rest_stays(person: Any) -> None:
    made = (await person.http.post("/api/v1/workspaces", json={"name": "Second"})).json()
    changed = await person.http.patch(ME, json={"display_name": " Ada ", "default_workspace_id": made["id"]})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["display_name"], changed.json()["default_workspace_id"]) == ("Ada", made["id"])
    assert (await person.http.patch(ME, json={})).json() == changed.json()
    assert (await person.http.patch(ME, json={"display_name": None})).json()["display_name"] is None
    assert (await person.http.get(ME)).json()["default_workspace_id"] == made["id"]


async def test_default_workspace_has_to_be_one_of_ones_own(gateway: Any, person: Any) -> None:
    stranger = await gateway.person()
    for workspace in [str(stranger.workspace), str(uuid4())]:
        refused = await person.http.patch(ME, json={"default_workspace_id": workspace})
        assert (refused.status_code, refused.json()["detail"]) == (
            422,
            "default_workspace_id: you are a member of no such workspace.",
        )
    assert (await person.http.patch(ME, json={"default_workspace_id": None})).status_code == 422


async def test_address_is_changed_with_the_password_only(gateway: Any, person: Any) -> None:
    email = f"{uuid4().hex}@example.com"
    assert (await person.http.patch(ME, json={"email": email})).status_code == 422
    wrong = await person.http.patch(ME, json={"email": email, "current_password": "not this one", "display_name": "Ada"})
    assert (wrong.status_code, wrong.json()["type"]) == (403, "urn:docutalk:problem:wrong_password")
    assert (await person.http.get(ME)).json()["display_name"] is None, "half of it was changed"
    changed = await person.http.patch(ME, json={"email": email, "current_password": PASSWORD})
    assert changed.json()["email"] == email
    assert [await login(gateway, address, PASSWORD) for address in [person.email, email]] == [401, 200]
    [entry] = await audited(gateway, "account.changed", person.id)
    assert email not in str(entry.details)


async def test_address_of_another_account_is_refused_also_in_another_case(gateway: Any, person: Any) -> None:
    other = await gateway.person()
    refused = await person.http.patch(ME, json={"email": other.email.upper(), "current_password": PASSWORD})
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:docutalk:problem:email_taken")
    own = await person.http.patch(ME, json={"email": person.email.upper(), "current_password": PASSWORD})
    assert own.status_code == 200


async def test_two_who_change_to_one_address_at_once_do_not_both_get_it(gateway: Any, person: Any) -> None:
    other, email = await gateway.person(), f"{uuid4().hex}@example.com"
    body = {"email": email, "current_password": PASSWORD}
    answers = await asyncio.gather(*(one.http.patch(ME, json=body) for one in [person, other]))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


@pytest.mark.usefixtures("no_turn_of_a_window")
async def test_trying_addresses_to_see_which_are_taken_is_throttled(gateway: Any, person: Any) -> None:
    other = await gateway.person()
    body = {"email": other.email, "current_password": PASSWORD}
    answers = [await person.http.patch(ME, json=body) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [409] * 5 + [429]


async def test_new_password_ends_every_other_sign_in_and_keeps_this_one(gateway: Any, person: Any) -> None:
    other = await gateway.sign_in(person.email)
    changed = await person.http.post(f"{ME}/password", json={"current_password": PASSWORD, "new_password": BETTER})
    assert changed.status_code == 204, changed.text
    assert (await person.http.get(ME)).status_code == 200
    assert (await other.http.get(ME)).status_code == 401
    again = await (await gateway.client()).post("/api/v1/auth/refresh", json={"refresh_token": other.refresh_token})
    assert again.status_code == 401
    assert [await login(gateway, person.email, password) for password in [PASSWORD, BETTER]] == [401, 200]
    [entry] = await audited(gateway, "password.changed", person.id)
    assert entry.actor_id == person.id


async def test_password_is_not_changed_with_a_wrong_or_no_current_one(gateway: Any, person: Any) -> None:
    wrong = await person.http.post(f"{ME}/password", json={"current_password": "not this one", "new_password": BETTER})
    assert (wrong.status_code, wrong.json()["detail"]) == (403, "The current password is wrong. Nothing was changed.")
    without = await person.http.post(f"{ME}/password", json={"new_password": BETTER})
    assert without.status_code == 422
    assert without.json()["detail"].startswith("current_password is missing")
    short = await person.http.post(f"{ME}/password", json={"current_password": PASSWORD, "new_password": "sesame"})
    assert short.status_code == 422
    assert await login(gateway, person.email, PASSWORD) == 200


@pytest.mark.usefixtures("no_turn_of_a_window")
async def test_guessing_the_current_password_with_a_stolen_token_is_throttled(person: Any) -> None:
    body = {"current_password": "guessed", "new_password": BETTER}
    answers = [await person.http.post(f"{ME}/password", json=body) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [403] * 5 + [429]


async def test_account_without_a_password_sets_its_first_one(gateway: Any, person: Any) -> None:
    await change(gateway, person.id, "password_hash = NULL")
    assert await login(gateway, person.email, PASSWORD) == 401
    refused = await person.http.patch(ME, json={"email": f"{uuid4().hex}@example.com", "current_password": PASSWORD})
    assert (refused.status_code, refused.json()["detail"]) == (403, "This account has no password. Set one first.")
    assert (await person.http.post(f"{ME}/password", json={"new_password": BETTER})).status_code == 204
    assert await login(gateway, person.email, BETTER) == 200
    assert (await person.http.post(f"{ME}/password", json={"new_password": PASSWORD})).status_code == 422


async def test_sign_in_that_was_being_checked_while_the_password_changed_does_not_begin(gateway: Any, person: Any) -> None:
    other = await Passwords().hash(BETTER)
    async with gateway.db.transaction(Cause.new()) as tx:
        # As a change of the password does, so that the sign-in waits with the old one found right.
        await tx.session.execute(text("SELECT 1 FROM users WHERE id = :id FOR NO KEY UPDATE"), {"id": person.id})
        signing_in = asyncio.create_task(login(gateway, person.email, PASSWORD))
        await waits_for_a_lock(gateway)
        await tx.session.execute(
            text("UPDATE users SET password_hash = :other WHERE id = :id"), {"id": person.id, "other": other}
        )
    assert await signing_in == 401
    async with gateway.db.read() as session:
        assert await session.scalar(select(User.password_hash).where(User.id == person.id)) == other


async def waits_for_a_lock(gateway: Any) -> None:
    """Until a connection of the gateway waits for another one."""

    async def waits() -> bool:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND wait_event_type = 'Lock'"
        async with gateway.db.read() as session:
            return bool(await session.scalar(text(waiting)))

    await wait_until(waits, seconds=10, what="the sign-in waits for the account")


# Administrators --------------------------------------------------------------------------------------------------


async def test_administrator_lists_and_finds_accounts(admin: Any, person: Any) -> None:
    await person.http.patch(ME, json={"display_name": "100% Ada_Lovelace"})
    found = (await admin.http.get(USERS, params={"q": person.email.upper()[:20]})).json()
    assert found["items"] == [
        {
            "id": str(person.id),
            "email": person.email,
            "display_name": "100% Ada_Lovelace",
            "is_admin": False,
            "disabled": False,
            "has_password": True,
            "email_vouched": False,
            "created_at": found["items"][0]["created_at"],
        }
    ]
    assert (await admin.http.get(USERS, params={"q": "0% ada_l"})).json()["total"] == 1
    assert (await admin.http.get(USERS, params={"q": "%"})).json()["total"] == 1
    everybody = (await admin.http.get(USERS, params={"per_page": 1})).json()
    assert (everybody["items"][0]["id"], everybody["total"] > 1) == (str(person.id), True)
    assert (await person.http.get(USERS)).status_code == 403


async def test_disabled_account_is_let_in_by_nothing_and_its_keys_work_again_later(gateway: Any, admin: Any, person: Any) -> None:
    key = (await person.http.post("/api/v1/users/me/api-keys", json={"name": "script"})).json()["key"]
    program = await gateway.client()
    program.headers["Authorization"] = f"Bearer {key}"
    disabled = await admin.http.patch(f"{USERS}/{person.id}", json={"disabled": True})
    assert disabled.json()["disabled"] is True
    assert [(await http.get(ME)).status_code for http in [person.http, program]] == [401, 401]
    refresh = await (await gateway.client()).post("/api/v1/auth/refresh", json={"refresh_token": person.refresh_token})
    assert refresh.status_code == 401
    assert await login(gateway, person.email, PASSWORD) == 401
    assert (await admin.http.patch(f"{USERS}/{person.id}", json={"disabled": False})).json()["disabled"] is False
    assert [(await http.get(ME)).status_code for http in [person.http, program]] == [401, 200]
    assert await login(gateway, person.email, PASSWORD) == 200
    entries = await audited(gateway, "account.changed", person.id)
    assert [(entry.actor_id, entry.details["disabled"]) for entry in entries] == [(admin.id, True), (admin.id, False)]


async def test_last_administrator_can_neither_be_demoted_nor_disabled(gateway: Any, admin: Any, person: Any) -> None:
    mine = f"{USERS}/{admin.id}"
    for body in [{"is_admin": False}, {"disabled": True}]:
        refused = await admin.http.patch(mine, json=body)
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:docutalk:problem:conflict")
    assert (await admin.http.patch(f"{USERS}/{person.id}", json={"is_admin": True, "disabled": True})).status_code == 200
    assert (await admin.http.patch(mine, json={"is_admin": False})).status_code == 409, "the other one is disabled"
    await admin.http.patch(f"{USERS}/{person.id}", json={"disabled": False})
    second = await gateway.sign_in(person.email)
    paths = [(admin, second), (second, admin)]
    answers = await asyncio.gather(*(one.http.patch(f"{USERS}/{other.id}", json={"is_admin": False}) for one, other in paths))
    # Whoever comes second is no administrator any more, or would take the last one away.
    assert sorted(answer.status_code for answer in answers)[0] == 200
    assert sorted(answer.status_code for answer in answers)[1] in {403, 409}
    await change(gateway, admin.id, "is_admin = true")
    await change(gateway, person.id, "is_admin = false")


async def test_demoted_administrator_rules_no_more(gateway: Any, admin: Any, person: Any) -> None:
    await admin.http.patch(f"{USERS}/{person.id}", json={"is_admin": True})
    assert (await person.http.get(USERS)).status_code == 200
    await admin.http.patch(f"{USERS}/{person.id}", json={"is_admin": False})
    assert (await person.http.get(USERS)).status_code == 403
    assert (await admin.http.patch(f"{USERS}/{uuid4()}", json={"is_admin": True})).status_code == 404


# Password resets -------------------------------------------------------------------------------------------------


async def reset(admin: Any, person: Any) -> dict[str, Any]:
    """A new token to set the password with."""
    answer = await admin.http.post(f"{USERS}/{person.id}/password-reset")
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def use(gateway: Any, token: str, password: str = BETTER) -> int:
    """The status of setting the password with a token."""
    body = {"token": token, "new_password": password}
    return int((await (await gateway.client()).post("/api/v1/auth/reset", json=body)).status_code)


async def test_reset_sets_the_password_once_and_ends_every_sign_in(gateway: Any, admin: Any, person: Any) -> None:
    made = await reset(admin, person)
    assert made["link"] == f"{gateway.url}/api/v1/auth/reset#token={made['token']}"
    async with gateway.db.read() as session:
        stored = await session.get(PasswordReset, person.id)
    assert stored.token_hash == hash_token(made["token"])
    assert await use(gateway, made["token"], "short") == 422
    statuses = await asyncio.gather(*(use(gateway, made["token"], f"{BETTER} {number}") for number in range(3)))
    assert sorted(statuses) == [204, 404, 404]
    assert (await person.http.get(ME)).status_code == 401
    signed_in = [await login(gateway, person.email, f"{BETTER} {number}") for number in range(3)]
    assert [status == 200 for status in signed_in] == [status == 204 for status in statuses]
    [made_by] = await audited(gateway, "password.reset_made", person.id)
    [changed] = await audited(gateway, "password.changed", person.id)
    assert (made_by.actor_id, changed.actor_id, changed.details) == (admin.id, person.id, {"reset": True})


async def test_only_the_latest_reset_works_and_none_after_a_change_of_the_password(gateway: Any, admin: Any, person: Any) -> None:
    first, second = await reset(admin, person), await reset(admin, person)
    assert await use(gateway, first["token"]) == 404
    await person.http.post(f"{ME}/password", json={"current_password": PASSWORD, "new_password": BETTER})
    assert await use(gateway, second["token"]) == 404


async def test_expired_reset_sets_nothing_and_is_swept(gateway: Any, admin: Any, person: Any) -> None:
    made = await reset(admin, person)
    async with gateway.db.transaction(Cause.new()) as tx:
        late = text("UPDATE password_resets SET expires_at = now() - interval '1 second' WHERE user_id = :id")
        await tx.session.execute(late, {"id": person.id})
    assert await use(gateway, made["token"]) == 404
    await sweep_expired(gateway.db)
    async with gateway.db.read() as session:
        assert await session.get(PasswordReset, person.id) is None


async def test_only_administrators_make_resets(gateway: Any, admin: Any, person: Any) -> None:
    other = await gateway.person()
    assert (await person.http.post(f"{USERS}/{other.id}/password-reset")).status_code == 403
    assert (await admin.http.post(f"{USERS}/{uuid4()}/password-reset")).status_code == 404


@pytest.mark.usefixtures("no_turn_of_a_window")
async def test_guessing_tokens_of_resets_is_throttled_by_address(gateway_with: Any) -> None:
    async with gateway_with(login_failures_per_address=3) as strict:
        await forget_attempts(strict)
        assert [await use(strict, "guessed") for _ in range(4)] == [404, 404, 404, 429]
        await forget_attempts(strict)


async def forget_attempts(gateway: Any) -> None:
    """Nothing has failed yet: all tests come from one address."""
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text("DELETE FROM rate_windows"))


# The first account: at the end, it takes all others away ---------------------------------------------------------


async def options(gateway: Any) -> dict[str, Any]:
    """The ways in."""
    answer: dict[str, Any] = (await (await gateway.client()).get("/api/v1/auth/options")).raise_for_status().json()
    return answer


async def test_options_say_whether_registration_is_open(gateway: Any, gateway_with: Any) -> None:
    assert await options(gateway) == {"registration": "open", "password": True, "openid": None}
    async with gateway_with(open_registration=False) as closed:
        assert (await options(closed))["registration"] == "closed"


@contextlib.asynccontextmanager
async def without_accounts(gateway: Any) -> AsyncIterator[None]:
    """An installation that nobody has registered at. In the end it is that again: the next gateway makes its administrator."""

    async def delete_all() -> None:
        async with gateway.db.transaction(Cause.new()) as tx:
            await tx.session.execute(text("DELETE FROM users"))

    await delete_all()
    try:
        yield
    finally:
        await delete_all()


async def test_whoever_registers_first_becomes_administrator_and_nobody_else(gateway_with: Any) -> None:
    async with gateway_with(open_registration=False, admin_email=None) as fresh, without_accounts(fresh):
        assert (await options(fresh))["registration"] == "first"
        http = await fresh.client()
        bodies = [{"email": f"{uuid4().hex}@example.com", "password": PASSWORD} for _ in range(4)]
        answers = await asyncio.gather(*(http.post("/api/v1/auth/register", json=body) for body in bodies))
        assert sorted(answer.status_code for answer in answers) == [201, 403, 403, 403]
        assert [answer.json()["is_admin"] for answer in answers if answer.status_code == 201] == [True]
        assert (await options(fresh))["registration"] == "closed"
        async with fresh.db.read() as session:
            assert len(list(await session.scalars(select(User)))) == 1


async def test_first_account_is_the_administrators_also_where_registration_is_open(gateway_with: Any) -> None:
    async with gateway_with(admin_email=None) as fresh, without_accounts(fresh):
        assert (await options(fresh))["registration"] == "first"
        first, second = await fresh.registered(), await fresh.registered()
        assert [(await one.http.get(ME)).json()["is_admin"] for one in [first, second]] == [True, False]
