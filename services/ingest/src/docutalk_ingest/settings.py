"""The environment of the ingest service."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from docutalk_common.settings import ServiceSettings
from pydantic import Field, SecretStr, field_validator

from docutalk_ingest.domain import KEPT_VERSIONS


class IngestSettings(ServiceSettings):
    """Beside what every service reads. Sizes in bytes, times in seconds."""

    chunk_tokens: int = Field(256, ge=32, le=2048)
    """Tokens of a chunk at most, as the built-in model counts them. It reads no more than 256: of longer chunks the rest is found
    by its words alone. For files that are read from now on."""
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
    ocr_max_pages: int = 1_000
    """Scanned pages of one document that are read, at some seconds each; the others are marked unreadable."""
    view_cache_bytes: int = 512 << 20
    """Of files whose pages are looked at, kept on disk for ten minutes."""
    work_folder: Path | None = None
    """Where files lie while they are read; the system's own place for temporary files when unset."""
    source_allow_networks: str = ""
    """Networks that sources may be fetched from although they are not the public internet: `10.1.0.0/16, fd00::/8`."""
    source_max_bytes: int = 50 << 20
    """Of one page, file or feed, after decompression."""
    source_fetch_seconds: float = 30
    source_pause_seconds: float = 0.5
    """Between two requests to one host."""
    source_max_items: int = 10_000
    source_min_interval_seconds: int = 60
    search_url: str = ""
    """A server that answers as SearXNG does in JSON; without one, sources of the kind `search` fail and say so."""
    search_api_key: SecretStr | None = None

    @field_validator("source_allow_networks")
    @classmethod
    def _networks(cls, listed: str) -> str:
        for entry in filter(None, (entry.strip() for entry in listed.split(","))):
            ipaddress.ip_network(entry)
        return listed
