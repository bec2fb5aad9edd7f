"""Somebody is sent to the OpenID provider."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters import openid_repository
from docutalk_gateway.adapters.models import OpenIdFlow
from docutalk_gateway.adapters.openid_provider import OpenIdProvider
from docutalk_gateway.adapters.tokens import hash_token, new_token
from docutalk_gateway.use_cases.accept_invitation import find_invitation

MINUTES = 10


@dataclass(frozen=True)
class Started:
    """Where to go, and what the browser keeps in a cookie until it comes back."""

    url: str
    browser: str


@dataclass(frozen=True)
class Application:
    """Who wants the sign-in: an address to return to, and the challenge whose verifier only they have (RFC 7636, S256)."""

    return_to: str
    code_challenge: str


async def start_openid_flow(
    db: Database, provider: OpenIdProvider, cause: Cause, *, application: Application | None, invitation: str | None
) -> Started:
    """Remembers who was sent. Any gateway of the installation may receive them.

    Raises `NotFound` for an invitation that is not valid, `DependencyUnavailable` and `OpenIdFault`.
    """
    if invitation is not None:
        async with db.read() as session:
            await find_invitation(session, hash_token(invitation))
    state, nonce, verifier, browser = new_token(), new_token(), new_token(), new_token()
    url = await provider.authorization_url(state=state, nonce=nonce, code_verifier=verifier)
    flow = OpenIdFlow(
        state_hash=hash_token(state),
        browser_hash=hash_token(browser),
        nonce=nonce,
        code_verifier=verifier,
        return_to=application.return_to if application else None,
        code_challenge=application.code_challenge if application else None,
        invitation_hash=hash_token(invitation) if invitation is not None else None,
        expires_at=datetime.now(UTC) + timedelta(minutes=MINUTES),
    )
    async with db.transaction(cause) as tx:
        await openid_repository.add_flow(tx.session, flow)
    return Started(url, browser)
