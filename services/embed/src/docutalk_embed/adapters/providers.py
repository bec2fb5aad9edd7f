"""What this installation can run beside the built-in model: local ONNX models, and those of an endpoint."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from docutalk_common.contracts.embed import ModelProvider

from docutalk_embed.adapters.batcher import MicroBatcher, Processor
from docutalk_embed.adapters.fastembed_engine import FastEmbedEngine, local_folder
from docutalk_embed.adapters.model_registry import Embedder, ModelRecord, ModelUnavailable, Opener
from docutalk_embed.adapters.openai_embedder import OpenAIEmbedder, OpenAIEndpoint
from docutalk_embed.settings import EmbedSettings


class Providers:
    """Opens models of the providers that are set up; says what is missing for the others."""

    def __init__(self, settings: EmbedSettings, processor: Processor, *, threads: int) -> None:
        """`processor`: shared with the built-in model."""
        self._folder = settings.embed_models_folder
        self._processor = processor
        self._threads = threads
        key = settings.embed_endpoint_api_key
        self._endpoint: OpenAIEndpoint | None = None
        if settings.embed_endpoint_url:
            self._endpoint = OpenAIEndpoint(
                settings.embed_endpoint_url,
                None if key is None else key.get_secret_value(),
                batch=settings.embed_endpoint_batch,
                concurrency=settings.embed_endpoint_concurrency,
            )

    @property
    def openers(self) -> Mapping[ModelProvider, Opener]:
        """What a registry opens models with."""
        return {ModelProvider.FASTEMBED: self._open, ModelProvider.OPENAI: self._open}

    @contextlib.asynccontextmanager
    async def _open(self, record: ModelRecord) -> AsyncIterator[Embedder]:
        if record.provider is ModelProvider.OPENAI:
            yield OpenAIEmbedder(self._asked(record), record)
            return
        folder = self._local(record)
        engine = await asyncio.to_thread(FastEmbedEngine, folder, record, threads=self._threads)
        batcher = MicroBatcher(engine, self._processor)
        async with batcher.running():
            yield batcher

    def missing(self, record: ModelRecord) -> str | None:
        """Why a model cannot be opened as this installation is set up, in a sentence; None when nothing is known to be missing.
        Nothing is loaded, and no endpoint is asked."""
        try:
            if record.provider is ModelProvider.FASTEMBED:
                local_folder(self._local(record), record)
            elif record.provider is ModelProvider.OPENAI:
                self._asked(record)
        except ModelUnavailable as error:
            return str(error)
        return None

    def summary(self) -> dict[str, str]:
        """For the log: what each provider beside the built-in one uses, never a key."""
        return {
            ModelProvider.FASTEMBED.value: str(self._folder) if self._folder else "not set up",
            ModelProvider.OPENAI.value: self._endpoint.host if self._endpoint else "not set up",
        }

    async def close(self) -> None:
        """Closes the connections to the endpoint."""
        if self._endpoint:
            await self._endpoint.close()

    def _local(self, record: ModelRecord) -> Path:
        if self._folder is None:
            raise ModelUnavailable(
                f"The model {record.name} needs a folder of local models. Set DOCUTALK_EMBED_MODELS_FOLDER to it."
            )
        return self._folder

    def _asked(self, record: ModelRecord) -> OpenAIEndpoint:
        if not self._endpoint:
            raise ModelUnavailable(f"The model {record.name} needs an endpoint. Set DOCUTALK_EMBED_ENDPOINT_URL to it.")
        return self._endpoint
