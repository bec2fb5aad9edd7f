"""An account with a workspace of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause, Database
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters import account_repository, repository
from docutalk_gateway.adapters.audit_log import Action, Actor, ActorKind, note
from docutalk_gateway.adapters.models import User, Workspace
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.adapters.tokens import hash_token
from docutalk_gateway.domain import EmailTaken, RegistrationClosed
from docutalk_gateway.use_cases.accept_invitation import accept, find_invitation
from docutalk_gateway.use_cases.limit_attempts import AttemptLimits, count_attempt, forgive_attempt


async def add_account(
    session: AsyncSession,
    actor: Actor,
    *,
    email: str,
    password_hash: str | None,
    display_name: str | None,
    email_vouched: bool,
    is_admin: bool = False,
    method: str = "password",
) -> User:
    """Stores an account and its default workspace, and notes it as the deed of `actor`, or of the new user when that is nobody.
    `email_vouched`: somebody else says that the address is theirs. Raises `EmailTaken`."""
    user_id = uuid7()
    user = User(
        id=user_id,
        email=email,
        password_hash=password_hash,
        display_name=display_name,
        is_admin=is_admin,
        email_vouched=email_vouched,
    )
    if not await repository.add_user(session, user, Workspace(id=uuid7(), name="My documents", description=None)):
        raise EmailTaken
    who = replace(actor, kind=ActorKind.USER, id=user_id) if actor.kind is ActorKind.NOBODY else actor
    note(session, Action.REGISTERED, who, target_id=user_id, method=method, is_admin=is_admin)
    stored = await repository.user_by_id(session, user_id)
    assert stored is not None
    return stored


async def is_first(session: AsyncSession) -> bool:
    """Whether there is no account yet. If so, nobody else can become the first until the end of the transaction."""
    if await account_repository.any_account(session):
        return False
    await account_repository.lock_first_account(session)
    return not await account_repository.any_account(session)


async def register_user(
    db: Database,
    passwords: Passwords,
    cause: Cause,
    actor: Actor,
    *,
    limits: AttemptLimits,
    email: str,
    password: str,
    display_name: str | None,
    is_open: bool,
    invitation: str | None = None,
) -> User:
    """Makes a user and their default workspace. The first one of an installation becomes its administrator; after that it takes
    open registration, or the token of an invitation, which is used up.

    Raises `RegistrationClosed`, `NotFound` and `NotAllowed` for an invitation that cannot be accepted, `EmailTaken`, and
    `TooManyRequests` for who tries one address after another to see which are taken.
    """
    token_hash = hash_token(invitation) if invitation is not None else None
    vouched = False
    async with db.read() as session:
        if token_hash is not None:
            found = await find_invitation(session, token_hash, email=email)
            # Everybody owns a workspace and may invite into it, also an address that is not theirs, and then register with that.
            vouched = found.invitation.email is not None and found.inviter.is_admin
        elif not is_open and await account_repository.any_account(session):
            raise RegistrationClosed
    attempt = limits.of_address("register", actor.address)
    await count_attempt(db, cause, actor, attempt)
    hashed = await passwords.hash(password)
    async with db.transaction(cause) as tx:
        is_admin = token_hash is None and await is_first(tx.session)
        if token_hash is None and not is_open and not is_admin:
            raise RegistrationClosed
        user = await add_account(
            tx.session,
            actor,
            email=email,
            password_hash=hashed,
            display_name=display_name,
            email_vouched=vouched,
            is_admin=is_admin,
        )
        if token_hash is not None:
            invited_user = replace(actor, kind=ActorKind.USER, id=user.id)
            await accept(tx.session, invited_user, token_hash, user, now=datetime.now(UTC))
        # In the same transaction: an address that was taken stays counted.
        await forgive_attempt(tx.session, attempt)
    return user
