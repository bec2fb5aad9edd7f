"""The running service over NATS: batches in, events out, questions answered."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import numpy as np
import pytest
from docutalk_common.contracts.embed import (
    EmbeddingModel,
    Embeddings,
    EmbedTexts,
    ListModels,
    ModelProvider,
    ModelRemoved,
    Models,
    PassagesFound,
    RegisterModel,
    RemoveModel,
    SearchPassages,
)
from docutalk_common.contracts.envelope import Contract, Envelope
from docutalk_common.errors import RequestFailed
from docutalk_common.messaging import event_log
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.messaging.streams import EVENTS
from docutalk_common.process import wait_until
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_common.testing.patient_client import PatientClient
from docutalk_embed.adapters.minilm import MiniLM
from docutalk_embed.settings import EmbedSettings
from docutalk_local.testing import TestStack

from .conftest import Indexed, running_embed

SEARCH = "rpc.embed.v1.passage.search"
EMBED = "rpc.embed.v1.text.embed"


@pytest.fixture
async def wire(stack: TestStack) -> AsyncIterator[Wire]:
    wire = await Wire.connect(stack.nats_operator)
    await wire.clear()
    yield wire
    await wire.nc.close()


@pytest.fixture
async def requests(wire: Wire, settings: EmbedSettings, engine: MiniLM) -> AsyncIterator[RequestClient]:
    """Questions to the running service."""
    async with running_embed(settings, engine):
        yield PatientClient(lambda: wire.nc)


async def test_batches_come_in_and_passages_can_be_asked_for(indexed: Indexed, wire: Wire, requests: RequestClient) -> None:
    batches = indexed.batches([f"Pump {number} of the harbour." for number in range(9)], size=3)
    for work in batches:
        await wire.send(envelope_for(work))

    async def events() -> list[Envelope]:
        found = await event_log.read(wire.nc, EVENTS, f"evt.embed.v1.*.indexed.*.{batches[0].document_id}")
        return [Envelope.model_validate_json(item.data) for item in found]

    async def complete() -> bool:
        return any(event.type == "embed.document.indexed.v1" for event in await events())

    await wait_until(complete, seconds=60, what="the document is indexed")
    assert sorted(event.type for event in await events()) == ["embed.chunks.indexed.v1"] * 3 + ["embed.document.indexed.v1"]
    request = SearchPassages(workspace_id=indexed.workspace_id, query="harbour pumps", limit=4)
    found = await requests.ask(SEARCH, request, PassagesFound)
    assert len(found.passages) == 4
    assert found.took_ms > 0


async def test_texts_are_embedded_for_others(requests: RequestClient, engine: MiniLM) -> None:
    texts = ["rivers and bridges", "", "taxes"]
    answer = await requests.ask(EMBED, EmbedTexts(texts=texts), Embeddings)
    assert answer.model == "all-MiniLM-L6-v2"
    assert (np.array(answer.vectors) * engine.embed(texts)).sum(axis=1).min() > 0.999


@pytest.mark.parametrize(
    ("subject", "request_", "reason"),
    [
        (SEARCH, {"query": "   "}, "the query is empty"),
        (SEARCH, {"query": "x" * 100_000}, "100,000 characters"),
        (SEARCH, {"query": "pumps", "limit": 1000}, "1 to 100"),
        (EMBED, {"texts": ["a"] * 257}, "at most 256"),
    ],
)
async def test_what_cannot_be_answered_is_refused_with_a_reason(
    indexed: Indexed, requests: RequestClient, subject: str, request_: dict[str, object], reason: str
) -> None:
    contract: type[Contract] = SearchPassages if subject == SEARCH else EmbedTexts
    question = contract.model_validate({"workspace_id": indexed.workspace_id} | request_)
    with pytest.raises(RequestFailed, match=reason) as failure:
        await requests.ask(subject, question, PassagesFound)
    assert failure.value.code == "invalid"


async def test_models_are_listed_and_an_asker_is_told_what_a_model_lacks(requests: RequestClient) -> None:
    models = await requests.ask("rpc.embed.v1.model.list", ListModels(), Models)
    assert [model.name for model in models.items if model.is_serving] == ["all-MiniLM-L6-v2"]
    question = RegisterModel(name="local", provider=ModelProvider.FASTEMBED)
    with pytest.raises(RequestFailed, match="Set DOCUTALK_EMBED_MODELS_FOLDER to it") as failure:
        await requests.ask("rpc.embed.v1.model.register", question, EmbeddingModel)
    assert failure.value.code == "unavailable"
    with pytest.raises(RequestFailed, match="there is no model local") as failure:
        await requests.ask("rpc.embed.v1.model.remove", RemoveModel(name="local"), ModelRemoved)
    assert failure.value.code == "not_found"


async def test_the_process_starts_from_its_environment_and_stops_on_sigterm(stack: TestStack, wire: Wire) -> None:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "docutalk_embed",
        env=environment | stack.service_environment("embed"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while b'"ready"' not in (line := await process.stderr.readline()):
                assert line, "the process ended before it was ready"
        answer = await PatientClient(lambda: wire.nc).ask(EMBED, EmbedTexts(texts=["hello"]), Embeddings)
        assert len(answer.vectors[0]) == 384
    finally:
        process.terminate()
        log = await process.stderr.read()
        assert await process.wait() == 0, log.decode()
