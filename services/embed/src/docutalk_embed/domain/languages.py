"""Which of PostgreSQL's text search configurations a text is read with."""

from __future__ import annotations

from collections.abc import Mapping

SIMPLE = "simple"
"""Words as they are written: for languages that PostgreSQL knows no word forms of."""
ENGLISH = "english"

CONFIGURATIONS = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": ENGLISH,
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "nb": "norwegian",
    "ne": "nepali",
    "nl": "dutch",
    "nn": "norwegian",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
"""Those that PostgreSQL 18 ships, by ISO 639-1; a test holds them against the server's list."""


def configurations_of(languages: Mapping[str | None, int]) -> dict[str, int]:
    """Those that chunks can have of which so many are in these languages; of one that nobody could tell there are two."""
    found: dict[str, int] = {}
    for language, count in languages.items():
        for config in [ENGLISH, SIMPLE] if language is None else [configuration_of(language, "")]:
            found[config] = found.get(config, 0) + count
    return found


def configuration_of(language: str | None, text: str) -> str:
    """The configuration for a text in this language (ISO 639-1; None when nobody could tell).

    A text of which the language is unknown, a list or a single line mostly, is read as English while all its letters are
    those of English: for an English one forms of a word stay one word, and of another language the same words still meet,
    because a query is read in the same way.
    """
    if language is not None:
        return CONFIGURATIONS.get(language.lower(), SIMPLE)
    return SIMPLE if any(character.isalpha() and not character.isascii() for character in text) else ENGLISH
