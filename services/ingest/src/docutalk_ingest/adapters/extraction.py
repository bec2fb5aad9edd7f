"""From a file to pages and chunks, written to a folder. Runs in the parser process only.

A file all of whose pages have text is done in one go. One with scanned pages takes two: the first reads what can be read and
says which pages are pictures, the second puts in what OCR has found in those and cuts the whole into chunks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from docutalk_common import content_type as kinds
from docutalk_common.contracts.ingest import DocumentMetadata

from docutalk_ingest.adapters import language
from docutalk_ingest.adapters.chunker import MODEL_TOKENS, Chunker, Layout
from docutalk_ingest.adapters.ocr_layout import LinePlace, page_of_lines, straightened
from docutalk_ingest.adapters.page_pictures import picture_of
from docutalk_ingest.adapters.page_places import places_on_page
from docutalk_ingest.adapters.parsers import html, image
from docutalk_ingest.adapters.parsers.pdf import place_headings, save_unlocked
from docutalk_ingest.adapters.parsers.pdf_pictures import is_garbled, visible_characters
from docutalk_ingest.adapters.parsers.reading import read_document
from docutalk_ingest.domain import MAX_CHARACTERS, BatchPlan, ExtractionSummary, ParsedPage, ParseFailed, TooMuchText, UnitSpan

PAGES_FILE = "pages.jsonl"
OCR_FILE = "ocr.jsonl"
UNLOCKED_FILE = "unlocked.pdf"
EXTRACTION_VERSION = 2
"""Goes up when the same file gives other text than before."""
CLEARLY_MORE = 1.2
"""OCR replaces the text of a page when it sees this many times its characters."""
MOST = 0.5
"""As many do when what the page says is garbled."""
_CHUNK_OVERHEAD = 160
"""Bytes that a chunk's ids and numbers take in a message."""
_LAYOUTS = {kinds.MARKDOWN: Layout.MARKDOWN} | dict.fromkeys(
    (kinds.PDF, kinds.PLAIN, kinds.EMAIL, *image.MEDIA_TYPES), Layout.WRAPPED
)
_READERS = {
    kinds.PDF: "pypdfium2",
    kinds.DOCX: "lxml",
    kinds.PPTX: "lxml",
    kinds.XLSX: "python-calamine",
    kinds.HTML: "trafilatura",
} | dict.fromkeys(image.MEDIA_TYPES, "pillow")

Progress = Callable[[int, int | None], None]


class Extractor:
    """Made once, before the first document: what it holds is shared with the process of each document."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._chunker = Chunker(max_tokens=options.get("max_tokens", MODEL_TOKENS), overlap=options.get("overlap", 0))
        html.warm_up()
        language.warm_up()
        self._jobs: dict[str, Callable[..., dict[str, Any]]] = {
            "extract": self._extract,
            "assemble": self._assemble,
            "boxes": self._boxes,
            "render": self._render,
        }

    def __call__(self, job: str, out: Path, progress: Progress, **arguments: Any) -> dict[str, Any]:
        """Does one job with what it needs, writing files to `out`. Returns what the job returns; raises `ParseFailed`, and what
        was written until then counts for nothing.
        """
        return self._jobs[job](out=out, progress=progress, **arguments)

    def _extract(self, *, path: str, filename: str, out: Path, progress: Progress, password: str | None = None) -> dict[str, Any]:
        """`{media_type, summary}`, or `{media_type, ocr: [page numbers], done, page_count}` when pages are to be read by OCR.

        Writes a line of JSON for each page. Progress counts pages that are done, not those that wait for OCR.
        """
        media_type, document = read_document(Path(path), filename, password)
        pending: list[int] = []
        progress(0, document.page_count)
        with (out / PAGES_FILE).open("w", encoding="utf-8") as file:
            result = _Result(media_type, document.metadata, self._chunker, file)
            for number, page in enumerate(document.pages, start=1):
                if page.needs_ocr:
                    pending.append(number)
                # As soon as a page waits for OCR, nobody knows the chunks and batches of those behind it.
                result.add(page, cut=not pending)
                progress(number - len(pending), document.page_count)
        if media_type == kinds.PDF and password is not None:
            save_unlocked(Path(path), password, out / UNLOCKED_FILE)
        if pending:
            return {
                "media_type": media_type,
                "ocr": pending,
                "done": result.page_count - len(pending),
                "of": result.page_count,
                "metadata": document.metadata.model_dump(mode="json"),
            }
        return {"media_type": media_type, "summary": result.summary()}

    def _assemble(self, *, media_type: str, metadata: dict[str, Any], out: Path, progress: Progress) -> dict[str, Any]:
        """`{media_type, summary}`, with what `OCR_FILE` holds in its pages' places."""
        del progress
        read = {entry["number"]: entry for entry in _lines_of(out / OCR_FILE)}
        assembled = out / (PAGES_FILE + ".new")
        with assembled.open("w", encoding="utf-8") as file:
            result = _Result(media_type, DocumentMetadata.model_validate(metadata), self._chunker, file)
            for number, stored in enumerate(_lines_of(out / PAGES_FILE), start=1):
                result.add_read(_page(stored), read.get(number))
        summary = result.summary()
        assembled.rename(out / PAGES_FILE)
        return {"media_type": media_type, "summary": summary}

    def _boxes(self, *, path: str, page: str, out: Path, progress: Progress, **quote: Any) -> dict[str, Any]:
        """`page` is a file with the page's text and lines."""
        del out, progress
        return places_on_page(Path(path), **quote, **json.loads(Path(page).read_text(encoding="utf-8")))

    def _render(self, *, path: str, number: int, width: int, name: str, out: Path, progress: Progress) -> dict[str, Any]:
        """Writes the picture to `out / name`; `{width, height}` in pixels."""
        del progress
        picture = picture_of(Path(path), number, width=width)
        picture.save(out / name, quality=85, method=1)
        return {"width": picture.width, "height": picture.height}


@dataclass
class _Result:
    """Pages as they are written, and what is counted on the way."""

    media_type: str
    metadata: DocumentMetadata
    chunker: Chunker
    file: TextIO
    page_count: int = 0
    _characters: int = 0
    _chunks: int = 0
    _any_text: bool = False
    _sample: str = ""
    _plan: BatchPlan = field(default_factory=BatchPlan)
    _hash: Any = field(default_factory=hashlib.sha256)
    _unreadable: list[int] = field(default_factory=list)
    _ocr: list[int] = field(default_factory=list)
    _problems: dict[str, int] = field(default_factory=dict)

    def add(self, page: ParsedPage, *, cut: bool = True, lines: list[LinePlace] | None = None) -> None:
        """Raises `TooMuchText`."""
        self._characters += len(page.text)
        if self._characters > MAX_CHARACTERS:
            raise TooMuchText(f"more than {MAX_CHARACTERS:,} characters")
        self._hash.update(("\f" if self.page_count else "").encode() + page.text.encode())
        self.page_count += 1
        if not page.readable:
            self._unreadable.append(self.page_count)
        if page.text.strip():
            self._any_text = True
            if len(self._sample) < language.SAMPLE_CHARACTERS:
                self._sample += page.text[: language.SAMPLE_CHARACTERS] + "\n"
        spans = self.chunker.cut(page.text, _LAYOUTS.get(self.media_type, Layout.FLOWING)) if cut else []
        chunks = [(start, end, self._plan.place(_wire_size(page.text[start:end]))) for start, end in spans]
        self._chunks += len(chunks)
        self.file.write(json.dumps({**asdict(page), "chunks": chunks, "lines": lines}, ensure_ascii=False) + "\n")

    def add_read(self, page: ParsedPage, read: dict[str, Any] | None) -> None:
        """A page with what OCR has made of it: as `OcrReader.read` answers."""
        if read is None:
            return self.add(page)
        if "problem" in read:
            # Some text is better than none, but it is not what stands there.
            self._problems[read["problem"]] = self._problems.get(read["problem"], 0) + 1
            return self.add(replace(page, readable=False))
        text, lines = page_of_lines(straightened(read["lines"], read["width"], read["height"]))
        self._ocr.append(self.page_count + 1)
        enough = MOST if is_garbled(page.text) else CLEARLY_MORE
        if visible_characters(text) <= enough * visible_characters(page.text):
            return self.add(page)
        headings = place_headings([(unit.label, unit.level) for unit in page.units], text)
        return self.add(replace(page, text=text, units=headings), lines=lines)

    def summary(self) -> dict[str, Any]:
        """An `ExtractionSummary` as a dict. Raises `ParseFailed` (`no_text`, `unreadable`) when there is nothing to search."""
        if not self._any_text:
            raise self._nothing()
        found = language.detect_language(self._sample) or self.metadata.language
        metadata = self.metadata.model_copy(update={"language": found})
        summary = ExtractionSummary(
            content_type=self.media_type,
            page_count=self.page_count,
            characters=self._characters,
            chunk_count=self._chunks,
            batch_count=self._plan.batch + 1 if self._chunks else 0,
            unreadable=self._unreadable,
            ocr=self._ocr,
            metadata=metadata,
            extractor=_extractor(self.media_type, bool(self._ocr)),
            text_hash=self._hash.hexdigest(),
            problem=self._problem(),
        )
        return {**asdict(summary), "metadata": metadata.model_dump(mode="json")}

    def _problem(self) -> str:
        return " ".join(
            f"{count:,} scanned {'page' if count == 1 else 'pages'} could not be read: {problem}."
            for problem, count in self._problems.items()
        )

    def _nothing(self) -> ParseFailed:
        if self._problems:
            return ParseFailed("unreadable", f"{self._problem()} Upload a better copy of the file.")
        if self._ocr:
            what = "image" if self.media_type in image.MEDIA_TYPES else "PDF"
            return ParseFailed(
                "no_text",
                f"No text was found in the {what}, also not in its picture. If there is some, upload a sharper or larger scan.",
            )
        if self.media_type == kinds.PDF:
            return ParseFailed(
                "no_text", "The PDF holds no text, and no pictures that text could be read from. Check the original."
            )
        return ParseFailed("no_text", "The file holds no text.")


def _page(stored: dict[str, Any]) -> ParsedPage:
    return ParsedPage(
        stored["label"],
        stored["text"],
        stored["readable"],
        stored["kind"],
        [UnitSpan(**unit) for unit in stored["units"]],
        stored["needs_ocr"],
    )


def _lines_of(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _wire_size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) + _CHUNK_OVERHEAD


def _extractor(media_type: str, ocr: bool) -> str:
    """What read the file, with versions: the same name means the same text."""
    parts = [f"docutalk {EXTRACTION_VERSION}"]
    if media_type in _READERS:
        parts.append(f"{_READERS[media_type]} {version(_READERS[media_type])}")
    if ocr:
        parts.append(f"rapidocr {version('rapidocr')}")
    return ", ".join(parts)
