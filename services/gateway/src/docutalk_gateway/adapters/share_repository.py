"""Every query about share links."""

from __future__ import annotations

from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters.models import Share, ShareVisit


async def share_of_visit(session: AsyncSession, visit_id: UUID, now: datetime) -> Share | None:
    """The link that was opened; None when the visit or the link has ended."""
    return cast(
        "Share | None",
        await session.scalar(
            select(Share)
            .join(ShareVisit, ShareVisit.share_id == Share.id)
            .where(
                ShareVisit.id == visit_id,
                ShareVisit.expires_at > now,
                Share.revoked_at.is_(None),
                or_(Share.expires_at.is_(None), Share.expires_at > now),
            )
        ),
    )
