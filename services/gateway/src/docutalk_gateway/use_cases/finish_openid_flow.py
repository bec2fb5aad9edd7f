"""Somebody comes back from the OpenID provider."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable, DocuTalkError, NotFound
from docutalk_common.telemetry import get_logger
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import openid_repository, repository
from docutalk_gateway.adapters.audit_log import Action, Actor, ActorKind, note
from docutalk_gateway.adapters.models import OpenIdCode, OpenIdFlow, User
from docutalk_gateway.adapters.openid_provider import PROVIDER, OpenIdProvider, Person
from docutalk_gateway.adapters.tokens import AccessTokens, hash_token, new_token
from docutalk_gateway.domain import EmailTaken, NotAllowed, OpenIdFault, OpenIdRefused
from docutalk_gateway.use_cases.accept_invitation import accept, find_invitation
from docutalk_gateway.use_cases.register_user import add_account, is_first
from docutalk_gateway.use_cases.sign_in import TokenPair, start_sign_in

log = get_logger(__name__)

CODE_SECONDS = 60
_AWAY = {"server_error", "temporarily_unavailable"}
_DECLINED = {"access_denied", "login_required", "consent_required", "interaction_required", "account_selection_required"}


@dataclass(frozen=True)
class Returned:
    """What a browser brings back: of the provider the state with a code or an error, of its own the cookie."""

    state: str
    browser: str | None
    code: str | None
    error: str | None
    issuer: str | None


@dataclass(frozen=True)
class _Arrival:
    """Whom the provider sends, and what they bring."""

    actor: Actor
    issuer: str
    person: Person
    invitation_hash: bytes | None
    provider_registers: bool

    def actor_as(self, user: User) -> Actor:
        return replace(self.actor, kind=ActorKind.USER, id=user.id)

    @property
    def email(self) -> str:
        if self.person.email is None:
            raise OpenIdRefused(
                "The OpenID provider does not say that your e-mail address is verified, so it is not known which account is"
                " yours. Verify the address there, or sign in with a password."
            )
        return self.person.email


async def finish_openid_flow(
    db: Database,
    provider: OpenIdProvider,
    tokens: AccessTokens,
    cause: Cause,
    actor: Actor,
    *,
    returned: Returned,
    provider_registers: bool,
    lifetime: timedelta,
) -> TokenPair | str:
    """A sign-in; or for an application the address to return to, with a code for one, or with `error` and `error_description`
    when there is none (as in RFC 6749, section 4.1.2.1). With `provider_registers` everybody whom the provider knows gets an
    account, else nobody without an invitation.

    Raises `OpenIdRefused` for who was not sent from here or is not let in, what `find_invitation` raises, `DependencyUnavailable`
    and `OpenIdFault`.
    """
    flow = await _take_flow(db, cause, returned)

    async def finish() -> TokenPair | str:
        person = await _identify(provider, flow, returned)
        async with db.transaction(cause) as tx:
            user = await _account(tx.session, _Arrival(actor, provider.issuer, person, flow.invitation_hash, provider_registers))
            if flow.return_to is None or flow.code_challenge is None:
                return await start_sign_in(tx.session, tokens, actor, user_id=user.id, method="openid", lifetime=lifetime)
            return await _hand_over(tx.session, user, flow.return_to, flow.code_challenge)

    try:
        return await finish()
    except DocuTalkError as error:
        if isinstance(error, OpenIdRefused | NotAllowed | NotFound | EmailTaken):
            async with db.transaction(cause) as tx:
                note(tx.session, Action.SIGN_IN_FAILED, actor, method="openid")
        if flow.return_to is None:
            raise
        told = str(error)
        if isinstance(error, DependencyUnavailable):  # what it says is for the log
            told = f"{error.dependency} is not available; try again in a moment."
        return _back(flow.return_to, error=error.code, error_description=told)


async def _take_flow(db: Database, cause: Cause, returned: Returned) -> OpenIdFlow:
    if returned.browser is not None:
        async with db.transaction(cause) as tx:
            flow = await openid_repository.take_flow(
                tx.session, hash_token(returned.state), hash_token(returned.browser), datetime.now(UTC)
            )
        if flow is not None:
            return flow
    raise OpenIdRefused(
        "This sign-in was not started in this browser, was finished before, or took more than 10 minutes. Start it again."
    )


async def _identify(provider: OpenIdProvider, flow: OpenIdFlow, returned: Returned) -> Person:
    # RFC 9207: an answer that another provider was asked for.
    if returned.issuer is not None and returned.issuer != provider.issuer:
        raise OpenIdRefused("The answer is not that of this server's OpenID provider. Start the sign-in again.")
    if returned.error in _DECLINED:
        raise OpenIdRefused("The OpenID provider did not let you in, or you declined. You can start the sign-in again.")
    if returned.error in _AWAY:
        raise DependencyUnavailable(PROVIDER, f"it answers {returned.error}")
    if returned.error is not None or returned.code is None:
        log.warning("the OpenID provider refuses this server", error=returned.error)
        raise OpenIdFault("The OpenID provider refuses to tell this server who you are. Its log says why.")
    return await provider.identify(code=returned.code, nonce=flow.nonce, code_verifier=flow.code_verifier)


async def _account(session: AsyncSession, arrival: _Arrival) -> User:
    """Whose account it is, found or made. Raises `OpenIdRefused`, and what an invitation raises."""
    await openid_repository.lock_identity(session, arrival.issuer, arrival.person.subject)
    user = await openid_repository.user_known_as(session, arrival.issuer, arrival.person.subject)
    if user is None:
        user = await repository.user_by_email(session, arrival.email)
        if user is None:
            return await _add_account(session, arrival)
        await _link(session, arrival, user)
    if user.disabled_at is not None:
        raise OpenIdRefused("This account is disabled. Ask the administrator of this server.")
    if arrival.invitation_hash is not None:
        found = await find_invitation(session, arrival.invitation_hash, email=user.email)
        # One that only makes accounts is left for somebody else.
        if found.workspace is not None:
            await accept(session, arrival.actor_as(user), arrival.invitation_hash, user, now=datetime.now(UTC))
    return user


async def _link(session: AsyncSession, arrival: _Arrival, user: User) -> None:
    """From now on this person signs in to the account that has their address.

    Also to one with a password, as is usual, which stays as the way in when the provider is away. But only if somebody vouched
    for its address: else whoever made the account may have taken another's, to wait in it for them.
    """
    if not user.email_vouched:
        raise OpenIdRefused(
            "There is an account with your e-mail address already, and nobody has vouched that it is yours. Sign in with its"
            " password, or ask the administrator to vouch for it."
        )
    # An address that the provider gave to somebody new: what was its owner's before is not theirs.
    if await openid_repository.has_identity(session, user.id, arrival.issuer):
        raise OpenIdRefused(
            "The account with your e-mail address belongs to another person at the OpenID provider. Ask the administrator."
        )
    await openid_repository.add_identity(session, arrival.issuer, arrival.person.subject, user.id)
    note(session, Action.USER_CHANGED, arrival.actor_as(user), target_id=user.id, openid="linked")


async def _add_account(session: AsyncSession, arrival: _Arrival) -> User:
    """A new one, without a password."""
    if arrival.invitation_hash is None and not arrival.provider_registers:
        raise OpenIdRefused("You have no account on this server. Ask its administrator for an invitation.")
    user = await add_account(
        session,
        arrival.actor,
        email=arrival.email,
        password_hash=None,
        display_name=arrival.person.name,
        email_vouched=True,
        # As with a password, the first person of an installation becomes its administrator.
        is_admin=arrival.invitation_hash is None and await is_first(session),
        method="openid",
    )
    await openid_repository.add_identity(session, arrival.issuer, arrival.person.subject, user.id)
    if arrival.invitation_hash is not None:
        await accept(session, arrival.actor_as(user), arrival.invitation_hash, user, now=datetime.now(UTC))
    return user


async def _hand_over(session: AsyncSession, user: User, return_to: str, code_challenge: str) -> str:
    code = new_token()
    expires_at = datetime.now(UTC) + timedelta(seconds=CODE_SECONDS)
    stored = OpenIdCode(code_hash=hash_token(code), user_id=user.id, code_challenge=code_challenge, expires_at=expires_at)
    await openid_repository.add_code(session, stored)
    return _back(return_to, code=code)


def _back(return_to: str, **query: str) -> str:
    return f"{return_to}{'&' if '?' in return_to else '?'}{urlencode(query)}"
