"""Words and figures of a text in the form in which they are compared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import log

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?")
_FIGURE = re.compile(r"\d+(?:\.\d+)?")

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a about above after again all also am an and any are as at be because been before being below between both but by can
        could did do does doing down during each either else for from further had has have having he her here hers him his how
        i if in into is it its itself just like may me might more most much must my no nor not of off on once only or other
        our out over own please per same shall she should so some such tell than that the their them then there these they
        this those through to too under until up us very was we were what when where which while who whom whose why will with
        within would you your""",
    )
)


def stem(word: str) -> str:
    """A light English stem: `increases`, `increased` and `increasing` are one. Other languages pass nearly unchanged."""
    if len(word) <= 3 or not word.isascii():
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            word = word.removesuffix(ending)
            if word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word.removesuffix("e") if len(word) > 4 else word


def is_figure(token: str) -> bool:
    """Whether a token of `tokens` is a number."""
    return _FIGURE.fullmatch(token) is not None


def tokens(text: str) -> list[str]:
    """Stems of the words that carry meaning, and figures without grouping commas, in order. `FY2022` gives `fy`, `2022`."""
    found: list[str] = []
    for match in _TOKEN.finditer(text.lower()):
        word = match.group()
        if word[0].isdigit():
            found.append(word.replace(",", ""))
        elif word not in STOP_WORDS:
            found.append(stem(word.replace("’", "'").removesuffix("'s")))
    return found


class Rarity:
    """How telling a word is among some texts: inverse document frequency, as in BM25, never negative."""

    def __init__(self, texts: Sequence[Iterable[str]]) -> None:
        self._count = len(texts)
        self._seen: Mapping[str, int] = Counter(token for text in texts for token in set(text))

    def __call__(self, token: str) -> float:
        seen = self._seen.get(token, 0)
        return log(1 + (self._count - seen + 0.5) / (seen + 0.5))
