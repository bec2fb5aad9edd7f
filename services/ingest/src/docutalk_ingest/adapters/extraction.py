"""From a file to pages and chunks, written to a folder. Runs in the parser process only."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from docutalk_common.content_type import MARKDOWN, PDF, PLAIN

from docutalk_ingest.adapters.chunker import Chunker, Layout
from docutalk_ingest.adapters.parsers.html import warm_up
from docutalk_ingest.adapters.parsers.reading import read_document
from docutalk_ingest.domain import MAX_CHARACTERS, BatchPlan, ExtractionSummary, ParseFailed, TooMuchText

PAGES_FILE = "pages.jsonl"
_CHUNK_OVERHEAD = 160
"""Bytes that a chunk's ids and numbers take in a message."""


_LAYOUTS = {MARKDOWN: Layout.MARKDOWN, PDF: Layout.WRAPPED, PLAIN: Layout.WRAPPED}


class Extractor:
    """Made once, before the first document: what it holds is shared with the process of each document."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._chunker = Chunker(overlap=options.get("overlap", 0))
        warm_up()

    def __call__(self, path: Path, filename: str, out: Path, progress: Callable[[int, int | None], None]) -> dict[str, Any]:
        """Writes a line of JSON for each page: `label, text, chunks [[start, end, batch]]`. Returns the summary as a dict.

        Raises `ParseFailed`; what was written until then counts for nothing.
        """
        media_type, document = read_document(path, filename)
        layout = _LAYOUTS.get(media_type, Layout.FLOWING)
        plan = BatchPlan()
        page_count = characters = chunk_count = 0
        unreadable: list[int] = []
        any_text = False
        progress(0, document.page_count)
        with (out / PAGES_FILE).open("w", encoding="utf-8") as file:
            for page_count, page in enumerate(document.pages, start=1):
                characters += len(page.text)
                if characters > MAX_CHARACTERS:
                    raise TooMuchText(f"more than {MAX_CHARACTERS:,} characters")
                any_text = any_text or bool(page.text.strip())
                if not page.readable:
                    unreadable.append(page_count)
                spans = self._chunker.cut(page.text, layout)
                chunks = [(start, end, plan.place(_wire_size(page.text[start:end]))) for start, end in spans]
                chunk_count += len(chunks)
                file.write(json.dumps({"label": page.label, "text": page.text, "chunks": chunks}, ensure_ascii=False) + "\n")
                progress(page_count, document.page_count)
        if not any_text:
            raise _no_text(media_type)
        batch_count = plan.batch + 1 if chunk_count else 0
        summary = ExtractionSummary(
            media_type, page_count, characters, chunk_count, batch_count, unreadable, metadata=document.metadata
        )
        return {**asdict(summary), "metadata": summary.metadata.model_dump(mode="json")}


def _wire_size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) + _CHUNK_OVERHEAD


def _no_text(media_type: str) -> ParseFailed:
    if media_type == PDF:
        return ParseFailed(
            "no_text",
            "The PDF holds no text: it looks scanned. Reading scanned pages (OCR) is not available yet; "
            "upload a version with a text layer.",
        )
    return ParseFailed("no_text", "The file holds no text.")
