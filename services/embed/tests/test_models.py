"""Models are registered, listed and removed; the model that serves may be away."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docutalk_common.contracts.embed import (
    ChangeStep,
    Distance,
    EmbeddingModel,
    ListModels,
    ModelProvider,
    RegisterModel,
    RemoveModel,
    StartChange,
    StepChange,
)
from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable, NotFound, RequestFailed
from docutalk_common.process import Runtime, wait_until
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_common.testing.embeddings_server import EmbeddingsServer, Failure
from docutalk_embed.adapters.batcher import Lane, MicroBatcher, Processor
from docutalk_embed.adapters.minilm import MiniLM
from docutalk_embed.adapters.model_catalogue import KNOWN_MODELS
from docutalk_embed.adapters.model_registry import Embedder, Model, ModelRecord, ModelRegistry, ModelUnavailable, find_model
from docutalk_embed.adapters.providers import Providers
from docutalk_embed.app import embed
from docutalk_embed.settings import EmbedSettings
from docutalk_embed.use_cases.ask_model import ask_model, load_serving
from docutalk_embed.use_cases.list_models import list_models
from docutalk_embed.use_cases.register_model import register_model
from docutalk_embed.use_cases.remove_model import remove_model
from docutalk_embed.use_cases.start_change import start_change
from docutalk_embed.use_cases.step_change import step_change
from docutalk_local.testing import TestStack
from fastembed import TextEmbedding
from prometheus_client import REGISTRY
from sqlalchemy import text

from .conftest import Indexed
from .local_models import LocalModel

BUILT_IN = "all-MiniLM-L6-v2"


class Catalogue:
    """The models of an installation with an endpoint and a folder of local models."""

    def __init__(
        self, db: Database, batcher: MicroBatcher, settings: EmbedSettings, server: EmbeddingsServer, folder: Path
    ) -> None:
        self.db = db
        self.server = server
        self.folder = folder
        self.settings = settings
        self.providers = Providers(settings, Processor(), threads=1)
        self.registry = ModelRegistry(batcher, self.providers.openers, self.providers.missing)

    async def register(
        self, name: str = "mine", provider: ModelProvider | None = ModelProvider.OPENAI, **fields: object
    ) -> EmbeddingModel:
        """Registers a model; without other words one of the endpoint."""
        request = RegisterModel.model_validate({"name": name, "provider": provider, **fields})
        return await register_model(request, self.db, self.registry, Cause.new())

    async def remove(self, name: str = "mine") -> None:
        """Removes a model."""
        await remove_model(RemoveModel(name=name), self.db, self.registry, Cause.new())

    async def names(self) -> list[str]:
        """The names of all registered models."""
        return [item.name for item in (await list_models(ListModels(), self.db, self.registry)).items]

    async def load(self, name: str) -> Model:
        """The model as searches load it."""
        async with self.db.read() as session:
            record = await find_model(session, name)
        assert record is not None
        return await self.registry.load(record)


@pytest.fixture
async def server() -> AsyncIterator[EmbeddingsServer]:
    async with EmbeddingsServer({"words-64": 64, "words-32": 32, "wide": 4096, "text-embedding-3-small": 1536}) as server:
        yield server


@pytest.fixture
async def catalogue(
    own_database: Database, batcher: MicroBatcher, stack: TestStack, server: EmbeddingsServer, tmp_path: Path
) -> AsyncIterator[Catalogue]:
    """An installation with the built-in model only."""
    async with own_database.transaction(Cause.new()) as transaction:
        run = transaction.session.execute
        await run(text("DELETE FROM model_changes"))
        await run(text("UPDATE serving SET model_id = 1"))
        await run(text("SELECT drop_embeddings(id) FROM models WHERE id > 1"))
        await run(text("DELETE FROM models WHERE id > 1"))
        await run(text("UPDATE models SET provider = 'built-in', distance = 'cosine'"))
        # Another test's change may have ended with it dropped.
        await run(text("SELECT create_embeddings(1::smallint) WHERE to_regclass('embeddings_1') IS NULL"))
    environment = replace(stack, database="docutalk_changing").service_environment("embed")
    settings = {name.removeprefix("DOCUTALK_").lower(): value for name, value in environment.items()}
    of_tests = {
        "embed_endpoint_url": server.base_url,
        "embed_endpoint_api_key": server.api_key,
        "embed_models_folder": tmp_path,
    }
    own = EmbedSettings.model_validate(settings | of_tests)
    catalogue = Catalogue(own_database, batcher, own, server, tmp_path)
    yield catalogue
    await catalogue.registry.close()
    await catalogue.providers.close()


async def test_a_model_of_the_endpoint_is_registered_after_it_gave_a_vector(catalogue: Catalogue) -> None:
    model = await catalogue.register(
        provider_model="words-64", dimension=64, query_prefix="q: ", passage_prefix="p: ", max_tokens=100, distance="dot"
    )
    assert (model.name, model.provider, model.provider_model) == ("mine", ModelProvider.OPENAI, "words-64")
    assert (model.dimension, model.max_tokens, model.is_serving, model.passages) == (64, 100, False, 0)
    assert (model.query_prefix, model.passage_prefix, model.distance) == ("q: ", "p: ", Distance.DOT)
    [asked] = catalogue.server.requests
    assert [words.startswith("p: ") for words in asked.texts] == [True]
    assert await catalogue.names() == [BUILT_IN, "mine"]


async def test_a_local_model_is_registered_and_gives_vectors(catalogue: Catalogue) -> None:
    local = LocalModel(catalogue.folder, "my/model")
    model = await catalogue.register("local", ModelProvider.FASTEMBED, provider_model="my/model")
    assert model.dimension == 12
    loaded = await catalogue.load("local")
    expected = local.vector("pumps")
    np.testing.assert_allclose(await loaded.embed_query("pumps"), expected / np.linalg.norm(expected), atol=1e-5)


async def test_a_dimension_that_was_not_given_is_found_out(catalogue: Catalogue) -> None:
    assert (await catalogue.register(provider_model="words-32")).dimension == 32


async def test_a_well_known_model_needs_its_name_only(catalogue: Catalogue) -> None:
    model = await catalogue.register("text-embedding-3-small", None)
    assert (model.provider, model.dimension, model.max_tokens) == (ModelProvider.OPENAI, 1536, 8191)


async def test_a_well_known_model_of_another_provider_keeps_its_prefixes(catalogue: Catalogue) -> None:
    catalogue.server.models["bge-small-en-v1.5"] = 384
    model = await catalogue.register("bge-small-en-v1.5", ModelProvider.OPENAI)
    assert model.query_prefix == KNOWN_MODELS["bge-small-en-v1.5"].prefixes[0]
    assert model.provider_model == "bge-small-en-v1.5"


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"name": "with space"}, "invalid", "1 to 80 letters"),
        ({"name": "x" * 81}, "invalid", "1 to 80 letters"),
        ({"name": "a/b"}, "invalid", "1 to 80 letters"),
        ({"provider": None}, "invalid", "say which provider has it"),
        ({"provider": ModelProvider.BUILT_IN}, "invalid", "one built-in model"),
        ({"dimension": 32}, "invalid", "mine gives vectors of 64 numbers, not of 32"),
        ({"dimension": 0}, "invalid", "the dimension is 0; it may be 1 to 4,000"),
        ({"dimension": 4001}, "invalid", "the dimension is 4,001; it may be 1 to 4,000"),
        ({"provider_model": "wide"}, "invalid", "vectors of 4,096 numbers; at most 4,000"),
        ({"provider_model": ""}, "invalid", "name at its provider is empty"),
        ({"max_tokens": 2}, "invalid", "8 to 131,072"),
        ({"query_prefix": "x" * 1001}, "invalid", "prefix of queries"),
        ({"passage_prefix": "a\0b"}, "invalid", "prefix of passages"),
        ({"name": BUILT_IN}, "conflict", "there is a model all-MiniLM-L6-v2 already"),
        ({"provider_model": "unknown"}, "unavailable", "has no model unknown"),
        ({"provider": ModelProvider.FASTEMBED}, "unavailable", "put its files into the folder words-64"),
    ],
)
async def test_what_cannot_be_registered_is_refused_with_a_reason(
    catalogue: Catalogue, fields: dict[str, Any], code: str, reason: str
) -> None:
    with pytest.raises(RequestFailed, match=re.escape(reason)) as refusal:
        await catalogue.register(**({"name": "mine", "provider_model": "words-64"} | fields))
    assert refusal.value.code == code
    assert await catalogue.names() == [BUILT_IN]


async def test_of_two_who_register_one_name_at_once_one_is_refused(catalogue: Catalogue) -> None:
    outcomes = await asyncio.gather(
        *(catalogue.register(provider_model=model) for model in ("words-64", "words-32")), return_exceptions=True
    )
    [refusal] = [outcome for outcome in outcomes if isinstance(outcome, RequestFailed)]
    assert refusal.code == "conflict"
    assert await catalogue.names() == [BUILT_IN, "mine"]


async def test_a_removed_model_is_forgotten_and_its_name_is_free_again(catalogue: Catalogue) -> None:
    await catalogue.register(provider_model="words-64")
    await catalogue.remove()
    assert await catalogue.names() == [BUILT_IN]
    assert (await catalogue.register(provider_model="words-32")).dimension == 32


async def test_what_is_in_use_is_not_removed(catalogue: Catalogue) -> None:
    with pytest.raises(NotFound):
        await catalogue.remove("unheard-of")
    with pytest.raises(RequestFailed, match="part of the program"):
        await catalogue.remove(BUILT_IN)
    await catalogue.register(provider_model="words-64")
    change = await start_change(StartChange(to_model="mine"), catalogue.db, Cause.new())
    with pytest.raises(RequestFailed, match="a change to or from mine is open"):
        await catalogue.remove()
    cancel = StepChange(change_id=change.change_id, step=ChangeStep.CANCEL)
    await step_change(cancel, catalogue.db, catalogue.registry, Cause.new())
    await catalogue.remove()
    assert await catalogue.names() == [BUILT_IN]


async def serve(catalogue: Catalogue, name: str) -> None:
    """Searches use this model, without the way there."""
    async with catalogue.db.transaction(Cause.new()) as transaction:
        await transaction.session.execute(
            text("UPDATE serving SET model_id = (SELECT id FROM models WHERE name = :name)"), {"name": name}
        )


async def test_the_model_that_serves_is_not_removed(catalogue: Catalogue) -> None:
    await catalogue.register(provider_model="words-64")
    await serve(catalogue, "mine")
    with pytest.raises(RequestFailed, match="searches use mine; change to another model first"):
        await catalogue.remove()


async def test_the_list_says_which_model_serves_and_how_many_passages_it_has(catalogue: Catalogue) -> None:
    [built_in] = (await list_models(ListModels(), catalogue.db, catalogue.registry)).items
    async with catalogue.db.read() as session:
        passages = await session.scalar(text("SELECT count(*) FROM embeddings_1"))
    assert (built_in.is_serving, built_in.dimension, built_in.passages) == (True, 384, passages)


async def test_offers_say_what_is_missing_and_leave_out_what_is_registered(catalogue: Catalogue) -> None:
    await catalogue.register("text-embedding-3-small", None)
    LocalModel(catalogue.folder, "BAAI/bge-small-en-v1.5", weights="model_optimized.onnx")
    offers = {offer.name: offer for offer in (await list_models(ListModels(), catalogue.db, catalogue.registry)).offers}
    assert offers.keys() == KNOWN_MODELS.keys() - {"text-embedding-3-small"}
    assert offers["nomic-embed-text"].is_ready
    assert offers["bge-small-en-v1.5"].is_ready
    missing = offers["bge-large-en-v1.5"]
    assert not missing.is_ready
    assert missing.reason is not None
    assert "BAAI/bge-large-en-v1.5" in missing.reason


async def test_without_settings_offers_name_them(settings: EmbedSettings, batcher: MicroBatcher, catalogue: Catalogue) -> None:
    providers = Providers(settings, Processor(), threads=1)
    registry = ModelRegistry(batcher, providers.openers, providers.missing)
    offers = {offer.name: offer.reason for offer in (await list_models(ListModels(), catalogue.db, registry)).offers}
    assert "Set DOCUTALK_EMBED_ENDPOINT_URL" in (offers["nomic-embed-text"] or "")
    assert "Set DOCUTALK_EMBED_MODELS_FOLDER" in (offers["bge-small-en-v1.5"] or "")


async def test_a_serving_model_that_is_away_does_not_keep_the_service_from_starting(catalogue: Catalogue) -> None:
    LocalModel(catalogue.folder, "my/model")
    await catalogue.register("local", ModelProvider.FASTEMBED, provider_model="my/model")
    await serve(catalogue, "local")
    (catalogue.folder / "my").rename(catalogue.folder / "away")
    await load_serving(catalogue.db, catalogue.registry)
    with pytest.raises(DependencyUnavailable, match="put its files into the folder my/model"):
        await ask_model(catalogue.db, catalogue.registry)
    (catalogue.folder / "away").rename(catalogue.folder / "my")
    await ask_model(catalogue.db, catalogue.registry)


async def test_the_serving_model_is_asked_whether_it_answers(catalogue: Catalogue) -> None:
    await catalogue.register(provider_model="words-64")
    await serve(catalogue, "mine")
    await ask_model(catalogue.db, catalogue.registry)
    catalogue.server.outage = Failure(401)
    with pytest.raises(DependencyUnavailable, match="refused the key") as refusal:
        await ask_model(catalogue.db, catalogue.registry)
    assert refusal.value.dependency == "model"


async def test_documents_wait_while_the_serving_model_refuses_and_are_stored_when_it_answers(
    catalogue: Catalogue, stack: TestStack, engine: MiniLM
) -> None:
    await catalogue.register(provider_model="words-64")
    async with catalogue.db.transaction(Cause.new()) as transaction:
        await transaction.session.execute(text("SELECT create_embeddings(id) FROM models WHERE name = 'mine'"))
    await serve(catalogue, "mine")
    wire = await Wire.connect(stack.nats_operator)
    await wire.clear()
    [work] = Indexed(catalogue.db, catalogue.registry).batches(["Pumps were replaced."])
    catalogue.server.outage = Failure(401)
    async with embed(catalogue.settings, Runtime("embed"), engine):
        await wire.send(envelope_for(work))

        async def waits() -> bool:
            labels = {"consumer": "embed-chunks-index", "dependency": "model"}
            return REGISTRY.get_sample_value("docutalk_consumer_paused", labels) == 1

        await wait_until(waits, seconds=20, what="the consumer waits for the model")
        catalogue.server.outage = None

        async def stored() -> bool:
            async with catalogue.db.read() as session:
                found = await session.execute(
                    text("SELECT live_version FROM documents WHERE document_id = :id"), {"id": work.document_id}
                )
                return found.scalar() == 1

        await wait_until(stored, seconds=20, what="the document is stored")
    await wire.nc.close()


async def test_a_model_is_loaded_once_however_many_ask_for_it(catalogue: Catalogue) -> None:
    LocalModel(catalogue.folder, "my/model")
    await catalogue.register("local", ModelProvider.FASTEMBED, provider_model="my/model")
    first, *others = await asyncio.gather(*(catalogue.load("local") for _ in range(5)))
    assert all(other.embedder is first.embedder for other in others)
    await catalogue.registry.forget(first.record)
    assert (await catalogue.load("local")).embedder is not first.embedder


async def test_loading_goes_on_when_who_asked_for_it_gives_up(catalogue: Catalogue) -> None:
    LocalModel(catalogue.folder, "my/model")
    await catalogue.register("local", ModelProvider.FASTEMBED, provider_model="my/model")
    opened = 0
    begun, go_on = asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def slowly(record: ModelRecord) -> AsyncIterator[Embedder]:
        nonlocal opened
        opened += 1
        begun.set()
        await go_on.wait()
        async with catalogue.registry.opened(record) as embedder:
            yield embedder

    async with catalogue.db.read() as session:
        record = await find_model(session, "local")
    assert record is not None
    registry = ModelRegistry(catalogue.registry.built_in, {ModelProvider.FASTEMBED: slowly})
    impatient = asyncio.create_task(registry.load(record))
    await begun.wait()
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    patient = asyncio.create_task(registry.load(record))
    go_on.set()
    assert (await patient).record == record
    assert opened == 1
    await registry.close()


async def test_models_that_were_not_asked_for_of_late_are_unloaded(catalogue: Catalogue) -> None:
    LocalModel(catalogue.folder, "my/model")
    for name in ("first", "second", "third"):
        await catalogue.register(name, ModelProvider.FASTEMBED, provider_model="my/model")
    first, second = await catalogue.load("first"), await catalogue.load("second")
    await catalogue.load("first")
    await catalogue.load("third")
    assert (await catalogue.load("first")).embedder is first.embedder
    with pytest.raises(RequestFailed, match="the model second was unloaded"):
        await second.embed_query("pumps")
    await (await catalogue.load("second")).embed_query("pumps")


async def test_a_dimension_that_changed_since_is_refused_with_the_models_name(catalogue: Catalogue) -> None:
    await catalogue.register(provider_model="words-64")
    model = await catalogue.load("mine")
    catalogue.server.models["words-64"] = 65
    with pytest.raises(ModelUnavailable, match="The model mine answered with vectors of 65 numbers; it is registered with 64"):
        await model.embed_passages(["text"], Lane.BULK)


def test_what_is_said_of_local_models_is_what_the_library_says() -> None:
    library = {known["model"]: known for known in TextEmbedding.list_supported_models()}
    for known in KNOWN_MODELS.values():
        if known.provider is ModelProvider.FASTEMBED:
            described = library[known.provider_model]
            assert described["dim"] == known.dimension
            assert f"{known.max_tokens} input tokens" in described["description"]
