"""The scripted server, and models at it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from docutalk_common.llm import Endpoint, LanguageModel, connect
from docutalk_common.testing.llm_server import ScriptedModel

from .asking import Connect


@pytest.fixture
async def server() -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel() as server:
        yield server


@pytest.fixture
async def connected(server: ScriptedModel) -> AsyncIterator[Connect]:
    """Connects to the server, or to another address, and closes at the end. Tries nothing twice unless told to."""
    models: list[LanguageModel] = []

    def connect_to(**given: Any) -> LanguageModel:
        settings = {"base_url": server.base_url, "model": "tiny", "api_key": "secret", "retry_delays": (), **given}
        models.append(connect(Endpoint(**settings)))
        return models[-1]

    yield connect_to
    for model in models:
        await model.close()
