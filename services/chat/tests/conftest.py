"""The wire, the documents and the person that tests of the running service share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from docutalk_common.testing.conformance import Wire
from docutalk_common.testing.llm_server import ScriptedModel
from docutalk_local.testing import TestStack

from .world import Documents, Person


@pytest.fixture
async def wire(stack: TestStack) -> AsyncIterator[Wire]:
    """The operator's connection, with empty streams."""
    wire = await Wire.connect(stack.nats_operator)
    await wire.clear()
    yield wire
    await wire.nc.close()


@pytest.fixture
async def documents(wire: Wire) -> AsyncIterator[Documents]:
    """Empty, and served in the place of embed and ingest."""
    documents = Documents()
    async with documents.served(wire):
        yield documents


@pytest.fixture
def person(wire: Wire) -> Person:
    """Somebody in a workspace of their own."""
    return Person(wire)


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    """A language model by script."""
    async with ScriptedModel() as model:
        yield model
