"""A share link becomes a visit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters import share_repository
from docutalk_gateway.adapters.audit_log import Action, Actor, ActorKind, note
from docutalk_gateway.adapters.models import Share, ShareVisit
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.adapters.rate_limits import network_of, take
from docutalk_gateway.adapters.tokens import AccessTokens, Identity
from docutalk_gateway.domain import TooManyRequests, WrongSharePassword
from docutalk_gateway.use_cases.find_share import State, add_access, find_share, gone, note_refused, state_of
from docutalk_gateway.use_cases.limit_attempts import QUARTER_OF_AN_HOUR, Limit, forgive_attempt

# Wrong passwords in a quarter of an hour. Who was given a link may mistype its password; at this pace nobody guesses it.
GUESSES_PER_LINK = 60
GUESSES_PER_ADDRESS = 20


@dataclass(frozen=True)
class Opened:
    """`share` as it stands after this use. `expires_in` is in seconds and speaks of the access token, and so of the visit."""

    share: Share
    visit: ShareVisit
    access_token: str
    expires_in: int


async def open_share(
    db: Database, passwords: Passwords, tokens: AccessTokens, cause: Cause, actor: Actor, *, token: str, password: str | None
) -> Opened:
    """Counts one use and begins a visit. Raises `NotFound` for a link that has ended, `WrongSharePassword`, `TooManyRequests`."""
    share = await find_share(db, cause, actor, token)
    guesses = (
        () if share.password_hash is None else await _password_proven(db, passwords, cause, actor, share=share, password=password)
    )
    now = datetime.now(UTC)
    async with db.transaction(cause) as tx:
        await forgive_attempt(tx.session, guesses)
        taken = await share_repository.take_use(tx.session, share, now)
        if taken is not None:
            ends = now + timedelta(seconds=tokens.visit_seconds)
            visit = ShareVisit(id=uuid7(), share_id=share.id, opened_at=now, expires_at=min(ends, taken.expires_at or ends))
            tx.session.add(visit)
            visitor = replace(actor, kind=ActorKind.VISITOR, id=visit.id)
            add_access(tx.session, visitor, share.id, "opened", visit_id=visit.id)
            note(tx.session, Action.SHARE_OPENED, visitor, workspace_id=share.workspace_id, target_id=share.id)
    if taken is None:
        raise await _ended_meanwhile(db, cause, actor, share)
    access_token = tokens.issue(Identity(visit_id=visit.id), until=visit.expires_at)
    return Opened(taken, visit, access_token, int((visit.expires_at - now).total_seconds()))


async def _password_proven(
    db: Database, passwords: Passwords, cause: Cause, actor: Actor, *, share: Share, password: str | None
) -> Sequence[Limit]:
    """What is to be forgiven, as the password was right. It is counted before it is looked at: no more of them are looked at at
    once either."""
    if password is None:
        raise WrongSharePassword("This link has a password. Give the one that you were told.")
    limits = (
        Limit(f"share:password:address:{network_of(actor.address)}", GUESSES_PER_ADDRESS, QUARTER_OF_AN_HOUR),
        Limit(f"share:password:{share.id}", GUESSES_PER_LINK, QUARTER_OF_AN_HOUR),
    )
    wait = await _count(db, cause, limits)
    if wait is not None:
        await note_refused(db, cause, actor, share, "too_many_passwords")
        raise TooManyRequests(f"Too many passwords were tried. Try again in {-(-wait // 60):.0f} min.", wait)
    if not await passwords.matches(password, share.password_hash):
        await note_refused(db, cause, actor, share, "password")
        raise WrongSharePassword("The password of this link is another one.")
    return limits


async def _count(db: Database, cause: Cause, limits: Sequence[Limit]) -> float | None:
    """The first that is used up ends the counting: a single address does not use up a link's for everybody."""
    async with db.transaction(cause) as tx:
        for limit in limits:
            wait = await take(tx.session, limit.bucket, most=limit.most, seconds=limit.seconds)
            if wait is not None:
                return wait
    return None


async def _ended_meanwhile(db: Database, cause: Cause, actor: Actor, share: Share) -> Exception:
    """Why the use could not be taken: others were faster, or the link was changed in this moment."""
    async with db.read() as session:
        current = await share_repository.share_of(session, share.workspace_id, share.id)
    if current is not None:
        state = state_of(current, datetime.now(UTC))
        if state is State.ACTIVE:
            return WrongSharePassword("The password of this link was changed a moment ago. Ask for the new one.")
        await note_refused(db, cause, actor, share, state.value)
    return gone()
