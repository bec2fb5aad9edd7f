"""Imports whose gateway stops, dies, waits or is refused on the way: another one takes them up, or nothing is left of them.

No gateway runs here: it would take up by itself what waits for the workers of these tests.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.db import Cause, Database
from docutalk_common.errors import RequestFailed
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.process import cancel_all, wait_until
from docutalk_common.settings import ServiceSettings
from docutalk_common.storage import ObjectStorage
from docutalk_gateway.adapters.models import Erasure, Import
from docutalk_gateway.domain import Conflict, Limits
from docutalk_gateway.use_cases.accept_import import accept_import
from docutalk_gateway.use_cases.check_archive import SizeLimits
from docutalk_gateway.use_cases.keep_importing import ATTEMPTS_MAX, ImportWorker
from docutalk_gateway.use_cases.sweep_archives import sweep_archives
from docutalk_local.testing import TestStack
from sqlalchemy import select, text, update

from .portable import Services, archive_of, forget, planted, stored

LIMITS = SizeLimits(archive=64 << 20, file=8 << 20, quota=Limits())


@pytest.fixture
async def services(stack: TestStack) -> AsyncIterator[Services]:
    found = Services()
    async with found.serving(stack):
        yield found


@dataclass
class Bench:
    """Workers without a gateway around them, and a person whose archive waits."""

    db: Database
    storage: ObjectStorage
    broker: MessageBroker
    user_id: UUID

    def worker(self, **changes: Any) -> ImportWorker:
        """A gateway's."""
        return ImportWorker(self.db, self.storage, self.broker.requests, **{"limits": LIMITS, **changes})

    async def post(self, archive: bytes) -> UUID:
        """Puts an archive among those that wait."""

        async def chunks() -> AsyncIterator[bytes]:
            yield archive

        accepted = await accept_import(
            self.db, self.storage, Cause.new(), user_id=self.user_id, name=None, chunks=chunks(), max_bytes=LIMITS.archive
        )
        return accepted.row.id

    async def row(self, import_id: UUID) -> Import:
        """The import as it stands."""
        async with self.db.read() as session:
            found = await session.get(Import, import_id)
        assert found is not None
        return found

    async def work_until(self, import_id: UUID, *status: str, **changes: Any) -> Import:
        """Lets a worker work until the import is so far."""
        worker = self.worker(**changes)

        async def is_there() -> bool:
            await worker.work()
            return (await self.row(import_id)).status in status

        await wait_until(is_there, seconds=30, what=f"the import is {status}")
        return await self.row(import_id)


@pytest.fixture
async def bench(stack: TestStack, services: Services, settings_for: Any, run: Any) -> AsyncIterator[tuple[Bench, bytes, Any]]:
    """With the archive of a workspace that is gone, so that ids are free, and the one who had it."""
    async with run(settings_for()) as first:
        person = await first.person()
        await planted(first, person, services)
        archive = await archive_of(person)
        await forget(first, services, person.workspace)
    given = ServiceSettings.from_environment(stack.service_environment("gateway"))
    db = Database(stack.app_dsn("gateway"), schema="gateway", pool_size=6)
    storage = ObjectStorage(given, threads=4)
    broker = MessageBroker(given, service="gateway", db=db)
    await broker.start()
    try:
        yield Bench(db, storage, broker, person.id), archive, person
    finally:
        await broker.stop(grace=1)
        await db.close()
        storage.close()


@pytest.fixture(scope="session")
def run(gateway_with: Any) -> Callable[[Any], Any]:
    """A gateway with settings."""
    return lambda given: gateway_with(**given.model_dump(exclude_unset=True, exclude={"jwt_secret"}))


async def everything(bench: Bench, services: Services, workspace_id: UUID) -> tuple[Any, ...]:
    """What there is of a workspace."""
    async with bench.db.read() as session:
        uploads = (
            await session.execute(
                text("SELECT document_id, object_key FROM gateway.uploads WHERE workspace_id = :w"), {"w": workspace_id}
            )
        ).all()
    objects = await bench.storage.keys(f"{workspace_id}/")
    said = [len(services.messages[key]) for held in services.sessions.values() for key in sorted(held)]
    return sorted(services.documents[workspace_id]), sorted(uploads), sorted(objects), said


async def test_import_of_a_gateway_that_stops_is_finished_by_another_at_once(bench: Any, services: Services) -> None:
    ours, archive, person = bench
    services.hold = asyncio.Event()
    import_id = await ours.post(archive)
    stopped = asyncio.create_task(ours.worker().work())
    await asyncio.wait_for(services.held.wait(), 10)
    row = await ours.row(import_id)
    assert row.status == "importing"
    assert row.workspace_id == person.workspace
    assert await ours.worker().work() is False  # it is held
    await cancel_all([stopped])
    services.hold.set()

    assert await ours.worker().work() is True
    done = await ours.row(import_id)

    assert (done.status, done.workspace_id, done.remapped, done.attempts) == ("done", person.workspace, 0, 1)
    documents, uploads, objects, said = await everything(ours, services, person.workspace)
    assert len(documents) == 3
    assert len(uploads) == 2
    assert len(objects) == 4  # whoever began has left none behind
    assert sorted(said) == [2, 6]


async def test_worker_that_was_silent_too_long_gives_way(bench: Any, services: Services) -> None:
    ours, archive, _ = bench
    services.hold = asyncio.Event()
    import_id = await ours.post(archive)
    silent = asyncio.create_task(ours.worker(lease=timedelta(seconds=3)).work())
    await asyncio.wait_for(services.held.wait(), 10)
    async with ours.db.transaction(Cause.new()) as tx:
        await tx.session.execute(update(Import).where(Import.id == import_id).values(held_by=uuid4(), held_until=None))

    assert await asyncio.wait_for(silent, 10) is True
    row = await ours.row(import_id)
    assert row.status == "importing"
    services.hold.set()
    assert (await ours.work_until(import_id, "done", "failed")).status == "done"


async def test_import_waits_for_a_service_that_is_away(bench: Any, services: Services) -> None:
    ours, archive, _ = bench
    services.refusals["import"] = [RequestFailed("unavailable", "the ingest service is not running") for _ in range(2)]
    import_id = await ours.post(archive)

    await ours.worker(again=timedelta(0)).work()
    row = await ours.row(import_id)

    assert (row.status, row.attempts, row.reason) == ("importing", 0, None)
    assert (await ours.work_until(import_id, "done", "failed", again=timedelta(0))).status == "done"


async def test_import_that_a_service_refuses_is_taken_back(bench: Any, services: Services) -> None:
    ours, archive, person = bench
    services.refusals["import sessions"] = [RequestFailed("invalid", "a message is too long")]
    import_id = await ours.post(archive)

    failed = await ours.work_until(import_id, "done", "failed")

    assert failed.status == "failed"
    assert failed.reason == "A part of the archive was refused: a message is too long"
    assert failed.workspace_id is None
    async with ours.db.read() as session:
        assert await session.scalar(text("SELECT count(*) FROM gateway.workspaces WHERE id = :w"), {"w": person.workspace}) == 0
        assert await session.scalar(select(Erasure.id).where(Erasure.subject_id == person.workspace)) is not None

    async def is_told() -> bool:
        return person.workspace in services.erased

    await wait_until(is_told, seconds=10, what="the other services erase it")
    assert await ours.storage.keys(f"imports/{import_id}") == []
    # What was erased does not come back under its old ids.
    again = await ours.work_until(await ours.post(archive), "done", "failed")
    assert again.status == "done"
    assert again.workspace_id != person.workspace


async def test_import_that_ends_its_gateway_each_time_is_given_up(bench: Any, services: Services) -> None:
    ours, archive, _ = bench
    import_id = await ours.post(archive)
    async with ours.db.transaction(Cause.new()) as tx:
        await tx.session.execute(update(Import).where(Import.id == import_id).values(attempts=ATTEMPTS_MAX))

    failed = await ours.work_until(import_id, "done", "failed")

    assert failed.status == "failed"
    assert "could not be imported" in (failed.reason or "")


async def test_two_imports_of_one_archive_are_two_workspaces(bench: Any, services: Services) -> None:
    ours, archive, _ = bench
    first, second = await ours.post(archive), await ours.post(archive)

    await asyncio.gather(ours.worker().work(), ours.worker().work())

    rows = [await ours.work_until(one, "done", "failed") for one in (first, second)]
    assert [row.status for row in rows] == ["done", "done"]
    assert sorted(row.remapped for row in rows) == [0, 15]
    assert len({row.workspace_id for row in rows}) == 2


async def test_archive_that_is_gone_fails_with_what_to_do(bench: Any, services: Services) -> None:
    ours, archive, _ = bench
    import_id = await ours.post(archive)
    await ours.storage.delete([f"imports/{import_id}.zip"])

    failed = await ours.work_until(import_id, "done", "failed")

    assert "Send it again" in (failed.reason or "")


async def test_workspace_is_seen_by_nobody_until_all_is_there(bench: Any, services: Services) -> None:
    ours, archive, person = bench
    services.hold = asyncio.Event()
    import_id = await ours.post(archive)
    working = asyncio.create_task(ours.worker().work())
    await asyncio.wait_for(services.held.wait(), 10)

    async with ours.db.read() as session:
        members = await session.scalar(
            text("SELECT count(*) FROM gateway.members WHERE workspace_id = :w"), {"w": person.workspace}
        )
        made = await session.scalar(text("SELECT count(*) FROM gateway.workspaces WHERE id = :w"), {"w": person.workspace})
    assert (made, members) == (1, 0)
    services.hold.set()
    await working
    assert (await ours.row(import_id)).status == "done"


async def test_person_who_is_deleted_meanwhile_leaves_no_workspace(bench: Any, services: Services, gateway_with: Any) -> None:
    ours, archive, person = bench
    services.hold = asyncio.Event()
    import_id = await ours.post(archive)
    working = asyncio.create_task(ours.worker(lease=timedelta(seconds=2)).work())
    await asyncio.wait_for(services.held.wait(), 10)
    async with gateway_with() as gateway:
        http, password = await gateway.client(), {"password": "a long enough password"}
        tokens = (await http.post("/api/v1/auth/login", json={"email": person.email, **password})).json()
        http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        answer = await http.request("DELETE", "/api/v1/users/me", json=password)

    assert answer.is_success, answer.text
    await asyncio.wait_for(working, 20)
    services.hold.set()
    async with ours.db.read() as session:
        assert await session.get(Import, import_id) is None
        assert await session.scalar(text("SELECT count(*) FROM gateway.workspaces WHERE id = :w"), {"w": person.workspace}) == 0
        assert await session.scalar(select(Erasure.id).where(Erasure.subject_id == person.workspace)) is not None
    assert await ours.storage.keys(f"imports/{import_id}") == []


async def test_person_may_not_let_too_many_wait(bench: Any, services: Services) -> None:
    ours, archive, _ = bench
    waiting = [await ours.post(archive) for _ in range(5)]
    before = await ours.storage.keys("imports/")

    with pytest.raises(Conflict, match="Wait for one of them"):
        await ours.post(archive)

    assert await ours.storage.keys("imports/") == before
    for import_id in waiting:
        await ours.work_until(import_id, "done")
    await ours.work_until(await ours.post(archive), "done")


async def test_archives_without_an_import_are_swept(bench: Any, services: Services) -> None:
    ours, archive, _ = bench
    waiting = await ours.post(archive)
    loose = await stored(ours.storage, f"imports/{uuid7()}.zip", b"x")

    await sweep_archives(ours.db, ours.storage, older_than=timedelta(hours=1))
    assert loose in await ours.storage.keys("imports/")
    assert await sweep_archives(ours.db, ours.storage, older_than=timedelta(0)) >= 1

    keys = await ours.storage.keys("imports/")
    assert f"imports/{waiting}.zip" in keys
    assert loose not in keys
    await ours.work_until(waiting, "done")


async def test_hash_of_what_was_sent_is_told(bench: Any) -> None:
    ours, archive, _ = bench

    async def chunks() -> AsyncIterator[bytes]:
        yield archive[:100]
        yield archive[100:]

    accepted = await accept_import(
        ours.db, ours.storage, Cause.new(), user_id=ours.user_id, name=None, chunks=chunks(), max_bytes=LIMITS.archive
    )
    assert accepted.sha256 == hashlib.sha256(archive).hexdigest()
    assert json.loads(json.dumps(accepted.row.size)) == len(archive)
    await ours.work_until(accepted.row.id, "done")
