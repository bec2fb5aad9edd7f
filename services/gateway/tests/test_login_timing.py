"""How long a failing sign-in takes tells nothing of the account."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from docutalk_common.db import Cause
from docutalk_gateway.adapters.audit_log import Actor
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.adapters.tokens import AccessTokens
from docutalk_gateway.domain import WrongCredentials
from docutalk_gateway.use_cases.limit_attempts import AttemptLimits
from docutalk_gateway.use_cases.sign_in import sign_in
from sqlalchemy import text

EACH = 40
# With 40 of each the area under the curve varies by 0.065 (one standard deviation) when there is no difference: one in some
# thousand measurements is further off than this, and never two in a row.
INDISTINGUISHABLE = pytest.approx(0.5, abs=0.25)
MANY = 1_000_000


@pytest.fixture(autouse=True)
async def nothing_failed(gateway: Any) -> AsyncIterator[None]:
    """All tests come from one address: what fails here must not count in another one."""
    yield
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text("DELETE FROM rate_windows"))


async def interleaved(attempts: Mapping[str, Callable[[], Awaitable[None]]], *, each: int) -> dict[str, list[float]]:
    """The seconds that each kind takes, in random order: whatever else the machine does befalls all alike."""
    order = [kind for kind in attempts for _ in range(each)]
    random.Random(7).shuffle(order)
    seconds: dict[str, list[float]] = {kind: [] for kind in attempts}
    for kind in [*attempts, *order]:
        started = time.perf_counter()
        await attempts[kind]()
        seconds[kind].append(time.perf_counter() - started)
    # The first of each kind warms up.
    return {kind: taken[1:] for kind, taken in seconds.items()}


def area_under_the_curve(ones: Sequence[float], others: Sequence[float]) -> float:
    """Of the receiver operating characteristic: how often one of the first takes longer than one of the others (Mann and
    Whitney's U by the number of pairs). 0.5: who sees the times can only guess; 0 or 1: who sees them knows."""
    return sum((one > other) + (one == other) / 2 for one in ones for other in others) / (len(ones) * len(others))


async def accounts(gateway: Any) -> dict[str, str]:
    """An address of each kind of account."""
    known, without = await gateway.registered(), await gateway.registered()
    async with gateway.db.transaction(Cause.new()) as tx:
        await tx.session.execute(text("UPDATE users SET password_hash = NULL WHERE id = :id"), {"id": without.id})
    return {"known": known.email, "without password": without.email, "unknown": f"{uuid4().hex}@example.com"}


async def test_wrong_password_and_unknown_account_take_the_same_time(gateway_with: Any) -> None:
    limits = {"login_failures": MANY, "login_failures_per_account": MANY, "login_failures_per_address": MANY}
    async with gateway_with(**limits) as gateway:
        http = await gateway.client()

        def attempt(email: str) -> Callable[[], Awaitable[None]]:
            async def fail() -> None:
                answer = await http.post("/api/v1/auth/login", json={"email": email, "password": "not the password"})
                assert answer.status_code == 401

            return fail

        attempts = {kind: attempt(email) for kind, email in (await accounts(gateway)).items()}
        for _ in range(2):
            seconds = await interleaved(attempts, each=EACH)
            areas = [area_under_the_curve(seconds["known"], seconds[kind]) for kind in ("unknown", "without password")]
            if areas == [INDISTINGUISHABLE] * 2:
                break
    assert areas == [INDISTINGUISHABLE] * 2


class HastyPasswords(Passwords):
    """What the measurement is there to catch: without a hash there is nothing to compare, so nothing is computed."""

    async def check(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """At once when there is no such account."""
        return await super().check(password, hashed) if hashed is not None else (False, None)


async def test_measurement_tells_a_difference_where_there_is_one(gateway: Any) -> None:
    passwords = HastyPasswords()

    def attempt(email: str) -> Callable[[], Awaitable[None]]:
        async def fail() -> None:
            with pytest.raises(WrongCredentials):
                await sign_in(
                    gateway.db,
                    passwords,
                    AccessTokens(seconds=60),
                    Cause.new(),
                    Actor(address="192.0.2.7"),
                    limits=AttemptLimits("a secret", per_account_and_address=MANY, per_account=MANY, per_address=MANY),
                    email=email,
                    password="not the password",
                    lifetime=timedelta(days=1),
                )

        return fail

    known, _, unknown = (await accounts(gateway)).values()
    seconds = await interleaved({"known": attempt(known), "unknown": attempt(unknown)}, each=20)
    assert area_under_the_curve(seconds["known"], seconds["unknown"]) > 0.85
