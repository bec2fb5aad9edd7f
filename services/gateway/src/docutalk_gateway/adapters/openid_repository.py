"""Every query about signing in at an OpenID provider."""

from __future__ import annotations

from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import delete, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters.models import OpenIdCode, OpenIdFlow, OpenIdIdentity, User


async def add_flow(session: AsyncSession, flow: OpenIdFlow) -> None:
    """Remembers somebody who goes to the provider."""
    session.add(flow)
    await session.flush()


async def take_flow(session: AsyncSession, state_hash: bytes, browser_hash: bytes, now: datetime) -> OpenIdFlow | None:
    """Who went there with this state and this browser. Of two that come back at once, one gets it."""
    return cast(
        "OpenIdFlow | None",
        await session.scalar(
            delete(OpenIdFlow)
            .where(OpenIdFlow.state_hash == state_hash, OpenIdFlow.browser_hash == browser_hash, OpenIdFlow.expires_at > now)
            .returning(OpenIdFlow)
            .execution_options(synchronize_session=False)
        ),
    )


async def remove_identities(session: AsyncSession, user_id: UUID) -> int:
    """This account belongs to nobody at the provider any more; how many it belonged to."""
    removed = await session.execute(
        delete(OpenIdIdentity).where(OpenIdIdentity.user_id == user_id).returning(OpenIdIdentity.subject)
    )
    return len(removed.all())


async def add_code(session: AsyncSession, code: OpenIdCode) -> None:
    """Stores what an application gets a sign-in for."""
    session.add(code)
    await session.flush()


async def take_code(session: AsyncSession, code_hash: bytes, now: datetime) -> OpenIdCode | None:
    """The code with this hash, used up by it; None for one that is unknown, used or has expired."""
    return cast(
        "OpenIdCode | None",
        await session.scalar(
            delete(OpenIdCode)
            .where(OpenIdCode.code_hash == code_hash, OpenIdCode.expires_at > now)
            .returning(OpenIdCode)
            .execution_options(synchronize_session=False)
        ),
    )


async def lock_identity(session: AsyncSession, issuer: str, subject: str) -> None:
    """Until the end of the transaction nobody else signs in as this person: of two first times at once the second finds the
    account that the first made."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{issuer} {subject}", 7))))


async def user_known_as(session: AsyncSession, issuer: str, subject: str) -> User | None:
    """Whose account it is."""
    return cast(
        "User | None",
        await session.scalar(
            select(User)
            .join(OpenIdIdentity, OpenIdIdentity.user_id == User.id)
            .where(OpenIdIdentity.issuer == issuer, OpenIdIdentity.subject == subject)
        ),
    )


async def has_identity(session: AsyncSession, user_id: UUID, issuer: str) -> bool:
    """Whether somebody at this provider signs in to this account."""
    known = exists().where(OpenIdIdentity.user_id == user_id, OpenIdIdentity.issuer == issuer)
    return bool(await session.scalar(select(known)))


async def add_identity(session: AsyncSession, issuer: str, subject: str, user_id: UUID) -> None:
    """From now on this person at the provider signs in to this account. `lock_identity` first."""
    session.add(OpenIdIdentity(issuer=issuer, subject=subject, user_id=user_id))
    await session.flush()


async def delete_expired_openid(session: AsyncSession, now: datetime) -> None:
    """Forgets who went to the provider and did not come back, and codes that nobody fetched a sign-in with."""
    await session.execute(delete(OpenIdFlow).where(OpenIdFlow.expires_at < now))
    await session.execute(delete(OpenIdCode).where(OpenIdCode.expires_at < now))
