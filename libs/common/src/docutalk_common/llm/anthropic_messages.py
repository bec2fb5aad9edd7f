"""Anthropic's messages API, and what speaks it too."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

import anthropic
import httpx2
from anthropic import AsyncAnthropic, AsyncStream, omit
from anthropic.types import (
    AssistantMessageParam,
    MessageDeltaUsage,
    MessageParam,
    RawMessageStreamEvent,
    TextBlock,
    Usage,
    UserMessageParam,
)

from docutalk_common.llm import refusals
from docutalk_common.llm.answer_text import storable
from docutalk_common.llm.model import USUAL, Completion, Endpoint, ModelError, ModelMessage, ModelOptions, ModelUsage
from docutalk_common.llm.model_at_endpoint import Answer, ModelAtEndpoint
from docutalk_common.llm.optional_fields import OptionalFields
from docutalk_common.llm.prices import usage_of
from docutalk_common.llm.turns import alternating, system_of

MAX_TOKENS = 4096
"""The API wants a limit; answers are shorter."""


class AnthropicModel(ModelAtEndpoint):
    """Sends the system messages apart from the conversation, as the API has them."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._optional = OptionalFields()
        self._client = AsyncAnthropic(
            # The library adds the version; addresses for other libraries end in it.
            base_url=endpoint.base_url.rstrip("/").removesuffix("/v1"),
            # Without one the library looks for credentials on this machine.
            api_key=endpoint.api_key or "none",
            max_retries=0,
            timeout=anthropic.Timeout(endpoint.silence_timeout, connect=endpoint.connect_timeout),
        )

    @contextlib.asynccontextmanager
    async def stream(self, messages: Sequence[ModelMessage], options: ModelOptions = USUAL) -> AsyncIterator[Answer]:
        model = options.model or await self.default_model()

        async def create(fields: dict[str, object]) -> AsyncStream[RawMessageStreamEvent]:
            return await self._client.messages.create(
                model=model,
                max_tokens=options.max_tokens or MAX_TOKENS,
                system=system_of(messages) or omit,
                messages=_turns(messages),
                stream=True,
                extra_body=fields,
            )

        with _errors(self._host):
            stream = await self._optional.send(model, _wanted(options), create, _refusal)
        answer = _StreamedAnswer(self._endpoint, self._host, model, stream)
        try:
            yield answer
        finally:
            await answer.close()
            await stream.close()

    async def complete(self, messages: Sequence[ModelMessage], options: ModelOptions = USUAL) -> Completion:
        """See `LanguageModel`."""
        model = options.model or await self.default_model()

        async def create(fields: dict[str, object]) -> Completion:
            answer = await self._client.messages.create(
                model=model,
                max_tokens=options.max_tokens or MAX_TOKENS,
                system=system_of(messages) or omit,
                messages=_turns(messages),
                stream=False,
                extra_body=fields,
            )
            text = "".join(block.text for block in answer.content if isinstance(block, TextBlock))
            usage = _usage(self._endpoint, model, answer.usage, answer.usage.output_tokens)
            return Completion(storable(text), usage)

        with _errors(self._host):
            return await self._optional.send(model, _wanted(options), create, _refusal)

    async def models(self) -> list[str]:
        """See `LanguageModel`."""
        with _errors(self._host):
            listed = await self._client.models.list(limit=1000)
            return [model.id for model in listed.data]

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()


class _StreamedAnswer(Answer):
    """Text deltas; those of thinking blocks are not among them."""

    def __init__(self, endpoint: Endpoint, host: str, model: str, stream: AsyncStream[RawMessageStreamEvent]) -> None:
        super().__init__()
        self._endpoint, self._host, self._model, self._stream = endpoint, host, model, stream

    async def _texts(self) -> AsyncGenerator[str]:
        asked: Usage | None = None
        stopped = False
        with _errors(self._host, self):
            async for event in self._stream:
                match event.type:
                    case "content_block_delta" if event.delta.type == "text_delta":
                        if text := storable(event.delta.text):
                            self.begun = True
                            yield text
                    case "message_start":
                        asked = event.message.usage
                    case "message_delta":
                        stopped = stopped or event.delta.stop_reason is not None
                        self.truncated = event.delta.stop_reason == "max_tokens"
                        self.usage = _usage(self._endpoint, self._model, asked or event.usage, event.usage.output_tokens)
        if not stopped:
            raise refusals.interrupted(self._host, begun=self.begun)


@contextlib.contextmanager
def _errors(host: str, answer: Answer | None = None) -> Iterator[None]:
    """Says in our words what the library raises while it sends, or reads the answer. The cause is left out: its text is the
    endpoint's, which may quote the key."""
    try:
        yield
    # While it reads a stream the library lets through what its HTTP client raises.
    except (anthropic.APITimeoutError, httpx2.TimeoutException):
        raise refusals.timed_out(host) from None
    except (anthropic.APIConnectionError, httpx2.HTTPError):
        raise (refusals.interrupted(host, begun=answer.begun) if answer else refusals.unreachable(host)) from None
    except anthropic.APIStatusError as error:
        raise _refused(host, error, answer) from None
    except (anthropic.AnthropicError, ValueError, TypeError, AttributeError, LookupError):
        raise (refusals.interrupted(host, begun=answer.begun) if answer else refusals.not_an_answer(host)) from None


def _refused(host: str, error: anthropic.APIStatusError, answer: Answer | None) -> ModelError:
    """Errors inside of a stream come with status 200 and say by their type which one it would have been."""
    if answer is None:
        return refusals.refused(host, error.status_code, str(error.body), error.response.headers)
    status = {"overloaded_error": 529, "api_error": 500, "rate_limit_error": 429, "invalid_request_error": 400}.get(
        str(error.type)
    )
    if answer.begun or status is None:
        return refusals.interrupted(host, begun=answer.begun)
    return refusals.refused(host, status, str(error.body), {})


def _refusal(error: Exception) -> str | None:
    return str(error.body) if isinstance(error, (anthropic.BadRequestError, anthropic.UnprocessableEntityError)) else None


def _turns(messages: Sequence[ModelMessage]) -> list[MessageParam]:
    """The conversation as the API takes it, which is strict about turns."""
    return [
        UserMessageParam(role="user", content=turn.content)
        if turn.role == "user"
        else AssistantMessageParam(role="assistant", content=turn.content)
        for turn in alternating(messages)
    ]


def _wanted(options: ModelOptions) -> dict[str, object]:
    # The library has no such field any more, as newer models refuse it; older ones take it.
    return {} if options.temperature is None else {"temperature": options.temperature}


def _usage(endpoint: Endpoint, model: str, asked: Usage | MessageDeltaUsage, output_tokens: int) -> ModelUsage:
    """The API counts tokens read from or written to a cache apart from the other input."""
    cached = asked.cache_read_input_tokens or 0
    asked_tokens = (asked.input_tokens or 0) + cached + (asked.cache_creation_input_tokens or 0)
    return usage_of(endpoint, model, input_tokens=asked_tokens, output_tokens=output_tokens, cached_tokens=cached)
