"""Queries for what is exported of a workspace and that only the gateway knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_gateway.adapters.models import Upload


async def unseen_versions(
    session: AsyncSession, workspace_id: UUID, *, after: UUID | None, up_to: UUID | None
) -> AsyncIterator[list[Upload]]:
    """Versions that ingest has not been seen to know, those of a document together, oldest first: of documents after the one and
    up to the other, by id."""
    which = [Upload.workspace_id == workspace_id, Upload.seen_at.is_(None)]
    if after is not None:
        which.append(Upload.document_id > after)
    if up_to is not None:
        which.append(Upload.document_id <= up_to)
    found = select(Upload).where(*which).order_by(Upload.document_id, Upload.version)
    versions: list[Upload] = []
    async for upload in await session.stream_scalars(found.execution_options(yield_per=500)):
        if versions and versions[0].document_id != upload.document_id:
            yield versions
            versions = []
        versions.append(upload)
    if versions:
        yield versions
