"""What a query asks of the words of a passage: quoted phrases, exclusions, identifiers, and the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass

from docutalk_embed.domain import InvalidQuery, clean_query

MAX_PARTS = 16
"""Phrases and exclusions of a query; each is a condition on every passage that is looked at."""
MAX_PHRASE_CHARACTERS = 1000
MAX_WORDS_WITH_SIGNS = 32
"""A longer query is prose, a pasted abstract for example: its quotation marks and dashes mean what they mean in prose."""

# Scripts without spaces between words; Korean too, whose words carry their particles. Kept in step with the migration.
UNSPACED_RANGES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u309f\u30a0-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
UNSPACED = re.compile(f"[{UNSPACED_RANGES}]+")
_QUOTES = '"“”„‟«»「」『』＂'
_PART = re.compile(
    rf"(?:(?<!\S)|(?<=[(\[]))-(?=[{_QUOTES}])[{_QUOTES}](?P<no_phrase>[^{_QUOTES}]*)[{_QUOTES}]"
    rf"|(?:(?<![\w\"])\"|[{_QUOTES[1:]}])(?P<phrase>[^{_QUOTES}]*)[{_QUOTES}]"
    rf"|(?:(?<!\S)|(?<=[(\[]))-(?P<no_word>(?=[^\W\d_]|§)[^\s{_QUOTES}]+)"
)
_ALNUM = r"[^\W_]"
_IDENTIFIER = re.compile(
    # § 12, §§ 12a, § 240.10b-5
    rf"§§?\s*\d+{_ALNUM}*(?:[.-]\d+{_ALNUM}*)*"
    # ISO 9001:2015, SKU 47110: a word of capitals in passages, any short one in a query
    rf"|(?<!\w)[A-Z]{_ALNUM}{{1,7}} +\d{_ALNUM}*(?:[-/:.]{_ALNUM}+)*(?!,?\d)"
    # name@example.com; looked for from its beginning only, or a long row of dots would be read once for each of them
    rf"|(?<![\w.%+-])[\w.%+-]*\w@{_ALNUM}+(?:[.-]{_ALNUM}+)+"
    # SKU-4711, AB/12-3, v1.2.3, E300
    rf"|(?<!\w){_ALNUM}+(?:[-/:._]{_ALNUM}+)*",
    re.IGNORECASE,
)
_DASHES = str.maketrans("‐‑‒–−", "-----")


@dataclass(frozen=True)
class Identifier:
    """A name with digits in it. `spellings` are how the word index may have it, the one that was asked for first; `words` are
    what it says when it is taken apart."""

    text: str
    spellings: tuple[str, ...]
    words: str


@dataclass(frozen=True)
class ParsedQuery:
    """`text` is what the query means, without its signs and exclusions; `words` that without its identifiers.

    `phrases` must stand in a passage as they are, `excluded_phrases` must not, `excluded_words` in none of their forms.
    """

    text: str
    words: str
    phrases: tuple[str, ...] = ()
    excluded_words: tuple[str, ...] = ()
    excluded_phrases: tuple[str, ...] = ()
    identifiers: tuple[Identifier, ...] = ()


def parse_query(query: str) -> ParsedQuery:
    """Raises `InvalidQuery` for a query that is empty, too long, has too many parts or nothing but exclusions.

    A quotation mark without its other half is no sign, a `-` before a digit is a number's, and one within a word, or with a
    space after it, is a dash. In a query of more than 32 words there are no signs at all.
    """
    query = clean_query(query)
    if len(query.split()) + len("".join(UNSPACED.findall(query))) // 2 > MAX_WORDS_WITH_SIGNS:
        words, identifiers = take_identifiers(query)
        return ParsedQuery(query, words, identifiers=identifiers)
    phrases: list[str] = []
    excluded_words: list[str] = []
    excluded_phrases: list[str] = []

    def take(part: re.Match[str]) -> str:
        if (phrase := part["phrase"]) is not None:
            if _has_word(phrase):
                phrases.append(phrase.strip())
            return f" {phrase} "
        if (phrase := part["no_phrase"]) is not None:
            if _has_word(phrase):
                excluded_phrases.append(phrase.strip())
            return " "
        word = part["no_word"].rstrip(".,;:!?)]}…。、，")
        (excluded_words if re.fullmatch(r"[^\W_]+", word) else excluded_phrases).append(word)
        return " "

    text = " ".join(_PART.sub(take, query).split())
    parts = phrases + excluded_words + excluded_phrases
    if len(parts) > MAX_PARTS:
        raise InvalidQuery(f"the query has {len(parts)} phrases and exclusions; at most {MAX_PARTS} are allowed")
    if any(len(part) > MAX_PHRASE_CHARACTERS for part in parts):
        raise InvalidQuery(f"a phrase of the query has more than {MAX_PHRASE_CHARACTERS:,} characters")
    if not text and (excluded_words or excluded_phrases):
        raise InvalidQuery("the query says only what must not be found: add what to look for")
    text = text or query
    words, identifiers = take_identifiers(text)
    return ParsedQuery(text, words, tuple(phrases), tuple(excluded_words), tuple(excluded_phrases), identifiers)


def take_identifiers(text: str) -> tuple[str, tuple[Identifier, ...]]:
    """The text without the identifiers in it, and those."""
    found: dict[str, Identifier] = {}

    def take(match: re.Match[str]) -> str:
        name = match[0]
        identifier = _identifier(name)
        if identifier is None:
            return name
        found.setdefault(identifier.spellings[0], identifier)
        return " "

    rest = _IDENTIFIER.sub(take, text.translate(_DASHES))
    return rest, tuple(found.values())


def _identifier(name: str) -> Identifier | None:
    written = " ".join(name.lower().split())
    words = re.sub(r"[\W_]+", " ", written).strip()
    if written.startswith("§"):
        return Identifier(name, ("§ " + written.lstrip("§ "),), words)
    if "@" in written:
        return Identifier(name, (written,), words)
    if not any(character.isdigit() for character in written):
        return None
    joined = re.fullmatch(r"([^\W\d_]+)[- ]?(\d.*)", written)
    if joined is None:
        return Identifier(name, (written,), words) if _is_joined(written) else None
    letters, digits = joined.groups()
    spellings = [written, f"{letters}-{digits}", f"{letters} {digits}", f"{letters}{digits}"]
    # The word before it may be any: "part 4711-A".
    spellings += [digits] if " " in written and _is_joined(digits) else []
    return Identifier(name, tuple(dict.fromkeys(spellings)), words)


def _is_joined(written: str) -> bool:
    """Whether digits are part of a name: not in a plain number, a decimal or a time."""
    if not any(character.isalpha() for character in written):
        return re.fullmatch(r"\d+(?:[.:]\d+)?", written) is None
    return re.search(r"[^\W_][-/:._][^\W_]", written) is not None


def _has_word(phrase: str) -> bool:
    return any(character.isalnum() for character in phrase)


def pattern_of(phrase: str) -> str:
    """A regular expression, for PostgreSQL as for Python, that finds a phrase: white space, dashes and apostrophes of any kind,
    and nothing but the end of a word at its ends. Case is for the caller to ignore."""
    words = [_literal(word) for word in phrase.split()]
    pattern = r"\s+".join(words).replace(_SECTION + r"\s+", _SECTION)
    first, last = phrase[0], phrase[-1]
    before = r"(?<![^\W_])" if _is_bounded(first) else ""
    after = r"(?![^\W_])" if _is_bounded(last) else ""
    return before + pattern + after


def _is_bounded(character: str) -> bool:
    return character.isalnum() and not UNSPACED.match(character)


def _literal(word: str) -> str:
    return "".join(_CLASSES.get(character) or (character if character.isalnum() else f"\\{character}") for character in word)


_SECTION = r"§\s*"
_CLASSES = {
    **dict.fromkeys("-‐‑‒–—−", "[-‐‑‒–—−]"),
    **dict.fromkeys("'’ʼ`´", "['’ʼ`´]"),
    "§": _SECTION,
}
