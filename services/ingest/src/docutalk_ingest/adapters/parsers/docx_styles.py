"""What the paragraphs of a Word document are by their style: headings with a level, and the numbers that Word counts for them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lxml import etree

from docutalk_ingest.adapters.parsers.office_xml import child, descendants, local, value

_HEADING_NAME = re.compile(r"heading\s*([1-9])$", re.IGNORECASE)
_MAX_CHAIN = 20
_MAX_LEVEL = 9
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
          (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip
_MAX_COUNTED = 3999


@dataclass(frozen=True)
class _Style:
    name: str
    based_on: str
    outline: int | None
    numbering: tuple[str, int | None] | None


@dataclass(frozen=True)
class _Level:
    start: int
    format: str
    text: str
    style: str


@dataclass
class Paragraphs:
    """Asked once for each paragraph in order, because numbers are counted along."""

    _styles: dict[str, _Style] = field(default_factory=dict)
    _lists: dict[str, dict[int, _Level]] = field(default_factory=dict)
    """Levels by numbering id."""
    _shared: dict[str, str] = field(default_factory=dict)
    """The list that a numbering id counts in: several may go on with the same one."""
    _restarts: dict[str, dict[int, int]] = field(default_factory=dict)
    _counts: dict[str, dict[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, styles: etree._Element | None, numbering: etree._Element | None) -> Paragraphs:
        """From the parts `styles` and `numbering`, either of which may be missing."""
        found = cls()
        for element in () if styles is None else descendants(styles, "style"):
            found._styles[value(element, "styleId")] = _style(element)
        if numbering is not None:
            found._read_lists(numbering)
        return found

    def level(self, properties: etree._Element | None) -> int:
        """The level of a heading from 1, or 0 for any other paragraph."""
        outline = _outline(properties)
        chain = self._chain(properties)
        for style in chain:
            if outline is None:
                outline = style.outline
        if outline is not None:
            return outline + 1 if outline < _MAX_LEVEL else 0
        for style in chain:
            named = _HEADING_NAME.match(style.name)
            if named:
                return int(named[1])
            if style.name.lower() == "title":
                return 1
        return 0

    def number(self, properties: etree._Element | None) -> str:
        """What Word writes before the paragraph, `2.1` or `(c)`; empty for none and for bullets."""
        numbering = _numbering(properties)
        style = value(_child(properties, "pStyle"), "val")
        for inherited in self._chain(properties):
            numbering = numbering or inherited.numbering
        if numbering is None or numbering[0] not in self._lists:
            return ""
        id_, at = numbering
        levels = self._lists[id_]
        if at is None:
            at = next((number for number, level in levels.items() if level.style and level.style == style), 0)
        if at not in levels:
            return ""
        counts = self._counts.setdefault(self._shared[id_], {})
        # A list that begins anew does so once, at its first paragraph.
        for restarted, start in self._restarts.pop(id_, {}).items():
            counts[restarted] = start - 1
        counts[at] = counts.get(at, levels[at].start - 1) + 1
        for deeper in [number for number in counts if number > at]:
            del counts[deeper]
        if levels[at].format in {"bullet", "none"}:
            return ""
        return re.sub(r"%([1-9])", lambda found: self._count(levels, counts, int(found[1]) - 1), levels[at].text).strip()

    def _count(self, levels: dict[int, _Level], counts: dict[int, int], at: int) -> str:
        if at not in levels:
            return ""
        return _counted(counts.get(at, levels[at].start), levels[at].format)

    def _chain(self, properties: etree._Element | None) -> list[_Style]:
        found: list[_Style] = []
        id_ = value(_child(properties, "pStyle"), "val")
        while id_ in self._styles and len(found) < _MAX_CHAIN:
            found.append(self._styles[id_])
            id_ = found[-1].based_on
        return found

    def _read_lists(self, numbering: etree._Element) -> None:
        abstract = {
            value(element, "abstractNumId"): {
                _integer(value(level, "ilvl")): _level(level) for level in element if local(level) == "lvl"
            }
            for element in numbering
            if local(element) == "abstractNum"
        }
        for element in numbering:
            if local(element) != "num":
                continue
            id_, of = value(element, "numId"), value(child(element, "abstractNumId"), "val")
            if of not in abstract:
                continue
            self._lists[id_] = dict(abstract[of])
            self._shared[id_] = of
            for override in (part for part in element if local(part) == "lvlOverride"):
                at = _integer(value(override, "ilvl"))
                own, start = child(override, "lvl"), child(override, "startOverride")
                if own is not None:
                    self._lists[id_][at] = _level(own)
                if start is not None:
                    self._restarts.setdefault(id_, {})[at] = _integer(value(start, "val"))


def _style(element: etree._Element) -> _Style:
    properties = child(element, "pPr")
    return _Style(
        name=value(child(element, "name"), "val"),
        based_on=value(child(element, "basedOn"), "val"),
        outline=_outline(properties),
        numbering=_numbering(properties),
    )


def _outline(properties: etree._Element | None) -> int | None:
    found = _child(properties, "outlineLvl")
    return None if found is None else _integer(value(found, "val"))


def _numbering(properties: etree._Element | None) -> tuple[str, int | None] | None:
    found = _child(properties, "numPr")
    if found is None:
        return None
    at = child(found, "ilvl")
    return value(child(found, "numId"), "val"), None if at is None else _integer(value(at, "val"))


def _level(element: etree._Element) -> _Level:
    start = child(element, "start")
    return _Level(
        start=0 if start is None else _integer(value(start, "val")),
        format=value(child(element, "numFmt"), "val") or "decimal",
        text=value(child(element, "lvlText"), "val"),
        style=value(child(element, "pStyle"), "val"),
    )


def _counted(number: int, form: str) -> str:
    """A number as Word writes it; forms of other scripts as digits."""
    if form in {"bullet", "none"}:
        return ""
    if form in {"lowerLetter", "upperLetter"} and 0 < number <= _MAX_COUNTED:
        # After z follows aa, then bb.
        letters = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letters if form == "lowerLetter" else letters.upper()
    if form in {"lowerRoman", "upperRoman"} and 0 < number <= _MAX_COUNTED:
        letters = ""
        for value, sign in _ROMAN:
            letters += sign * (number // value)
            number %= value
        return letters if form == "lowerRoman" else letters.upper()
    return f"{number:02}" if form == "decimalZero" else str(number)


def _child(element: etree._Element | None, name: str) -> etree._Element | None:
    return None if element is None else child(element, name)


def _integer(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0
