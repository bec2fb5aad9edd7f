"""Attempts to prove who one is: counted before a password is looked at, so that no more of them are looked at at once either."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from docutalk_common.db import Cause, Database
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.rate_limits import clear, network_of, take
from docutalk_gateway.domain import TooManyRequests

QUARTER_OF_AN_HOUR = 15 * 60
HOUR = 60 * 60


@dataclass(frozen=True)
class Limit:
    """At most `most` failures in a window of `seconds`. `clears`: who succeeds may fail as often again."""

    bucket: str
    most: int
    seconds: int
    clears: bool = False


@dataclass(frozen=True, repr=False)
class AttemptLimits:
    """How often somebody may fail: with one account from one address, with one account, from one address. Accounts are counted by
    a hash that is keyed with `secret`: who reads the table learns no addresses of e-mail."""

    secret: str
    per_account_and_address: int
    per_account: int
    per_address: int

    def of_account(self, email: str, address: str | None) -> tuple[Limit, ...]:
        """What an attempt to sign in is counted as; `email` as `account_named` spells it, whether or not there is an account.

        The first that is used up ends the counting, so that nobody can lock an account for others from a single address.
        """
        account = hmac.new(self.secret.encode(), email.encode(), hashlib.sha256).hexdigest()
        network = network_of(address)
        return (
            Limit(f"login:{account}:{network}", self.per_account_and_address, QUARTER_OF_AN_HOUR, clears=True),
            Limit(f"login:account:{account}", self.per_account, HOUR),
            Limit(f"login:address:{network}", self.per_address, QUARTER_OF_AN_HOUR),
        )

    def of_address(self, what: str, address: str | None) -> tuple[Limit, ...]:
        """What an attempt is counted as that names no account: to register, to use the token of a reset."""
        return (Limit(f"{what}:address:{network_of(address)}", self.per_address, QUARTER_OF_AN_HOUR),)


class _UsedUp(Exception):
    def __init__(self, limit: Limit, wait: float) -> None:
        self.limit, self.wait = limit, wait


async def count_attempt(
    db: Database, cause: Cause, actor: Actor, limits: Sequence[Limit], *, account_id: UUID | None = None
) -> None:
    """Counts an attempt as one that fails; `forgive_attempt` when it did not. Raises `TooManyRequests`, and then nothing is
    counted."""
    try:
        async with db.transaction(cause) as tx:
            for limit in limits:
                wait = await take(tx.session, limit.bucket, most=limit.most, seconds=limit.seconds)
                if wait is not None:
                    raise _UsedUp(limit, wait)
    except _UsedUp as used_up:
        await _note_throttled(db, cause, actor, used_up.limit, account_id)
        wait = used_up.wait
    else:
        return
    raise TooManyRequests(f"Too many attempts have failed. Try again in {_minutes(wait)}.", wait)


async def _note_throttled(db: Database, cause: Cause, actor: Actor, limit: Limit, account_id: UUID | None) -> None:
    async with db.transaction(cause) as tx:
        # Once in a window: whoever goes on trying would fill the log.
        if await take(tx.session, f"noted:{limit.bucket}", most=1, seconds=limit.seconds) is None:
            note(tx.session, Action.SIGN_IN_THROTTLED, actor, target_id=account_id)


def _minutes(seconds: float) -> str:
    minutes = -(-int(seconds) // 60)
    return "a minute" if minutes <= 1 else f"{minutes} minutes"


async def forgive_attempt(session: AsyncSession, limits: Sequence[Limit]) -> None:
    """Takes back that an attempt was counted, in the transaction of what it was made for."""
    for limit in limits:
        if limit.clears:
            await clear(session, limit.bucket)
        else:
            # At the turn of a window this is of the next one: somebody may then fail once more.
            await take(session, limit.bucket, most=limit.most, seconds=limit.seconds, amount=-1)
