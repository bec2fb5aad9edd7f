"""One running DocuTalk for the tests that neither stop a part of it nor need it empty: take a new person in each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from docutalk_local.testing.system import System, running_system


@pytest.fixture(scope="session")
async def shared_system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """Started by the first test that asks for it."""
    async with running_system(tmp_path_factory.mktemp("shared"), durable=False) as system:
        yield system
