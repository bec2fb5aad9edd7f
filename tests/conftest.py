"""One running DocuTalk for the tests that neither stop a part of it nor need it empty: take a new person in each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from docutalk_common.testing.embeddings_server import EmbeddingsServer
from docutalk_local.testing.system import System, endpoint_settings, running_system


@pytest.fixture(scope="session")
async def embeddings() -> AsyncIterator[EmbeddingsServer]:
    """The endpoint that `shared_system` may take embeddings from; nobody uses it before a model is registered."""
    async with EmbeddingsServer() as server:
        yield server


@pytest.fixture(scope="session")
async def shared_system(tmp_path_factory: pytest.TempPathFactory, embeddings: EmbeddingsServer) -> AsyncIterator[System]:
    """Started by the first test that asks for it."""
    settings = endpoint_settings(embeddings)
    async with running_system(tmp_path_factory.mktemp("shared"), settings, durable=False) as system:
        yield system
