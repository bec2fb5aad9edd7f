"""Fixtures of the common library's tests, on the real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from docutalk_common.testing.playground import Playground, open_playground
from docutalk_local.testing import TestStack


@pytest.fixture
async def playground(stack: TestStack) -> AsyncIterator[Playground]:
    """A schema, durables and messages of this test's own."""
    superuser = stack.backend.servers.superuser_dsn
    async with open_playground(superuser, stack.nats_operator, database=stack.database) as playground:
        yield playground
