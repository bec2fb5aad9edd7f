"""A language model that is asked again after a passing failure, and left alone while it is down."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from purgatory import SyncCircuitBreakerFactory

from docutalk_common.llm.model import (
    USUAL,
    Completion,
    Endpoint,
    LanguageModel,
    ModelError,
    ModelMessage,
    ModelOptions,
    ModelStream,
    ModelUsage,
)

LONGEST_WAIT = 10.0
"""Seconds that a caller waits for an endpoint which says when it wants to be asked again."""

_PASSING = {"model_unavailable", "model_rate_limited", "model_interrupted"}
_DOWN = {"model_unavailable", "model_timeout", "model_interrupted"}

T = TypeVar("T")


class SteadyModel:
    """Wraps a model. Requests that failed before their first text are sent again, as `Endpoint.retry_delays` says; a silent
    endpoint is not asked again, as that takes as long. After failures in a row, of any callers, nothing is sent for a while.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        endpoint = model.endpoint
        self._circuit = SyncCircuitBreakerFactory().get_breaker(
            endpoint.base_url, endpoint.breaker_threshold, endpoint.breaker_seconds
        )

    @property
    def endpoint(self) -> Endpoint:
        """Where it is served."""
        return self._model.endpoint

    @contextlib.asynccontextmanager
    async def stream(self, messages: Sequence[ModelMessage], options: ModelOptions = USUAL) -> AsyncIterator[ModelStream]:
        """See `LanguageModel`. Entering waits for the first text."""
        async with contextlib.AsyncExitStack() as entered:

            async def begin() -> _BegunStream:
                async with contextlib.AsyncExitStack() as attempt:
                    stream = await attempt.enter_async_context(self._model.stream(messages, options))
                    rest = aiter(stream)
                    begun = _BegunStream(stream, await anext(rest, ""), rest, self._settle)
                    entered.push_async_exit(attempt.pop_all())
                return begun

            begun = await self._asked(begin)
            try:
                yield begun
            finally:
                await begun.close()

    async def complete(self, messages: Sequence[ModelMessage], options: ModelOptions = USUAL) -> Completion:
        """See `LanguageModel`."""

        async def complete() -> Completion:
            completion = await self._model.complete(messages, options)
            self._settle(None)
            return completion

        return await self._asked(complete)

    async def models(self) -> list[str]:
        """See `LanguageModel`. Asked once: a list says nothing of whether the model answers."""
        return await self._model.models()

    async def default_model(self) -> str:
        """See `LanguageModel`."""
        return await self._model.default_model()

    async def context_tokens(self, model: str | None = None) -> int:
        """See `LanguageModel`."""
        return await self._model.context_tokens(model)

    async def close(self) -> None:
        """Closes the connections."""
        await self._model.close()

    async def _asked(self, attempt: Callable[[], Awaitable[T]]) -> T:
        delays = iter(self.endpoint.retry_delays)
        while True:
            self._refuse_while_open()
            try:
                return await attempt()
            except ModelError as error:
                self._settle(error)
                wait = _wait(error, next(delays, None))
                if wait is None or self._open_for() is not None:
                    raise
            await asyncio.sleep(wait)

    def _settle(self, error: ModelError | None) -> None:
        """Counts how a request ended. One that its caller gave up says nothing and is not counted."""
        counted = error if error is not None and error.code in _DOWN else None
        self._circuit.__exit__(type(counted) if counted else None, counted, None)

    def _refuse_while_open(self) -> None:
        remaining = self._open_for()
        if remaining is not None:
            raise ModelError(
                "model_unavailable",
                f"The language model at {self.endpoint.host} failed {self.endpoint.breaker_threshold} times in a row and is asked"
                f" again in {remaining:.0f} s.",
                retry_after=remaining,
            )
        self._circuit.__enter__()

    def _open_for(self) -> float | None:
        """Seconds until the endpoint may be asked again, or None when it may. Looked at here, as the library raises the same
        exception object for every request that it refuses, which then holds on to all of their frames."""
        opened_at = self._circuit.context.opened_at
        if opened_at is None:
            return None
        remaining = opened_at + self.endpoint.breaker_seconds - time.time()
        return remaining if remaining >= 0 else None


def _wait(error: ModelError, scheduled: float | None) -> float | None:
    """Seconds before the next try, or None when there is none."""
    if scheduled is None or error.code not in _PASSING:
        return None
    wait = scheduled if error.retry_after is None else error.retry_after
    return wait if wait <= LONGEST_WAIT else None


class _BegunStream:
    """An answer whose first text, or its end, has come: from here on a failure is the caller's."""

    def __init__(
        self, stream: ModelStream, first: str, rest: AsyncIterator[str], settle: Callable[[ModelError | None], None]
    ) -> None:
        self._stream, self._settle = stream, settle
        self._texts = self._read(first, rest)

    @property
    def usage(self) -> ModelUsage | None:
        """See `ModelStream`."""
        return self._stream.usage

    @property
    def truncated(self) -> bool:
        """See `ModelStream`."""
        return self._stream.truncated

    def __aiter__(self) -> AsyncIterator[str]:
        return self._texts

    async def close(self) -> None:
        """Reads no further."""
        await self._texts.aclose()

    async def _read(self, first: str, rest: AsyncIterator[str]) -> AsyncGenerator[str]:
        if first:
            yield first
        try:
            async for text in rest:
                yield text
        except ModelError as error:
            self._settle(error)
            raise
        self._settle(None)
