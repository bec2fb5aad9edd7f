"""The environment of the ingest service."""

from __future__ import annotations

from pathlib import Path

from docutalk_common.settings import ServiceSettings

from docutalk_ingest.domain import KEPT_VERSIONS


class IngestSettings(ServiceSettings):
    """Beside what every service reads. Sizes in bytes, times in seconds."""

    chunk_overlap: int = 0
    """Tokens of a chunk that the next one repeats. None: chunks end with a sentence, and 32 tokens made 13 % more of them."""
    parser_memory_bytes: int = 2 << 30
    parser_cpu_seconds: int = 60
    parser_wall_seconds: float = 120
    parser_file_bytes: int = 64 << 20
    extract_slots: int = 2
    """Documents that are read at a time, in the whole installation. As many as the cores that its replicas have together; each
    replica reads up to four, so above four for each replica nothing is gained."""
    extract_reserve: int = 2
    """So many more are read at a time when they are of workspaces that have none being read: a single file need not wait for
    another workspace's book. Four for each replica, less `extract_slots`."""
    index_window: int = 6
    """Batches (of 64 chunks) that are handed out to embed at a time: enough to keep it busy, few enough that nobody waits long.
    Six for each replica of embed."""
    index_reserve: int = 10
    """So many more when they are of workspaces that have none handed out; they go by an express lane of their own."""
    lost_after_seconds: float = 3600
    """Work of which nothing was heard for so long is handed out again."""
    keep_versions: int = KEPT_VERSIONS
    """Of how many versions of a document pages and files are kept. The one that is served is kept in any case."""
    work_folder: Path | None = None
    """Where files lie while they are read; the system's own place for temporary files when unset."""
