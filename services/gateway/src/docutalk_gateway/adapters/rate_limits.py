"""Limits that all gateways keep together: counted in PostgreSQL, in windows of time."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import cast

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters.models import RateWindow


async def take(session: AsyncSession, bucket: str, *, most: int, seconds: int, amount: int = 1) -> float | None:
    """Takes `amount` of what `bucket` has in this window of `seconds`; None while it is at most `most`, else in how many seconds
    there is more. `bucket` says whose and of what, for example `login:address:192.0.2.7`."""
    now = datetime.now(UTC)
    window = int(now.timestamp()) // seconds
    ends_at = datetime.fromtimestamp((window + 1) * seconds, UTC)
    statement = insert(RateWindow).values(bucket=bucket, window=window, taken=amount, ends_at=ends_at)
    taken = await session.scalar(
        statement.on_conflict_do_update(
            index_elements=[RateWindow.bucket, RateWindow.window], set_={"taken": RateWindow.taken + statement.excluded.taken}
        ).returning(RateWindow.taken)
    )
    return None if cast("int", taken) <= most else max(1.0, (ends_at - now) / timedelta(seconds=1))


async def clear(session: AsyncSession, bucket: str) -> None:
    """Nothing of it has been taken."""
    await session.execute(delete(RateWindow).where(RateWindow.bucket == bucket))


async def delete_ended(session: AsyncSession, now: datetime) -> None:
    """Windows that have ended limit nobody."""
    await session.execute(delete(RateWindow).where(RateWindow.ends_at < now))


def network_of(address: str | None) -> str:
    """Whom a limit for an address is for. Whoever has one IPv6 address has the 2^64 around it."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))
