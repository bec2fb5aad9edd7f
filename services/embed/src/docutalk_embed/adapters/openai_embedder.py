"""Models behind an endpoint that speaks OpenAI's `/embeddings`: OpenAI, Ollama, LM Studio, vLLM, Text Embeddings Inference."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import numpy as np
import openai
from docutalk_common.telemetry import get_logger
from openai import AsyncOpenAI
from openai.types import CreateEmbeddingResponse

from docutalk_embed.adapters.batcher import Lane, Vectors
from docutalk_embed.adapters.model_registry import ModelRecord, ModelUnavailable

log = get_logger(__name__)

_TIMES_SHORTENED = 2
_URGENT = (Lane.QUERY, Lane.INTERACTIVE)


@dataclass(frozen=True)
class Patience:
    """Seconds that a caller waits: for one answer, and in all, with what is tried again. Only a query's total also bounds an
    answer that is under way, and waiting for room."""

    request: float
    total: float


@dataclass(frozen=True)
class Delays:
    """How long is waited for an endpoint, in seconds."""

    first: float = 0.5
    """Before it is asked again; doubled each time, up to `longest`, where the endpoint does not say how long."""
    longest: float = 20.0
    query: Patience = Patience(4.0, 5.0)
    """Then a search goes by the words alone: its askers wait longer than that."""
    interactive: Patience = Patience(40.0, 45.0)
    """A local server may have to load the model first."""
    documents: Patience = Patience(120.0, 180.0)
    """Then the message goes back to waiting, for as long as it takes."""

    def of(self, lane: Lane) -> Patience:
        """The patience of who waits in a lane."""
        return {Lane.QUERY: self.query, Lane.INTERACTIVE: self.interactive}.get(lane, self.documents)


class _Refused(Exception):
    """A request without vectors. `reason`: in our words, as an endpoint's may quote the key. `retry_after`: seconds that the
    endpoint wants."""

    def __init__(self, reason: str, *, again: bool = False, shorter: bool = False, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        self.shorter = shorter
        self.retry_after = retry_after


class OpenAIEndpoint:
    """One endpoint, and who may ask it when: of `concurrency` requests at once one is kept for searches and answers, and a
    change of model has one at most."""

    def __init__(
        self, url: str, api_key: str | None, *, batch: int = 64, concurrency: int = 4, delays: Delays | None = None
    ) -> None:
        """`batch`: texts in one request."""
        self.delays = delays or Delays()
        # Without the name and password that an address may carry.
        self.host = urlsplit(url).netloc.rpartition("@")[2] or url
        self.batch = batch
        self.client = AsyncOpenAI(
            base_url=url,
            # Local servers want no key, the library wants one.
            api_key=api_key or "none",
            # Its own tries know nothing of who is waiting.
            max_retries=0,
        )
        self._all = asyncio.Semaphore(concurrency)
        self._documents = asyncio.Semaphore(max(1, concurrency - 1))
        self._background = asyncio.Semaphore(1)
        self.resumes = 0.0
        """When it wants to be asked again, by `time.monotonic`."""

    @contextlib.asynccontextmanager
    async def slot(self, lane: Lane) -> AsyncIterator[None]:
        """Room for one request. Documents also wait until the time at which the endpoint wants to be asked again."""
        async with contextlib.AsyncExitStack() as stack:
            if lane is Lane.BACKGROUND:
                await stack.enter_async_context(self._background)
            if lane not in _URGENT:
                await stack.enter_async_context(self._documents)
                await asyncio.sleep(max(0.0, self.resumes - time.monotonic()))
            await stack.enter_async_context(self._all)
            yield

    def pause(self, seconds: float) -> None:
        """The endpoint takes nothing for so long."""
        self.resumes = max(self.resumes, time.monotonic() + min(seconds, self.delays.documents.total))

    async def close(self) -> None:
        """Closes its connections."""
        await self.client.close()


class OpenAIEmbedder:
    """One model of an endpoint."""

    def __init__(self, endpoint: OpenAIEndpoint, record: ModelRecord) -> None:
        self._endpoint = endpoint
        self._record = record
        self._who = f"The model {record.name} at {endpoint.host}"

    async def embed(self, texts: Sequence[str], lane: Lane) -> Vectors:
        """Vectors [n, dimension] of n texts, in their order; texts that are too long for the model are cut.

        Tries again, and waits as long as the endpoint says, for up to 5 s in the lane of queries and 3 minutes in those of
        documents. Raises `ModelUnavailable`.
        """
        if not texts:
            return np.empty((0, self._record.dimension), np.float32)
        size = self._endpoint.batch
        parts = [texts[start : start + size] for start in range(0, len(texts), size)]
        requests = [asyncio.create_task(self._request(part, lane)) for part in parts]
        try:
            vectors = await asyncio.gather(*requests)
        except BaseException:
            for request in requests:
                request.cancel()
            await asyncio.gather(*requests, return_exceptions=True)
            raise
        return np.concatenate(vectors)

    async def _request(self, texts: Sequence[str], lane: Lane) -> Vectors:
        """The vectors of one request's texts."""
        if lane is not Lane.QUERY:
            return await self._persistently(texts, lane)
        total = self._endpoint.delays.query.total
        try:
            async with asyncio.timeout(total):
                return await self._persistently(texts, lane)
        except TimeoutError:
            raise ModelUnavailable(f"{self._who} did not answer within {total:g} s.") from None

    async def _persistently(self, texts: Sequence[str], lane: Lane) -> Vectors:
        delays = self._endpoint.delays
        patience = delays.of(lane)
        tokens = self._record.max_tokens
        ends: float | None = None
        delay = delays.first
        shortened = 0
        while True:
            try:
                async with self._endpoint.slot(lane):
                    # Waiting for room is not the endpoint's failure.
                    ends = ends or time.monotonic() + patience.total
                    return await self._ask([shorten(text, tokens) for text in texts], patience.request)
            except _Refused as refusal:
                if refusal.shorter and shortened < _TIMES_SHORTENED:
                    # How many tokens a text has only the endpoint knows, and how many it takes may be less than was registered.
                    shortened += 1
                    tokens = max(min(tokens, max(map(estimated_tokens, texts))) // 2, 1)
                    continue
                wait = delay * random.uniform(0.75, 1.0)  # noqa: S311
                if refusal.retry_after is not None:
                    # Some say 0 as long as they refuse.
                    wait = max(refusal.retry_after, delays.first)
                if not refusal.again or ends is None or time.monotonic() + wait > ends:
                    raise ModelUnavailable(refusal.reason) from None
                log.warning("an embeddings endpoint is asked again", reason=refusal.reason, seconds=round(wait, 2))
                if refusal.retry_after is not None:
                    self._endpoint.pause(refusal.retry_after)
                await asyncio.sleep(wait)
                delay = min(delay * 2, delays.longest)

    async def _ask(self, texts: list[str], timeout: float) -> Vectors:
        try:
            # The library would ask for base64, which not every server knows.
            answer = await self._endpoint.client.embeddings.create(
                model=self._record.provider_model, input=texts, encoding_format="float", timeout=timeout
            )
            return _vectors(answer, len(texts))
        except openai.APITimeoutError:
            raise _Refused(f"{self._who} did not answer within {timeout:g} s.", again=True) from None
        except openai.APIConnectionError:
            raise _Refused(
                f"{self._who} cannot be reached. Check DOCUTALK_EMBED_ENDPOINT_URL and that the endpoint runs.", again=True
            ) from None
        except openai.APIStatusError as error:
            raise self._refused(error) from None
        except (openai.APIError, ValueError, TypeError, AttributeError):
            raise _Refused(f"{self._who} answered with something that is no list of vectors.", again=True) from None

    def _refused(self, error: openai.APIStatusError) -> _Refused:
        status = error.status_code
        retry_after = _seconds(error.response.headers.get("retry-after"))
        if status in (401, 403):
            return _Refused(f"{self._who}: the endpoint refused the key ({status}). Check DOCUTALK_EMBED_ENDPOINT_API_KEY.")
        if status == 404:
            return _Refused(
                f"{self._who}: the endpoint has no model {self._record.provider_model}, or no /embeddings (404)."
                " Check the model's name there and DOCUTALK_EMBED_ENDPOINT_URL, which mostly ends in /v1."
            )
        if status == 429:
            until = "" if retry_after is None else f" It wants to be asked again in {retry_after:.0f} s."
            return _Refused(f"{self._who} takes no more texts for now (429).{until}", again=True, retry_after=retry_after)
        if status >= 500 or status in (408, 409):
            return _Refused(f"{self._who} failed ({status}).", again=True, retry_after=retry_after)
        return _Refused(f"{self._who} did not accept the texts ({status}).", shorter=status in (400, 413, 422))


def _vectors(answer: CreateEmbeddingResponse, count: int) -> Vectors:
    """The vectors in the order of the texts. `ValueError` when they are no matrix of `count` rows."""
    rows = answer.data
    if len(rows) != count:
        raise ValueError(f"{len(rows)} vectors for {count} texts")
    if sorted(row.index for row in rows) == list(range(count)):
        rows = sorted(rows, key=lambda row: row.index)
    vectors = np.array([_numbers(row.embedding) for row in rows], np.float32)
    if vectors.ndim != 2:
        raise ValueError("no matrix")
    return vectors


def _numbers(embedding: object) -> object:
    """Some servers send base64 whatever they are asked for."""
    return np.frombuffer(base64.b64decode(embedding), "<f4") if isinstance(embedding, str) else embedding


def _seconds(retry_after: str | None) -> float | None:
    """What the header says, as a number or as a date; None without a header that makes sense."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def shorten(text: str, tokens: int) -> str:
    """The start of a text that has, by a careful estimate, at most so many tokens: three letters of ASCII for each, two of
    other alphabets, and two tokens for each character of the scripts beyond."""
    if 2 * len(text) <= tokens:
        return text
    if text.isascii():
        return text[: 3 * tokens]
    sixths = 6 * tokens
    for place, character in enumerate(text):
        sixths -= _sixths(character)
        if sixths < 0:
            return text[:place]
    return text


def estimated_tokens(text: str) -> int:
    """How many tokens a text has at most, by the same estimate."""
    return -(-(2 * len(text) if text.isascii() else sum(map(_sixths, text))) // 6)


def _sixths(character: str) -> int:
    return 2 if character < "\x80" else 3 if character < "\u0590" else 12
