"""What goes over HTTP under `/v1`: OpenAI's shapes, as far as documents can answer them.

Clients send many fields that mean nothing here (`tools`, `top_p`, `user`, …): unlike elsewhere, what is not known is ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from docutalk_gateway.api.chat_shapes import Citation
from docutalk_gateway.api.shapes import Body


def _is_none(value: object) -> bool:
    return value is None


class ClientBody(Body):
    """A request's body, of which only the known fields are read."""

    model_config = ConfigDict(extra="ignore")


class OpenAIModel(BaseModel):
    """A workspace: `id` is its id, `name` may be given in its place where it is the only one."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["docutalk"] = "docutalk"
    name: str


class OpenAIModelList(BaseModel):
    """The caller's workspaces."""

    object: Literal["list"] = "list"
    data: list[OpenAIModel]


# Chat ------------------------------------------------------------------------------------------------------------


class CompletionPart(ClientBody):
    """A part of a message; only those of the type `text` can be answered."""

    type: str
    text: str | None = None


class CompletionMessage(ClientBody):
    """A turn of the conversation, which the client keeps."""

    role: str
    content: str | list[CompletionPart] | None = None


class StreamOptions(ClientBody):
    """`include_usage`: a last chunk tells the tokens."""

    include_usage: bool | None = None


class CompletionRequest(ClientBody):
    """`model` is a workspace. The last message is the question; system messages are instructions for its answer."""

    model: Annotated[str, Field(max_length=1000)]
    messages: Annotated[list[CompletionMessage], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    n: int | None = None


class AnswerEvidence(BaseModel):
    """What OpenAI's shapes have no place for. `supported` is false when nothing in the documents supports an answer; `model` is
    the one that wrote it."""

    supported: bool
    citations: list[Citation]
    answer_id: UUID
    model: str


class CompletionAnswer(BaseModel):
    """The answer, with its sources as Markdown at the end."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    docutalk: AnswerEvidence


class CompletionChoice(BaseModel):
    """The one answer."""

    index: Literal[0] = 0
    message: CompletionAnswer
    logprobs: None = None
    finish_reason: Literal["stop", "length"] = "stop"


class CompletionUsage(BaseModel):
    """Of the language model's calls together; zeros where no model told it."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class ChatCompletion(BaseModel):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage


class CompletionDelta(BaseModel):
    """A piece of an answer. What is not in it is left out."""

    role: Literal["assistant"] | None = Field(default=None, exclude_if=_is_none)
    content: str | None = Field(default=None, exclude_if=_is_none)


class CompletionPiece(BaseModel):
    """The one answer, a piece of it."""

    index: Literal[0] = 0
    delta: CompletionDelta
    logprobs: None = None
    finish_reason: Literal["stop", "length"] | None = None


class ChatCompletionChunk(BaseModel):
    """An event of a stream. `docutalk` comes with the `finish_reason`, `usage` in a last one without choices, if asked for."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[CompletionPiece]
    usage: CompletionUsage | None = Field(default=None, exclude_if=_is_none)
    docutalk: AnswerEvidence | None = Field(default=None, exclude_if=_is_none)


# Embeddings ------------------------------------------------------------------------------------------------------


class EmbeddingsRequest(ClientBody):
    """`model` is the name of the installation's embedding model, or a workspace. Texts longer than the model takes are cut."""

    model: Annotated[str, Field(max_length=1000)]
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


class EmbeddingVector(BaseModel):
    """A unit vector; in base64 its float32, little-endian."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Words, as an estimate of tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """One for each text, in order."""

    object: Literal["list"] = "list"
    data: list[EmbeddingVector]
    model: str
    usage: EmbeddingUsage
