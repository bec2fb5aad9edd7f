"""Settings of embed, beside those of every service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from docutalk_common.settings import ServiceSettings
from pydantic import Field, SecretStr


class EmbedSettings(ServiceSettings):
    """`DOCUTALK_EMBED_THREADS`: threads of the models that run here, by default the processors the process may use.
    `DOCUTALK_EMBED_PRECISION`: `bf16` or `f32` of the built-in model, by default what the processor is best at.
    `DOCUTALK_EMBED_MODELS_FOLDER`: ONNX models for fastembed, each in the folder of its name; nothing is downloaded.
    `DOCUTALK_EMBED_ENDPOINT_URL`, `DOCUTALK_EMBED_ENDPOINT_API_KEY`: an endpoint that speaks OpenAI's `/embeddings`.
    `DOCUTALK_EMBED_ENDPOINT_BATCH`, `DOCUTALK_EMBED_ENDPOINT_CONCURRENCY`: texts in one request, and requests at once."""

    embed_threads: int | None = None
    embed_precision: Literal["bf16", "f32"] | None = None
    embed_models_folder: Path | None = None
    embed_endpoint_url: str | None = None
    embed_endpoint_api_key: SecretStr | None = None
    embed_endpoint_batch: Annotated[int, Field(ge=1, le=2048)] = 64
    embed_endpoint_concurrency: Annotated[int, Field(ge=1, le=64)] = 4
