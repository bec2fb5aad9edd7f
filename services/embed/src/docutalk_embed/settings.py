"""Settings of embed, beside those of every service."""

from __future__ import annotations

from typing import Literal

from docutalk_common.settings import ServiceSettings


class EmbedSettings(ServiceSettings):
    """`DOCUTALK_EMBED_THREADS`: threads of the model, by default the processors the process may use.
    `DOCUTALK_EMBED_PRECISION`: `bf16` or `f32`, by default what the processor is best at."""

    embed_threads: int | None = None
    embed_precision: Literal["bf16", "f32"] | None = None
