"""The environment of the ingest service."""

from __future__ import annotations

from pathlib import Path

from docutalk_common.settings import ServiceSettings


class IngestSettings(ServiceSettings):
    """Beside what every service reads. Sizes in bytes, times in seconds."""

    chunk_overlap: int = 0
    """Tokens of a chunk that the next one repeats. None: chunks end with a sentence, and 32 tokens made 13 % more of them."""
    parser_memory_bytes: int = 2 << 30
    parser_cpu_seconds: int = 60
    parser_wall_seconds: float = 120
    parser_file_bytes: int = 64 << 20
    work_folder: Path | None = None
    """Where files lie while they are read; the system's own place for temporary files when unset."""
