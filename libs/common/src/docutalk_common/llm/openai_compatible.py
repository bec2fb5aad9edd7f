"""Any endpoint that speaks OpenAI's chat completions: OpenAI, Ollama, LM Studio, vLLM, OpenRouter."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import openai
from openai import AsyncOpenAI, AsyncStream, RequestOptions

from docutalk_common.llm import ollama, refusals
from docutalk_common.llm.answer_text import ThoughtFilter, storable
from docutalk_common.llm.model import USUAL, Completion, Endpoint, ModelMessage, ModelOptions, ModelUsage
from docutalk_common.llm.model_at_endpoint import Answer, ModelAtEndpoint
from docutalk_common.llm.optional_fields import OptionalFields
from docutalk_common.llm.prices import usage_of
from docutalk_common.llm.turns import strict

_PATH = "/chat/completions"
_WANTS_TURNS = re.compile(r"alternat|system (?:role|message)", re.IGNORECASE)

T = TypeVar("T")


class OpenAICompatibleModel(ModelAtEndpoint):
    """Sends `model`, `messages` and `stream`, beyond that only what is wanted, and no field again that was refused."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._optional = OptionalFields()
        self._strict: set[str] = set()
        self._client = AsyncOpenAI(
            base_url=f"{_root(endpoint)}/v1" if endpoint.provider == "ollama" else endpoint.base_url,
            # Local servers want no key, the library wants one.
            api_key=endpoint.api_key or "none",
            max_retries=0,
            timeout=openai.Timeout(endpoint.silence_timeout, connect=endpoint.connect_timeout),
        )

    @contextlib.asynccontextmanager
    async def stream(self, messages: Sequence[ModelMessage], options: ModelOptions = USUAL) -> AsyncIterator[Answer]:
        model = options.model or await self.default_model()

        async def create(body: dict[str, object]) -> AsyncStream[object]:
            # As plain JSON: to make the library's object of each chunk takes three times as long as all the rest.
            return await self._client.post(_PATH, body=body, cast_to=object, stream=True, stream_cls=AsyncStream[object])

        fields = {"stream_options": {"include_usage": True}, **_wanted(options)}
        with _errors(self._host):
            stream = await self._send(model, messages, fields, create, stream=True)
        answer = _StreamedAnswer(self._endpoint, self._host, model, stream)
        try:
            yield answer
        finally:
            await answer.close()
            await stream.close()

    async def complete(self, messages: Sequence[ModelMessage], options: ModelOptions = USUAL) -> Completion:
        """See `LanguageModel`."""
        model = options.model or await self.default_model()

        async def create(body: dict[str, object]) -> Any:
            return await self._client.post(_PATH, body=body, cast_to=object)

        with _errors(self._host):
            answer = await self._send(model, messages, _wanted(options), create, stream=False)
            thoughts = ThoughtFilter()
            text = thoughts.feed(_text(answer["choices"][0]["message"])) + thoughts.finish()
            return Completion(text, _usage(self._endpoint, model, answer.get("usage")))

    async def _send(
        self,
        model: str,
        messages: Sequence[ModelMessage],
        fields: dict[str, object],
        create: Callable[[dict[str, object]], Awaitable[T]],
        *,
        stream: bool,
    ) -> T:
        """What `create` returns for a request that the model takes."""

        async def send(optional: dict[str, object]) -> T:
            said = strict(messages) if model in self._strict else messages
            return await create({**_request(model, said), "stream": stream, **optional})

        try:
            return await self._optional.send(model, fields, send, _refusal)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            # The templates of some open models know no system message, or want a user and an assistant in turns.
            if model in self._strict or not _WANTS_TURNS.search(_said(error)):
                raise
            self._strict.add(model)
            return await self._optional.send(model, fields, send, _refusal)

    async def models(self) -> list[str]:
        """See `LanguageModel`."""
        with _errors(self._host):
            listed = await self._client.models.list()
            # Some servers without a model say null.
            return [model.id for model in listed.data or []]

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def _context_told(self, model: str) -> int | None:
        if self._endpoint.provider != "ollama":
            return None
        root = _root(self._endpoint)

        async def ask(path: str, body: dict[str, str] | None) -> object:
            within: RequestOptions = {"timeout": ollama.SECONDS}
            if body is None:
                return await self._client.get(f"{root}{path}", cast_to=object, options=within)
            return await self._client.post(f"{root}{path}", cast_to=object, body=body, options=within)

        with _errors(self._host):
            return await ollama.context_length(ask, model)


class _StreamedAnswer(Answer):
    """Deltas with text; what a model only thinks is not among it."""

    def __init__(self, endpoint: Endpoint, host: str, model: str, stream: AsyncStream[Any]) -> None:
        super().__init__()
        self._endpoint, self._host, self._model, self._stream = endpoint, host, model, stream

    async def _texts(self) -> AsyncGenerator[str]:
        thoughts = ThoughtFilter()
        finished = False
        with _errors(self._host, self):
            async for chunk in self._stream:
                self.usage = _usage(self._endpoint, self._model, chunk.get("usage")) or self.usage
                for choice in (chunk.get("choices") or [])[:1]:
                    finished = finished or choice.get("finish_reason") is not None
                    self.truncated = choice.get("finish_reason") == "length"
                    if text := thoughts.feed(_text(choice["delta"])):
                        self.begun = True
                        yield text
        if not finished:
            # A proxy that dies closes the stream as if it were complete; only the finish reason tells.
            raise refusals.interrupted(self._host, begun=self.begun)
        if text := thoughts.finish():
            yield text


@contextlib.contextmanager
def _errors(host: str, answer: Answer | None = None) -> Iterator[None]:
    """Says in our words what the library raises while it sends, or reads the answer. The cause is left out: its text is the
    endpoint's, which may quote the key."""
    try:
        yield
    except openai.APITimeoutError:
        raise refusals.timed_out(host) from None
    except openai.APIConnectionError:
        raise (refusals.interrupted(host, begun=answer.begun) if answer else refusals.unreachable(host)) from None
    except openai.APIStatusError as error:
        raise refusals.refused(host, error.status_code, _said(error), error.response.headers) from None
    except (openai.APIError, ValueError, TypeError, AttributeError, LookupError) as error:
        # An error inside of the stream, or an answer that is none.
        if isinstance(error, openai.APIError) and refusals.exceeds_context(_said(error)):
            raise refusals.context_exceeded(host) from None
        raise (refusals.interrupted(host, begun=answer.begun) if answer else refusals.not_an_answer(host)) from None


def _said(error: openai.APIError) -> str:
    return f"{error.message} {error.body}"


def _refusal(error: Exception) -> str | None:
    return _said(error) if isinstance(error, (openai.BadRequestError, openai.UnprocessableEntityError)) else None


def _root(endpoint: Endpoint) -> str:
    return endpoint.base_url.rstrip("/").removesuffix("/v1")


def _wanted(options: ModelOptions) -> dict[str, object]:
    fields = {"temperature": options.temperature, "max_tokens": options.max_tokens}
    return {name: value for name, value in fields.items() if value is not None}


def _request(model: str, messages: Sequence[ModelMessage]) -> dict[str, object]:
    return {"model": model, "messages": [{"role": message.role, "content": message.content} for message in messages]}


def _text(message: dict[str, object]) -> str:
    """The text of a message or delta; what is no text among its content is no part of the answer."""
    content = message.get("content")
    return storable(content) if isinstance(content, str) else ""


def _usage(endpoint: Endpoint, model: str, told: object) -> ModelUsage | None:
    if not isinstance(told, dict) or not told:
        return None
    details = told.get("prompt_tokens_details")
    return usage_of(
        endpoint,
        model,
        input_tokens=told.get("prompt_tokens"),
        output_tokens=told.get("completion_tokens"),
        cached_tokens=details.get("cached_tokens") if isinstance(details, dict) else None,
    )
