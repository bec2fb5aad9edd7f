"""Which places a text names. Rules, not a model: the same text gives the same places, in a fraction of a millisecond.

A name is looked for where a word has a capital letter. Whether it is a place is decided by what stands beside it, by how
large the place is, and by the other places of the same text; when in doubt it is none. Which of several places of one name is
meant is decided by a country or state behind it or near it, else by size.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from docutalk_embed.domain.place_words import (
    AMBIGUOUS_COUNTRIES,
    COMMON,
    COMPANIES,
    DIRECTIVE,
    DIRECTIVE_ABROAD,
    FOLLOWERS,
    FUNCTION_WORDS,
    LOCATIVE,
    OWNERS,
    QUALIFIERS,
    SPEAKING,
    TITLES,
)
from docutalk_embed.domain.places import CITY, COUNTRY, REGION, Gazetteer, GazetteerPlace, Sense, fold

LARGE, SIZEABLE = 500_000, 100_000
"""A city of this many people is believed without, and with little, reason beside its name."""
DOMINANT = 20
"""A city so many times larger than its namesakes is meant unless the namesake's state or country stands right behind it."""
_ENOUGH = 2
"""How much must speak for a name; each reason counts 1 to 3."""

# Without the rare capitals beyond 16 bits, and with the look back behind the capital: else it takes three times as long.
_CAPITALS = "".join(map(chr, filter(lambda code: chr(code).isupper() or chr(code).istitle(), range(0x10000))))
_NAME = re.compile(rf"[{_CAPITALS}](?<![^\W_].)[^\W\d_]*+(?!\d)")
# Within a name of several words: spaces, the end of a line, a hyphen, an apostrophe, the point of an abbreviation.
_NEXT = re.compile(r"(?:[ \u00a0]|\n|[-'’]|\.[ \u00a0]?)([^\W\d_]+)")
_BEFORE = re.compile(r"([^\W\d_]+)([^\w\n]{0,3})\Z")
_BEHIND = re.compile(r"([^\w\n]{0,3})([^\W\d_]+)")
_QUALIFIER = re.compile(r",?\s{1,2}(?=\w)|\s?\(|,?\n")
_LISTED = re.compile(r"[,;/]? ?(?:(?:and|or|und|oder|sowie|et|ou|y|o|e|en|of) )?")
_CODE = re.compile(r"(D\.? ?C\.?|[A-Z]{2,3})(?!\w)")
_UNSPACED = re.compile(r"[\u30a0-\u30ff\u4e00-\u9fff]")
_SPACE = frozenset(" \u00a0")
_APOSTROPHES = frozenset("'’")
_POINT = frozenset({". ", "."}) | _SPACE
_GLUE = frozenset({"-", "&", " & "}) | _SPACE | _APOSTROPHES
"""What joins a name with the words beside it."""
_OF = frozenset({"of", "von"})
_ENGLISH = frozenset({"en", None})


@dataclass(frozen=True, slots=True)
class FoundPlace:
    """`text[start:end]` names the place."""

    place: GazetteerPlace
    start: int
    end: int


@dataclass(slots=True)
class _Candidate:
    """A name of the gazetteer, standing in a text. `score` is what speaks for it; None: it is certainly no place."""

    start: int
    end: int
    key: str
    senses: Sequence[Sense]
    score: int | None = 0
    number: int = 0
    """Among the names of the text."""
    chosen: GazetteerPlace | None = None
    is_told: bool = False
    """Whether the state or country right behind it tells which one is meant."""
    is_used: bool = False
    """Whether it tells itself which place the name before it means."""
    is_person: bool = False


@dataclass(slots=True)
class _Text:
    text: str
    candidates: list[_Candidate]
    starts: dict[int, _Candidate] = field(default_factory=dict)
    ends: dict[int, _Candidate] = field(default_factory=dict)
    countries: set[str] = field(default_factory=set)
    regions: set[tuple[str, str]] = field(default_factory=set)


def find_places(texts: Sequence[str], gazetteer: Gazetteer, language: str | None = None) -> list[list[FoundPlace]]:
    """What each text names, in the order of the text. The texts are read as parts of one document: what one tells of a name
    holds for the others. `language` is ISO 639-1."""
    reader = _Reader(gazetteer, language, texts)
    return [reader.places(text) for text in reader.texts]


def count_places(texts: Sequence[str], gazetteer: Gazetteer, language: str | None = None) -> list[Mapping[GazetteerPlace, int]]:
    """How often each text names which place."""
    return [Counter(found.place for found in places) for places in find_places(texts, gazetteer, language)]


class _Reader:
    """Reads the texts twice: what may be a name, and what stands behind names, comes before any decision."""

    def __init__(self, gazetteer: Gazetteer, language: str | None, texts: Sequence[str]) -> None:
        self._gazetteer = gazetteer
        self._language = language
        self.texts = [self._candidates(text) for text in texts]
        self._persons: set[str] = set()
        self._told: dict[str, Counter[GazetteerPlace]] = {}
        for text in self.texts:
            for candidate in text.candidates:
                self._look_behind(text, candidate)
        for text in self.texts:
            for candidate in text.candidates:
                self._look_beside(text, candidate)
                if candidate.is_person:
                    self._persons.add(candidate.key)
        self._lower: dict[str, bool] = {}
        self._whole = texts

    def _candidates(self, text: str) -> _Text:
        found: list[_Candidate] = []
        end = 0
        for word in _NAME.finditer(text):
            if word.start() >= end and (candidate := self._longest(text, word.start(), word.end())) is not None:
                found.append(candidate)
                end = candidate.end
        if _UNSPACED.search(text) is not None:
            found.extend(self._unspaced(text))
            found.sort(key=lambda candidate: candidate.start)
        for number, candidate in enumerate(found):
            candidate.number = number
        return _Text(text, found, {one.start: one for one in found}, {one.end: one for one in found})

    def _longest(self, text: str, start: int, end: int) -> _Candidate | None:
        """The longest name that begins here."""
        key = fold(text[start:end])
        best = None
        if senses := self._find(key, text[start:end]):
            best = _Candidate(start, end, key, senses)
        for _ in range(self._gazetteer.more_words(key.split(" ", 1)[0])):
            behind = _NEXT.match(text, end)
            if behind is None:
                break
            end = behind.end()
            key = f"{key} {fold(behind.group(1))}"
            if (behind.group(1)[0].isupper() or behind.start(1) - behind.start() == 1) and (senses := self._find(key, "")):
                best = _Candidate(start, end, key, senses)
        if best is not None and best.key in _POINTED and text[best.end : best.end + 1] == ".":
            best.end += 1
            # `15 U.S.C. 7262` is a law.
            if text[best.end : best.end + 1].isalnum():
                return None
        return best

    def _find(self, key: str, written: str) -> Sequence[Sense]:
        # The pronoun and the verb are no countries; neither is a German genitive a name of its own.
        if key in _ACRONYMS and not written.isupper():
            return ()
        senses = self._gazetteer.find(key, self._language)
        if not senses and self._language == "de" and len(key) > 5 and key.endswith("s"):
            senses = self._gazetteer.find(key[:-1], self._language)
        return senses

    def _unspaced(self, text: str) -> list[_Candidate]:
        """Names in scripts without spaces. In katakana a name is a whole run of it, else it is part of another word."""
        found: list[_Candidate] = []
        end = 0
        for match in _UNSPACED.finditer(text):
            start = match.start()
            if start < end:
                continue
            for length in range(self._gazetteer.longest_unspaced(text[start]), 1, -1):
                name = text[start : start + length]
                if len(name) < length or _cuts_katakana(text, start, start + length):
                    continue
                if senses := self._gazetteer.find(name, None):
                    found.append(_Candidate(start, start + length, name, senses, score=_ENOUGH))
                    end = start + length
                    break
        return found

    def _look_behind(self, text: _Text, candidate: _Candidate) -> None:
        """`Paris, Texas`; `Cambridge (Massachusetts)`; `Boston, MA`."""
        if candidate.is_used:
            text.countries.update(sense.place.country for sense in candidate.senses if sense.place.kind == COUNTRY)
        elif any(sense.place.kind != CITY for sense in candidate.senses):
            for sense in candidate.senses:
                if sense.place.kind == REGION:
                    text.regions.add((sense.place.country, sense.place.region))
                elif sense.place.kind == COUNTRY and candidate.key not in AMBIGUOUS_COUNTRIES:
                    text.countries.add(sense.place.country)
        gap = _QUALIFIER.match(text.text, candidate.end)
        if gap is None:
            return
        wider: list[tuple[str, str]] = []
        behind = text.starts.get(gap.end())
        if behind is not None:
            wider = [(one.place.country, one.place.region) for one in behind.senses if one.place.kind != CITY]
        elif (code := _CODE.match(text.text, gap.end())) is not None:
            wider = list(self._gazetteer.regions(re.sub(r"\W", "", code.group(1))))
        if not wider:
            return
        matching = [
            sense.place
            for sense in candidate.senses
            if sense.place.kind == CITY
            and any(sense.place.country == country and region in ("", sense.place.region) for country, region in wider)
        ]
        if matching:
            candidate.chosen = max(matching, key=lambda place: place.population)
            candidate.is_told = True
            self._told.setdefault(candidate.key, Counter())[candidate.chosen] += 1
            text.regions.add((candidate.chosen.country, candidate.chosen.region))
            if behind is not None:
                behind.is_used = True
        elif (
            "," in gap.group() and any(region for _, region in wider) and all(one.place.kind == CITY for one in candidate.senses)
        ):
            # A namesake that the gazetteer does not know.
            candidate.score = None

    def _look_beside(self, text: _Text, candidate: _Candidate) -> None:
        """What stands right before and right behind the name."""
        if candidate.score is None or _UNSPACED.match(candidate.key):
            return
        before, behind = self._score_before(text, candidate), self._score_behind(text, candidate)
        told = 3 if candidate.is_told else 0
        candidate.score = None if before is None or behind is None else told + before + behind

    def _score_before(self, text: _Text, candidate: _Candidate) -> int | None:
        before = _word_before(text.text, candidate.start)
        if before is None:
            return 0
        word, gap = before.group(1), before.group(2)
        lower = word.casefold()
        is_initial = gap in _POINT and (len(word) == 1 or lower in TITLES)
        if not is_initial and gap not in _GLUE:
            return 0
        if not word[0].isupper() or lower in FUNCTION_WORDS:
            if lower in _OF and (owner := _word_before(text.text, before.start())) is not None:
                is_part = owner.group(1).casefold() in OWNERS and owner.group(1)[0].isupper()
                return None if is_part else 1
            is_directive = lower in DIRECTIVE or (lower in DIRECTIVE_ABROAD and self._language not in _ENGLISH)
            return 2 if lower in LOCATIVE else int(is_directive)
        if lower in QUALIFIERS:
            ahead = _word_before(text.text, before.start())
            return 2 if ahead is not None and ahead.group(1).casefold() in LOCATIVE else 0
        neighbour = text.ends.get(before.end(1))
        if not is_initial and ((neighbour is not None and neighbour.score is not None) or self._is_beside_nouns(candidate)):
            return 0
        candidate.is_person = is_initial or gap in _SPACE
        return None

    def _score_behind(self, text: _Text, candidate: _Candidate) -> int | None:
        behind = _BEHIND.match(text.text, candidate.end)
        if behind is None:
            return 0
        gap, word = behind.group(1), behind.group(2)
        lower = word.casefold()
        if lower in COMPANIES and word[0].isupper() and gap in (" ", ", "):
            return None
        if lower == "state" and any(sense.place.kind == REGION for sense in candidate.senses):
            return None
        if gap not in _GLUE:
            return 0
        if word[0].isupper() and not (
            gap in _APOSTROPHES
            or lower in FOLLOWERS
            or lower in FUNCTION_WORDS
            or behind.start(2) in text.starts
            or self._is_beside_nouns(candidate)
        ):
            return None
        if gap == " " and lower in SPEAKING:
            return -2
        return 2 if gap == "-" and lower == "based" else 0

    def _is_beside_nouns(self, candidate: _Candidate) -> bool:
        """Whether a capital letter beside the name says nothing: German has them on every noun. A city is still doubted."""
        return self._language == "de" and any(sense.place.kind == COUNTRY for sense in candidate.senses)

    def places(self, text: _Text) -> list[FoundPlace]:
        """The decisions."""
        found = []
        for candidate in text.candidates:
            if candidate.score is None:
                continue
            place = self._country(text, candidate) or self._city(text, candidate)
            if place is not None:
                found.append(FoundPlace(place, candidate.start, candidate.end))
        return found

    def _country(self, text: _Text, candidate: _Candidate) -> GazetteerPlace | None:
        country = next((sense.place for sense in candidate.senses if sense.place.kind == COUNTRY), None)
        if country is None or (candidate.chosen is not None and candidate.chosen.name != country.name):
            return None
        if candidate.key not in AMBIGUOUS_COUNTRIES:
            return country
        score = (candidate.score or 0) + (candidate.is_used and 3)
        if candidate.key in _ACRONYMS:
            return country if not _is_shouted(text.text, candidate) else None
        if any(sense.place.kind == REGION for sense in candidate.senses):
            # Georgia and its American namesake.
            score = 2 if text.countries & self._gazetteer.neighbours(country.country) else 0
        else:
            score += bool(text.countries - {country.country}) + _is_listed(text, candidate)
        return country if score >= _ENOUGH else None

    def _city(self, text: _Text, candidate: _Candidate) -> GazetteerPlace | None:
        assert candidate.score is not None
        if candidate.is_used:
            return None
        place, is_usual, is_near = self._choose(text, candidate)
        if place is None:
            return None
        is_region = any(sense.place.kind == REGION for sense in candidate.senses)
        if is_region and not is_usual:
            return None
        score = candidate.score + is_near + (not is_region and _is_listed(text, candidate))
        is_common = candidate.key in COMMON or self._is_word(candidate)
        if candidate.key in self._told and not candidate.is_told:
            score += 1 if is_common else 2
        if candidate.key in self._persons and not candidate.is_told:
            score -= 2
        if is_region:
            # New York is a city and a state; of Delaware, Ohio, nobody speaks without its state.
            needed = _ENOUGH if place.population >= LARGE else _ENOUGH + 1
        elif _is_shouted(text.text, candidate) and (is_common or place.population < LARGE):
            needed = _ENOUGH + 1
        elif is_common:
            needed = _ENOUGH if place.population >= LARGE else _ENOUGH + 1
        elif is_usual and (place.population >= LARGE or place.is_capital):
            needed = 0
        elif place.population >= (SIZEABLE if is_usual else LARGE) and len(candidate.key) > 4:
            needed = 1
        else:
            needed = _ENOUGH
        return place if score >= needed else None

    def _choose(self, text: _Text, candidate: _Candidate) -> tuple[GazetteerPlace | None, bool, int]:
        """The city that the name means, whether it is mostly called so, and 1 when its country or state is named near."""
        cities = [sense for sense in candidate.senses if sense.place.kind == CITY]
        if not cities:
            return None, False, 0
        usual = {sense.place: sense.is_usual for sense in cities}
        place = candidate.chosen
        if place is None and candidate.key in self._told:
            told = self._told[candidate.key]
            place = max(told, key=lambda one: (told[one], one.population))
        if place is None:
            # A name in use comes before an old one, or one in another language, of a larger city.
            cities.sort(key=lambda sense: (not sense.is_usual, -sense.place.population))
            place = cities[0].place
            if place.population < LARGE or place.population < DOMINANT * max(
                (one.place.population for one in cities[1:]), default=0
            ):
                near = [sense.place for sense in cities if self._is_near(text, sense.place)]
                place = max(near, key=lambda one: one.population) if near else place
        return place, usual.get(place, True), int(self._is_near(text, place))

    def _is_near(self, text: _Text, place: GazetteerPlace) -> bool:
        if place.country in _TOLD_BY_REGION:
            return (place.country, place.region) in text.regions
        return place.country in text.countries

    def _is_word(self, candidate: _Candidate) -> bool:
        """Whether the document has the name in small letters, as a word."""
        key = candidate.key
        if " " in key:
            return False
        if key not in self._lower:
            word = re.compile(rf"(?<![^\W_]){re.escape(key)}(?![^\W_])")
            self._lower[key] = any(key in text and word.search(text) for text in self._whole)
        return self._lower[key]


_ACRONYMS = frozenset({"us", "uk", "usa", "uae"})
_POINTED = frozenset({"u s", "u k", "u s a", "washington d c"})
_TOLD_BY_REGION = frozenset({"US", "CA", "AU"})
"""Where the name of the country says little of a city, because everything else lies there too."""


def _word_before(text: str, start: int) -> re.Match[str] | None:
    """The word before this place on its line, and what stands between."""
    return _BEFORE.search(text, max(0, start - 40), start)


def _is_listed(text: _Text, candidate: _Candidate) -> bool:
    """Whether a name that is surely a place stands beside this one in a list."""
    before, behind = candidate.number - 1, candidate.number + 1
    return (before >= 0 and _is_sure(text.candidates[before]) and _joins(text, text.candidates[before], candidate)) or (
        behind < len(text.candidates) and _is_sure(text.candidates[behind]) and _joins(text, candidate, text.candidates[behind])
    )


def _joins(text: _Text, first: _Candidate, second: _Candidate) -> bool:
    return _LISTED.fullmatch(text.text, first.end, second.start) is not None


def _is_sure(candidate: _Candidate) -> bool:
    if candidate.score is None:
        return False
    if candidate.is_told or any(place.kind == COUNTRY for place, _ in candidate.senses):
        return candidate.key not in AMBIGUOUS_COUNTRIES
    return candidate.key not in COMMON and any(place.population >= LARGE for place, _ in candidate.senses)


def _is_shouted(text: str, candidate: _Candidate) -> bool:
    """Whether the words beside the name are in capitals as well, or the name is."""
    written = text[candidate.start : candidate.end]
    if not written.isupper():
        return False
    if fold(written) not in _ACRONYMS:
        return True
    beside = text[max(0, candidate.start - 20) : candidate.start] + text[candidate.end : candidate.end + 20]
    return not any(sign.islower() for sign in beside)


def _cuts_katakana(text: str, start: int, end: int) -> bool:
    def is_katakana(at: int) -> bool:
        return 0 <= at < len(text) and "\u30a0" <= text[at] <= "\u30ff" and text[at] != "・"

    return (is_katakana(start) and is_katakana(start - 1)) or (is_katakana(end - 1) and is_katakana(end))
