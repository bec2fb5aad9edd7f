"""Models of an endpoint that speaks OpenAI's `/embeddings`, on a real HTTP server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from docutalk_common.contracts.embed import Distance, ModelProvider
from docutalk_common.process import wait_until
from docutalk_common.testing.embeddings_server import DIMENSION, MODEL, EmbeddingsServer, Failure, vector_of
from docutalk_embed.adapters.batcher import Lane
from docutalk_embed.adapters.model_registry import Model, ModelRecord, ModelUnavailable
from docutalk_embed.adapters.openai_embedder import Delays, OpenAIEmbedder, OpenAIEndpoint, Patience, shorten

QUICK = Delays(first=0.02, query=Patience(5.0, 3.0))
TEXTS = [f"text number {number} of the harbour" for number in range(10)]


def record(*, provider_model: str = MODEL, dimension: int = DIMENSION, max_tokens: int = 512) -> ModelRecord:
    return ModelRecord(2, "remote", ModelProvider.OPENAI, provider_model, dimension, Distance.COSINE, "q: ", "p: ", max_tokens)


@pytest.fixture
async def server() -> AsyncIterator[EmbeddingsServer]:
    async with EmbeddingsServer() as server:
        yield server


@pytest.fixture
async def endpoint(server: EmbeddingsServer) -> AsyncIterator[OpenAIEndpoint]:
    endpoint = OpenAIEndpoint(server.base_url, server.api_key, batch=4, concurrency=3, delays=QUICK)
    yield endpoint
    await endpoint.close()


@pytest.fixture
def model(endpoint: OpenAIEndpoint) -> Model:
    return Model(record(), OpenAIEmbedder(endpoint, record()))


def expected(texts: list[str]) -> np.ndarray:
    return np.array([vector_of(f"p: {text}") for text in texts])


async def test_vectors_come_in_the_order_of_the_texts_in_requests_of_the_size_that_was_set(
    model: Model, server: EmbeddingsServer
) -> None:
    vectors = await model.embed_passages(TEXTS, Lane.BULK)
    np.testing.assert_allclose(vectors, expected(TEXTS), atol=1e-6)
    assert sorted(len(request.texts) for request in server.requests) == [2, 4, 4]
    assert {request.body["encoding_format"] for request in server.requests} == {"float"}


async def test_a_query_has_the_prefix_of_queries(model: Model, server: EmbeddingsServer) -> None:
    np.testing.assert_allclose(await model.embed_query("pumps"), vector_of("q: pumps"), atol=1e-6)
    assert server.requests[0].texts == ["q: pumps"]


@pytest.mark.parametrize("retry_after", ["0.05", None, "date"])
async def test_an_endpoint_that_takes_no_more_is_asked_again(
    model: Model, server: EmbeddingsServer, retry_after: str | None
) -> None:
    if retry_after == "date":
        retry_after = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    server.failures.append(Failure(429, retry_after=retry_after))
    vectors = await model.embed_passages(TEXTS, Lane.BULK)
    np.testing.assert_allclose(vectors, expected(TEXTS), atol=1e-6)
    assert len(server.requests) == 4


async def test_documents_wait_as_long_as_the_endpoint_wants_all_of_them(
    model: Model, server: EmbeddingsServer, endpoint: OpenAIEndpoint
) -> None:
    server.failures.append(Failure(429, retry_after="0.3"))
    refused = asyncio.create_task(model.embed_passages(TEXTS[:1], Lane.BULK))

    async def told() -> bool:
        return endpoint.resumes > 0

    await wait_until(told, seconds=5, what="the endpoint said how long", every=0.01)
    await model.embed_passages(TEXTS[1:2], Lane.BACKGROUND)
    await refused
    first, *others = (request.received_at for request in server.requests)
    assert min(others) - first >= 0.3


async def test_a_search_does_not_wait_longer_than_its_asker(model: Model, server: EmbeddingsServer) -> None:
    server.outage = Failure(429, retry_after="30")
    async with asyncio.timeout(5):
        with pytest.raises(ModelUnavailable, match=r"takes no more texts for now \(429\). It wants to be asked again in 30 s"):
            await model.embed_query("pumps")
    assert len(server.requests) == 1


@pytest.mark.parametrize("room", ["free", "taken"])
async def test_a_search_waits_no_longer_than_that_for_an_endpoint_that_hangs(server: EmbeddingsServer, room: str) -> None:
    server.hold = asyncio.Event()
    delays = Delays(query=Patience(20.0, 0.2))
    endpoint = OpenAIEndpoint(server.base_url, server.api_key, concurrency=1, delays=delays)
    model = Model(record(), OpenAIEmbedder(endpoint, record()))
    documents = asyncio.create_task(model.embed_passages(TEXTS[:1], Lane.BULK)) if room == "taken" else None

    async def asked() -> bool:
        return documents is None or server.running == 1

    await wait_until(asked, seconds=5, what="the only request is taken")
    async with asyncio.timeout(10):
        with pytest.raises(ModelUnavailable, match=r"did not answer within 0\.2 s"):
            await model.embed_query("pumps")
    server.hold.set()
    if documents is not None:
        await documents
    await endpoint.close()


async def test_an_endpoint_that_wants_to_be_asked_again_at_once_is_given_a_rest(
    server: EmbeddingsServer,
) -> None:
    server.outage = Failure(429, retry_after="0")
    endpoint = OpenAIEndpoint(server.base_url, server.api_key, delays=Delays(first=0.2, query=Patience(5.0, 4.0)))
    with pytest.raises(ModelUnavailable, match="429"):
        await OpenAIEmbedder(endpoint, record()).embed(["pumps"], Lane.QUERY)
    assert 1 < len(server.requests) <= 25
    await endpoint.close()


@pytest.mark.parametrize(
    "failure", [Failure(500), Failure(503, retry_after="0.05"), Failure(cut=True), Failure(body=b'{"data": [')]
)
async def test_a_failure_that_passes_is_not_noticed(model: Model, server: EmbeddingsServer, failure: Failure) -> None:
    server.failures.append(failure)
    np.testing.assert_allclose(await model.embed_query("pumps"), vector_of("q: pumps"), atol=1e-6)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Failure(401), "refused the key (401). Check DOCUTALK_EMBED_ENDPOINT_API_KEY"),
        (Failure(403), "refused the key (403). Check DOCUTALK_EMBED_ENDPOINT_API_KEY"),
        (Failure(404), f"the endpoint has no model {MODEL}, or no /embeddings (404). Check the model's name"),
        (Failure(418), "did not accept the texts (418)"),
        (Failure(dimension=32), "answered with vectors of 32 numbers; it is registered with 64"),
    ],
)
async def test_what_trying_again_cannot_mend_is_said_at_once(
    model: Model, server: EmbeddingsServer, failure: Failure, reason: str
) -> None:
    server.outage = failure
    with pytest.raises(ModelUnavailable) as refusal:
        await model.embed_passages(TEXTS[:2], Lane.BULK)
    assert reason in str(refusal.value)
    assert "The model remote" in str(refusal.value)
    assert refusal.value.code == "unavailable"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Failure(500), r"failed \(500\)"),
        (Failure(cut=True), "cannot be reached"),
        (Failure(body=b"<html>Bad gateway"), "answered with something that is no list of vectors"),
        (Failure(body=b'{"object": "list"}'), "answered with something that is no list of vectors"),
        (Failure(body=b'{"object": "list", "data": [{"embedding": [1, "x"], "index": 0}]}'), "no list of vectors"),
        (Failure(missing=1), "answered with something that is no list of vectors"),
    ],
)
async def test_an_endpoint_that_goes_on_failing_is_named(
    model: Model, server: EmbeddingsServer, failure: Failure, reason: str
) -> None:
    server.outage = failure
    with pytest.raises(ModelUnavailable, match=reason):
        await model.embed_query("pumps")
    assert len(server.requests) > 1


async def test_numbers_that_are_none_are_refused(model: Model, server: EmbeddingsServer) -> None:
    numbers = json.dumps([float("nan")] * DIMENSION)
    server.outage = Failure(body=f'{{"object": "list", "data": [{{"embedding": {numbers}, "index": 0}}]}}'.encode())
    with pytest.raises(ModelUnavailable, match="The model remote answered with vectors that are no numbers"):
        await model.embed_query("pumps")


async def test_an_endpoint_that_is_not_there_is_named_and_no_key_is_told() -> None:
    endpoint = OpenAIEndpoint("http://name:very-secret@127.0.0.1:9/v1", "very-secret", delays=QUICK)
    with pytest.raises(ModelUnavailable, match=r"The model remote at 127\.0\.0\.1:9 cannot be reached") as refusal:
        await OpenAIEmbedder(endpoint, record()).embed(["pumps"], Lane.QUERY)
    assert "very-secret" not in repr(refusal.value)
    await endpoint.close()


async def test_an_endpoint_that_quotes_the_key_does_not_bring_it_into_the_reason(server: EmbeddingsServer) -> None:
    endpoint = OpenAIEndpoint(server.base_url, "very-secret", delays=QUICK)
    with pytest.raises(ModelUnavailable) as refusal:
        await OpenAIEmbedder(endpoint, record()).embed(["pumps"], Lane.QUERY)
    assert "very-secret" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    await endpoint.close()


@pytest.mark.parametrize("ignores_format", [True, False])
async def test_servers_that_send_numbers_or_base64_whatever_is_asked_are_understood(
    model: Model, server: EmbeddingsServer, ignores_format: bool
) -> None:
    server.ignores_format = ignores_format
    server.sends_base64 = not ignores_format
    np.testing.assert_allclose(await model.embed_query("pumps"), vector_of("q: pumps"), atol=1e-6)


async def test_a_search_finds_a_free_request_while_documents_use_all_of_theirs(model: Model, server: EmbeddingsServer) -> None:
    hold = asyncio.Event()
    server.hold = hold
    bulk = asyncio.create_task(model.embed_passages(TEXTS * 4, Lane.BULK))
    background = asyncio.create_task(model.embed_passages(TEXTS * 4, Lane.BACKGROUND))

    async def full() -> bool:
        return server.running == 2

    await wait_until(full, seconds=5, what="documents use all but one request")
    query = asyncio.create_task(model.embed_query("pumps"))

    async def asked() -> bool:
        return server.running == 3

    await wait_until(asked, seconds=5, what="the query is asked")
    assert server.requests[-1].texts == ["q: pumps"]
    hold.set()
    await asyncio.gather(bulk, background, query)
    assert server.most_running == 3


async def test_texts_that_are_too_long_for_the_model_are_cut_until_the_endpoint_takes_them(server: EmbeddingsServer) -> None:
    server.max_characters = 500
    endpoint = OpenAIEndpoint(server.base_url, server.api_key)
    await OpenAIEmbedder(endpoint, record(max_tokens=300)).embed(["pumps " * 1000, "short"], Lane.BULK)
    assert [len(request.texts[0]) for request in server.requests] == [900, 450]
    assert server.requests[-1].texts[1] == "short"
    await endpoint.close()


async def test_an_endpoint_that_takes_less_than_was_registered_is_given_less(server: EmbeddingsServer) -> None:
    server.max_characters = 400
    endpoint = OpenAIEndpoint(server.base_url, server.api_key)
    await OpenAIEmbedder(endpoint, record(max_tokens=8191)).embed(["pumps " * 200], Lane.BULK)
    assert [len(request.texts[0]) for request in server.requests] == [1200, 600, 300]
    await endpoint.close()


async def test_a_text_that_is_never_taken_fails_in_the_end(server: EmbeddingsServer) -> None:
    server.max_characters = 2
    endpoint = OpenAIEndpoint(server.base_url, server.api_key)
    with pytest.raises(ModelUnavailable, match=r"did not accept the texts \(400\)"):
        await OpenAIEmbedder(endpoint, record()).embed(["pumps"], Lane.BULK)
    assert len(server.requests) == 3
    await endpoint.close()


@pytest.mark.parametrize(
    ("text", "tokens", "kept"),
    [("word " * 100, 10, 30), ("слово " * 100, 10, 21), ("港湾" * 100, 10, 5), ("short", 10, 5), ("a" * 29 + "é" * 9, 10, 29)],
)
def test_a_text_is_cut_by_a_careful_estimate_of_its_tokens(text: str, tokens: int, kept: int) -> None:
    assert shorten(text, tokens) == text[:kept]


async def test_one_request_that_fails_for_good_ends_the_others(model: Model, server: EmbeddingsServer) -> None:
    server.failures.append(Failure(401))
    with pytest.raises(ModelUnavailable, match="refused the key"):
        await model.embed_passages(TEXTS * 10, Lane.BULK)
    assert len(server.requests) < 25
