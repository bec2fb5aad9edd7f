"""What a gazetteer knows of places, and what a box on the map may be."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from docutalk_common.contracts.embed import BoundingBox
from docutalk_common.errors import RequestFailed

CITY, COUNTRY, REGION = "city", "country", "region"
"""A region (a state or province) has no coordinates: it tells which city is meant and is never reported itself."""

_WORD = re.compile(r"[^\W\d_]+")

MAX_PLACES = 1_000
"""How many places one answer lists at most."""


class InvalidArea(RequestFailed):
    """A box, or a stretch of a list, that cannot be. The message says what to change."""

    def __init__(self, reason: str) -> None:
        super().__init__("invalid", reason)


@dataclass(frozen=True, slots=True)
class GazetteerPlace:
    """`country` is ISO 3166-1 alpha-2, `region` the gazetteer's code of the part of the country; degrees north and east."""

    place_id: int
    name: str
    kind: str
    country: str
    region: str
    latitude: float
    longitude: float
    population: int
    is_capital: bool = False


class Sense(NamedTuple):
    """What a name may mean. `is_usual`: the place is mostly called so; else it is a name in another language, or an old one."""

    place: GazetteerPlace
    is_usual: bool


def fold(name: str) -> str:
    """The form in which names are compared, words in lower case, parted by one space: `xi an` for `Xi'an`, `u s` for `U.S.`"""
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    return " ".join(_WORD.findall(name)).casefold()


class Gazetteer(Protocol):
    """Where names of places are looked up. Names come as `fold` makes them."""

    def more_words(self, first: str) -> int:
        """How many words the longest name that begins with this word has beside it; 0 when there is none."""
        ...

    def longest_unspaced(self, first: str) -> int:
        """How long the longest name is that begins with this character of a script without spaces; 0 when none does."""
        ...

    def find(self, name: str, language: str | None) -> Sequence[Sense]:
        """What the name may mean, most populous first; `language` (ISO 639-1) adds what countries are called in it."""
        ...

    def regions(self, code: str) -> Sequence[tuple[str, str]]:
        """The (country, region) pairs of a postal abbreviation: `TX`, `ON`."""
        ...

    def neighbours(self, country: str) -> frozenset[str]:
        """The countries that border on it."""
        ...


def check_box(box: BoundingBox) -> BoundingBox:
    """The box itself. Raises `InvalidArea` when it is none: degrees out of range, or the south north of the north."""
    if not all(map(math.isfinite, (box.west, box.south, box.east, box.north))):
        raise InvalidArea("a side of the box is no number; give degrees: west, south, east, north")
    for side, degrees in (("south", box.south), ("north", box.north)):
        if not -90 <= degrees <= 90:
            raise InvalidArea(f"the box's {side} is {degrees:g}; latitudes lie between -90 and 90")
    for side, degrees in (("west", box.west), ("east", box.east)):
        if not -180 <= degrees <= 180:
            raise InvalidArea(f"the box's {side} is {degrees:g}; longitudes lie between -180 and 180")
    if box.south > box.north:
        raise InvalidArea(f"the box's south, {box.south:g}, lies north of its north, {box.north:g}; change them round")
    return box


def check_stretch(limit: int, offset: int) -> None:
    """Raises `InvalidArea` when a list cannot be cut so."""
    if not 1 <= limit <= MAX_PLACES:
        raise InvalidArea(f"the limit is {limit}; it may be 1 to {MAX_PLACES:,}")
    if offset < 0:
        raise InvalidArea(f"the offset is {offset}; it starts at 0")
