"""Any endpoint that speaks OpenAI's chat completions: OpenAI, Anthropic's compatible one, Ollama, LM Studio, vLLM."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from urllib.parse import urlsplit

import openai
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionChunk,
    ChatCompletionMessageParam,
    ChatCompletionSystemMessageParam,
    ChatCompletionUserMessageParam,
)

from docutalk_common.llm.model import Endpoint, ModelError, ModelMessage


class OpenAICompatibleModel:
    """Sends only `model`, `messages` and `stream`: everything beyond that some endpoint refuses."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._model = endpoint.model
        self._host = urlsplit(endpoint.base_url).netloc
        self._client = AsyncOpenAI(
            base_url=endpoint.base_url,
            # Local servers want no key, the library wants one.
            api_key=endpoint.api_key or "none",
            max_retries=0,
            timeout=openai.Timeout(endpoint.silence_timeout, connect=endpoint.connect_timeout),
        )

    @contextlib.asynccontextmanager
    async def stream(self, messages: Sequence[ModelMessage]) -> AsyncIterator[AsyncIterator[str]]:
        with self._errors():
            model = await self._name()
            stream = await self._client.chat.completions.create(
                model=model, messages=[_as_param(message) for message in messages], stream=True
            )
        try:
            yield self._texts(stream)
        finally:
            await stream.close()

    async def complete(self, messages: Sequence[ModelMessage]) -> str:
        async with self.stream(messages) as texts:
            return "".join([text async for text in texts])

    async def close(self) -> None:
        await self._client.close()

    async def _texts(self, stream: AsyncStream[ChatCompletionChunk]) -> AsyncIterator[str]:
        finished = False
        with self._errors(interrupted=True):
            async for chunk in stream:
                for choice in chunk.choices[:1]:
                    if text := _storable(choice.delta.content or ""):
                        yield text
                    finished = finished or choice.finish_reason is not None
        if not finished:
            # A proxy that dies closes the stream as if it were complete; only the finish reason tells.
            raise ModelError("model_interrupted", f"The language model at {self._host} stopped in the middle of its answer.")

    async def _name(self) -> str:
        if self._model is None:
            listed = await self._client.models.list()
            if not listed.data:
                raise ModelError("model_rejected", f"{self._host} lists no model. Set DOCUTALK_LLM_MODEL to the one to use.")
            self._model = listed.data[0].id
        return self._model

    @contextlib.contextmanager
    def _errors(self, *, interrupted: bool = False) -> Iterator[None]:
        """Says in our words what the library raises. Reasons never repeat what an endpoint says: it may quote the key."""
        host = self._host
        try:
            yield
        except openai.APITimeoutError as error:
            raise ModelError("model_timeout", f"The language model at {host} did not answer in time.") from error
        except openai.APIConnectionError as error:
            if interrupted:
                raise ModelError(
                    "model_interrupted", f"The language model at {host} stopped in the middle of its answer."
                ) from error
            raise ModelError("model_unavailable", f"The language model at {host} cannot be reached.") from error
        except openai.RateLimitError as error:
            raise ModelError(
                "model_rate_limited", f"The language model at {host} takes no more questions for now. Try again in a while."
            ) from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise ModelError("model_unauthorized", f"The language model at {host} refused the key it was given.") from error
        except openai.APIStatusError as error:
            if error.status_code >= 500:
                raise ModelError("model_unavailable", f"The language model at {host} failed ({error.status_code}).") from error
            raise ModelError(
                "model_rejected", f"The language model at {host} did not accept the request ({error.status_code})."
            ) from error
        except (openai.APIError, ValueError) as error:
            # An error inside the stream, or a stream that is no JSON.
            code = "model_interrupted" if interrupted else "model_unavailable"
            raise ModelError(code, f"The language model at {host} answered with something that is no answer.") from error


def _storable(text: str) -> str:
    """Without NUL, which PostgreSQL refuses, and without halves of surrogate pairs, which UTF-8 cannot say."""
    if text.isascii():
        return text.replace("\0", "")
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _as_param(message: ModelMessage) -> ChatCompletionMessageParam:
    match message.role:
        case "system":
            return ChatCompletionSystemMessageParam(role="system", content=message.content)
        case "user":
            return ChatCompletionUserMessageParam(role="user", content=message.content)
        case "assistant":
            return ChatCompletionAssistantMessageParam(role="assistant", content=message.content)
