"""Asking ingest to do something with a document that it may not have registered yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from docutalk_common.db import Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import repository
from docutalk_gateway.domain import DocumentNotRegistered

T = TypeVar("T")

REGISTERS_WITHIN_SECONDS = 2.0


async def ask_about(db: Database, workspace_id: UUID, document_id: UUID, ask: Callable[[], Awaitable[T]]) -> T:
    """What `ask` answers. An accepted upload that ingest does not know is waited for, moments as a rule.

    Raises `NotFound`, `DocumentNotRegistered` for an upload that ingest does not register in time, and what `ask` raises.
    """
    deadline = time.monotonic() + REGISTERS_WITHIN_SECONDS
    while True:
        try:
            return await ask()
        except NotFound:
            async with db.read() as session:
                upload = await repository.upload_of(session, workspace_id, document_id)
            if upload is None or upload.seen_at is not None:
                raise NotFound("There is no such document.") from None
        if time.monotonic() > deadline:
            raise DocumentNotRegistered
        await asyncio.sleep(0.1)
