"""The object store with the service's own keys, a parser that all tests share, and the running service of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from docutalk_common.db import Database
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.conformance import Wire
from docutalk_common.testing.patient_client import PatientClient
from docutalk_ingest.adapters.isolated_parser import IsolatedParser
from docutalk_local.testing import TestStack

from .gateway_stand_in import GatewayStandIn, answering
from .source_world import Sources
from .world import running, settings


@pytest.fixture
def storage(stack: TestStack) -> Iterator[ObjectStorage]:
    """The bucket, as ingest sees it."""
    storage = ObjectStorage(settings(stack))
    yield storage
    storage.close()


@pytest.fixture(scope="session")
async def parser() -> AsyncIterator[IsolatedParser]:
    """The parser as the service runs it, loaded."""
    parser = IsolatedParser()
    await parser.start()
    yield parser
    await parser.close()


@pytest.fixture(scope="module")
async def gateway(stack: TestStack) -> AsyncIterator[GatewayStandIn]:
    """Answers what runs of sources ask. Not longer: it would answer in place of the real one in the gateway's tests."""
    async with answering(stack) as gateway:
        yield gateway


@pytest.fixture(scope="module")
async def db(stack: TestStack, parser: IsolatedParser, gateway: GatewayStandIn) -> AsyncIterator[Database]:
    """The running service's database."""
    async with running(stack, parser) as db:
        yield db


@pytest.fixture
async def wire(stack: TestStack, db: Database) -> AsyncIterator[Wire]:
    """The operator's connection to the running service's streams, which are empty."""
    wire = await Wire.connect(stack.nats_operator)
    await wire.clear()
    yield wire
    await wire.nc.close()


@pytest.fixture
def requests(wire: Wire) -> RequestClient:
    """Asks the running service."""
    return PatientClient(lambda: wire.nc)


@pytest.fixture
def sources(requests: RequestClient) -> Sources:
    """The sources of a workspace of this test's own."""
    return Sources(requests, workspace_id=uuid4(), user=uuid4())
