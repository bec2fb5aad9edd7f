"""Which language a text is in."""

from __future__ import annotations

import re
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

SAMPLE_CHARACTERS = 10_000
"""More does not change the answer and takes longer: this much takes 2 ms."""
_MIN_LETTERS = 15
_SURE = 0.7
"""Lists of names and program text stay under .1, one sentence of prose reaches .95."""
_NO_WORDS = re.compile(r"\b(?:https?://|www\.)\S+|\S+@\S+|[\W\d_]+")
_TAG = re.compile(r"\s*([A-Za-z]{2})(?:[-_][A-Za-z0-9-_]*)?\s*")


def detect_language(text: str) -> str | None:
    """The ISO 639-1 code of the language that most of the first 10,000 characters are in; None when that is uncertain."""
    words = _NO_WORDS.sub(" ", text[:SAMPLE_CHARACTERS]).strip()
    if sum(map(str.isalpha, words)) < _MIN_LETTERS and not _is_dense(words):
        return None
    language, certainty = _identifier().classify(words)
    return str(language) if certainty >= _SURE else None


def language_of_tag(tag: str | None) -> str | None:
    """The code of two letters in what a document declares (`en-US`, `DE`); None for anything else, such as `und` or `x-none`."""
    found = _TAG.fullmatch(tag) if tag else None
    return found[1].lower() if found else None


def warm_up() -> None:
    """Loads the model, 0.9 s and 60 MB, ahead of the first text."""
    _identifier()


def _is_dense(words: str) -> bool:
    """Five letters of Chinese, Japanese or Korean say as much as fifteen of another script."""
    return sum("\u3040" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7af" for character in words) >= 5


@cache
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # The model also knows dialects and small languages that have no code of two letters.
    identifier.set_languages([label for label in identifier.labels if len(label) == 2])
    return identifier
