"""An archive comes in and waits to become a workspace."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause, Database
from docutalk_common.storage import ObjectStorage

from docutalk_gateway.adapters import import_repository
from docutalk_gateway.adapters.models import Import
from docutalk_gateway.domain import Conflict, FileTooLarge

OPEN_MAX = 5
"""Imports of one person that may wait: each keeps a whole archive."""
MEDIA_TYPE = "application/zip"
PREFIX = "imports/"


def key_of(import_id: UUID) -> str:
    """Where the archive lies in the object store until the import has come to its end."""
    return f"{PREFIX}{import_id}.zip"


@dataclass(frozen=True)
class AcceptedImport:
    """What waits now, and the hash of its archive."""

    row: Import
    sha256: str


async def accept_import(
    db: Database,
    storage: ObjectStorage,
    cause: Cause,
    *,
    user_id: UUID,
    name: str | None,
    chunks: AsyncIterator[bytes],
    max_bytes: int,
) -> AcceptedImport:
    """Stores the archive, whatever it is: it is looked at later. `name`: what the workspace is to be called, if not as it was.

    Raises `Conflict` when too many of this person's wait, `FileTooLarge`, and what `chunks` raises; nothing is kept then.
    """
    await _expect_room(db, cause, user_id)
    import_id = uuid7()
    digest = hashlib.sha256()
    size = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal size
        async for chunk in chunks:
            size += len(chunk)
            if size > max_bytes:
                raise FileTooLarge("The archive", max_bytes)
            digest.update(chunk)
            yield chunk

    stored = await storage.upload_stream(key_of(import_id), counted(), content_type=MEDIA_TYPE)
    row = Import(id=import_id, user_id=user_id, object_key=key_of(import_id), size=stored, name=name)
    try:
        async with db.transaction(cause) as tx:
            _refuse_more(await import_repository.count_open(tx.session, user_id))
            await import_repository.add_import(tx.session, row)
    except Conflict:
        # Not after other errors: the row may be there all the same. What has none is swept later.
        await asyncio.shield(asyncio.ensure_future(storage.delete([row.object_key])))
        raise
    return AcceptedImport(row, digest.hexdigest())


async def _expect_room(db: Database, cause: Cause, user_id: UUID) -> None:
    # Not a read: counting takes a lock.
    async with db.transaction(cause) as tx:
        _refuse_more(await import_repository.count_open(tx.session, user_id))


def _refuse_more(waiting: int) -> None:
    if waiting >= OPEN_MAX:
        raise Conflict(f"{waiting} of your imports have not come to an end. Wait for one of them.")
