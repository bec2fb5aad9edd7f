"""The object store with the service's own keys, and a parser shared by the tests that need one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from docutalk_common.storage import ObjectStorage
from docutalk_ingest.adapters.isolated_parser import IsolatedParser
from docutalk_local.testing import TestStack

from .world import settings


@pytest.fixture
def storage(stack: TestStack) -> Iterator[ObjectStorage]:
    """The bucket, as ingest sees it."""
    storage = ObjectStorage(settings(stack))
    yield storage
    storage.close()


@pytest.fixture(scope="session")
async def parser() -> AsyncIterator[IsolatedParser]:
    """The parser as the service runs it."""
    parser = IsolatedParser()
    yield parser
    await parser.close()
