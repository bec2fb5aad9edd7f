"""The consumers of receipts, by the suite that every consumer inherits, and what completes an erasure when all are there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from docutalk_common.contracts import chat, embed, ingest
from docutalk_common.contracts.envelope import ErasureReceipt, uuid7
from docutalk_common.contracts.gateway import MessagePosted, WorkspaceDeleted
from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.conformance import ConsumerConformance, Wire, envelope_for
from docutalk_gateway.adapters import models
from docutalk_gateway.adapters.log_purge import LogPurge
from docutalk_gateway.adapters.models import AuditEntry, Erasure
from docutalk_gateway.app import open_gateway
from docutalk_gateway.use_cases.complete_erasures import complete_erasures
from sqlalchemy import select

from .leftovers import subjects_with

SERVICES = ["ingest", "embed", "chat"]


async def begin(db: Database, *receipts: str, kind: str = "workspace", parent_id: UUID | None = None) -> Erasure:
    """An erasure for which these services have given receipts."""
    erasure = Erasure(id=uuid7(), kind=kind, subject_id=uuid7(), parent_id=parent_id, services=SERVICES)
    async with db.transaction(Cause.new()) as tx:
        tx.session.add(erasure)
        await tx.session.flush()
        for service in ("gateway", *receipts):
            receipt = models.ErasureReceipt(erasure_id=erasure.id, service=service, part=1, parts=1, removed={"things": 1})
            tx.session.add(receipt)
    return erasure


class ReceiptConformance(ConsumerConformance):
    """The consumer of one service's receipts."""

    contract: type[ErasureReceipt]

    @pytest.fixture(autouse=True)
    def _settings(self, settings_for: Any) -> None:
        self._settings_for = settings_for

    def running(self, stack: Any) -> Any:
        """The gateway without its HTTP server."""

        @contextlib.asynccontextmanager
        async def run() -> AsyncIterator[Database]:
            async with open_gateway(self._settings_for(admin_email=None)) as gateway:
                yield gateway.db

        return run()

    async def arrange(self, db: Database) -> ErasureReceipt:
        """An erasure that waits for all."""
        erasure = await begin(db)
        subject = f"{MessagePosted.subject_filter().removesuffix('*')}{uuid7()}"
        about = {"workspace_id": erasure.subject_id, "erasure_id": erasure.id, "subjects": [subject]}
        return self.contract(**about, removed={"documents": 3}, part=2, parts=2)

    async def effect(self, db: Database, message: Any) -> list[Any]:
        """What was received for this erasure."""
        async with db.read() as session:
            rows = await session.execute(
                select(models.ErasureReceipt.service, models.ErasureReceipt.part, models.ErasureReceipt.parts)
                .where(models.ErasureReceipt.erasure_id == message.erasure_id)
                .order_by(models.ErasureReceipt.service)
            )
        return [tuple(row) for row in rows]


class TestIngestErased(ReceiptConformance):
    """Receipts of ingest."""

    durable = "gateway-ingest-erased"
    contract = ingest.DataErased


class TestEmbedErased(ReceiptConformance):
    """Receipts of embed."""

    durable = "gateway-embed-erased"
    contract = embed.DataErased


class TestChatErased(ReceiptConformance):
    """Receipts of chat."""

    durable = "gateway-chat-erased"
    contract = chat.DataErased

    async def test_receipt_of_an_erasure_that_is_not_known_is_let_go(self, db: Database, wire: Wire) -> None:
        """For example of one that began after the backup that was restored."""
        envelope = envelope_for(chat.DataErased(workspace_id=uuid7(), erasure_id=uuid7(), removed={}))
        await wire.send(envelope)
        await self.handled(db, wire, envelope)
        assert await wire.dead_letters(self.entry) == []


# Completion ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def db(settings_for: Any) -> AsyncIterator[Database]:
    """The gateway's database, with no gateway running."""
    db = Database(settings_for().postgres_dsn.get_secret_value(), schema="gateway", pool_size=4)
    yield db
    await db.close()


@pytest.fixture
async def storage(settings_for: Any) -> AsyncIterator[ObjectStorage]:
    """The object store."""
    storage = ObjectStorage(settings_for(), threads=2)
    yield storage
    storage.close()


@pytest.fixture
async def purge(settings_for: Any) -> AsyncIterator[LogPurge]:
    """What purges the log, with the gateway's rights."""
    broker = MessageBroker(settings_for(), service="gateway", db=None)
    await broker.start()
    yield LogPurge(lambda: broker.js)
    await broker.stop()


@pytest.fixture
async def wire(stack: Any) -> AsyncIterator[Wire]:
    """The operator's connection."""
    wire = await Wire.connect(stack.nats_operator)
    yield wire
    await wire.nc.close()


async def is_complete(db: Database, erasure: Erasure) -> bool:
    """Whether it says so."""
    async with db.read() as session:
        found = await session.get(Erasure, erasure.id)
    return found is not None and found.completed_at is not None


async def noted(db: Database, erasure: Erasure) -> int:
    """How often its end was noted."""
    async with db.read() as session:
        return len(list(await session.scalars(select(AuditEntry).where(AuditEntry.target_id == erasure.id))))


def _away() -> Any:
    raise DependencyUnavailable("nats", "not connected")


async def test_erasure_is_not_complete_before_the_log_is_purged(
    db: Database, storage: ObjectStorage, purge: LogPurge, wire: Wire
) -> None:
    erasure = await begin(db, *SERVICES)
    await wire.send(envelope_for(WorkspaceDeleted(workspace_id=erasure.subject_id, erasure_id=erasure.id)))
    with pytest.raises(DependencyUnavailable):
        await complete_erasures(db, storage, LogPurge(_away))
    assert not await is_complete(db, erasure)
    assert await complete_erasures(db, storage, purge) >= 1
    assert await is_complete(db, erasure)
    assert await subjects_with(wire.js, [str(erasure.subject_id)]) == []


async def test_erasure_is_completed_once_by_however_many_gateways(db: Database, storage: ObjectStorage, purge: LogPurge) -> None:
    erasures = [await begin(db, *SERVICES) for _ in range(3)]
    await asyncio.gather(*(complete_erasures(db, storage, purge) for _ in range(3)))
    assert await complete_erasures(db, storage, purge) == 0
    assert [await is_complete(db, erasure) for erasure in erasures] == [True] * 3
    assert [await noted(db, erasure) for erasure in erasures] == [1] * 3


async def test_gateway_that_was_killed_after_the_purge_does_it_again(
    db: Database, storage: ObjectStorage, purge: LogPurge, wire: Wire
) -> None:
    """The receipts are not in the log any more: nothing brings them again."""
    erasure = await begin(db, *SERVICES)
    await purge.workspace(erasure.subject_id)
    await wire.send(
        envelope_for(ingest.DocumentReady(workspace_id=erasure.subject_id, document_id=uuid7(), page_count=1, chunk_count=1))
    )
    assert await complete_erasures(db, storage, purge) >= 1
    assert await subjects_with(wire.js, [str(erasure.subject_id)]) == []


async def test_user_is_complete_after_their_workspaces(db: Database, storage: ObjectStorage, purge: LogPurge) -> None:
    user = await begin(db, *SERVICES, kind="user")
    workspaces = [await begin(db, *SERVICES, parent_id=user.id), await begin(db, "ingest", parent_id=user.id)]
    assert await complete_erasures(db, storage, purge) >= 1
    assert [await is_complete(db, erasure) for erasure in (*workspaces, user)] == [True, False, False]
    async with db.transaction(Cause.new()) as tx:
        for service in ("embed", "chat"):
            receipt = models.ErasureReceipt(erasure_id=workspaces[1].id, service=service, part=1, parts=1, removed={})
            tx.session.add(receipt)
    assert await complete_erasures(db, storage, purge) >= 2
    assert await is_complete(db, user)


async def test_objects_that_are_left_are_removed_and_counted(db: Database, storage: ObjectStorage, purge: LogPurge) -> None:
    async def data() -> AsyncIterator[bytes]:
        yield b"of an upload that was cut off"

    erasure, other = await begin(db, *SERVICES), uuid7()
    for workspace in (erasure.subject_id, other):
        for _ in range(2):
            await storage.upload_stream(f"{workspace}/{uuid7()}/{uuid7()}.txt", data(), content_type="text/plain")
    await complete_erasures(db, storage, purge)
    assert await storage.keys(f"{erasure.subject_id}/") == []
    assert len(await storage.keys(f"{other}/")) == 2
    async with db.read() as session:
        receipt = await session.get(models.ErasureReceipt, (erasure.id, "gateway", 1))
    assert receipt is not None
    assert receipt.removed == {"things": 1, "objects": 2}
