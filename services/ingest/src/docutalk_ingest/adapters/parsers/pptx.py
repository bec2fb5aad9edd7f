"""PPTX: a page for each slide, the XML walked as it lies, because libraries' shape objects raise on real files.

Order on a slide: its title, then the other shapes from top to bottom and left to right, then comments, then the notes. What a
layout or master writes on slides stands once, on the first slide that uses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from lxml import etree

from docutalk_ingest.adapters.parsers.drawing import paragraphs, reading_order, write_body, write_graphic
from docutalk_ingest.adapters.parsers.office_text import OfficeText
from docutalk_ingest.adapters.parsers.office_xml import Package, Relation, child, descendants, local, phrase, reference
from docutalk_ingest.domain import MAX_PAGES, ParsedDocument, ParsedPage, ParseFailed

_WHAT = "PowerPoint presentation"
_TITLES = frozenset({"title", "ctrTitle"})
_DEFAULT_TITLE = re.compile(r"^(?:\S+ )?(?:standard |de |di )*PowerPoint(?:[ -]\S+)?$")
"""What PowerPoint writes in each language for a presentation that nobody gave a title."""
_SHAPES = frozenset({"sp", "grpSp", "graphicFrame", "pic", "cxnSp", "contentPart"})
# Placeholders whose text is the same on every slide, or only asks for text.
_REPEATED = frozenset({"ftr", "dt", "sldNum", "hdr"})
_UNPLACED = (-1, 1 << 40)
"""A shape that says nothing of its place, and whose layout does not either, comes last."""
_ROW_TOLERANCE = 180_000
"""Half a centimetre in EMU: shapes whose tops differ by less stand beside one another."""


@dataclass(frozen=True)
class _Shape:
    """`placeholder` is its kind (`body` where the file does not say), None for any other shape. Places are in EMU."""

    element: etree._Element
    left: int
    top: int
    placeholder: str | None


@dataclass
class _Deck:
    package: Package
    slides: list[str]
    handouts: list[str]
    written: set[str] = field(default_factory=set)
    """Layouts and masters, and texts of headers and footers, that stand on a slide already."""
    layouts: dict[str, list[_Shape]] = field(default_factory=dict)


def read_pptx(source: Path | BinaryIO, password: str | None = None) -> ParsedDocument:
    """The slides in the order in which they are shown, hidden ones too. `damaged`, `encrypted`, `too_large_unpacked`."""
    package = Package(source, _WHAT)
    main = package.main_part("ppt/presentation.xml")
    relations = package.relations(main)
    targets = {relation.id: relation.target for relation in relations if relation.kind == "slide"}
    order = dict.fromkeys(reference(entry) for entry in descendants(package.xml(main), "sldId"))
    slides = [targets[id_] for id_ in order if id_ in targets]
    if not slides:
        raise ParseFailed("no_text", "The presentation holds no slides.")
    if len(slides) > MAX_PAGES:
        raise ParseFailed(
            "too_many_pages",
            f"The presentation holds {len(slides):,} slides; {MAX_PAGES:,} are accepted. Split it into smaller ones.",
        )
    handouts = [relation.target for relation in relations if relation.kind == "handoutMaster"]
    metadata = package.metadata()
    if metadata.title is None or _DEFAULT_TITLE.search(metadata.title):
        metadata = metadata.model_copy(update={"title": _first_title(package, slides[0])})
    return ParsedDocument(_pages(_Deck(package, slides, handouts)), len(slides), metadata)


def _first_title(package: Package, slide: str) -> str | None:
    try:
        shapes = _shapes(package.xml(slide))
    except ParseFailed:
        return None  # told when the slide is read
    bodies = [child(shape.element, "txBody") for shape in shapes if shape.placeholder in _TITLES]
    return next((text for body in bodies if body is not None and (text := phrase(" ".join(paragraphs(body))))), None)


def _pages(deck: _Deck) -> Iterator[ParsedPage]:
    failure: ParseFailed | None = None
    readable = 0
    with deck.package:
        for number, name in enumerate(deck.slides, start=1):
            out = OfficeText()
            damaged = None
            try:
                _write_slide(deck, name, out)
                if number == len(deck.slides):
                    for handout in deck.handouts:
                        _write_repeated(deck, handout, out, placeholders=True)
            except ParseFailed as error:
                if error.code != "damaged":
                    raise
                failure = damaged = error
            text, units = out.finish()
            readable += damaged is None or bool(text)
            yield ParsedPage(str(number), text, readable=damaged is None, kind="slide", units=units)
    if failure is not None and not readable:
        raise failure


def _write_slide(deck: _Deck, name: str, out: OfficeText) -> None:
    relations = deck.package.relations(name)
    layouts = [relation.target for relation in relations if relation.kind == "slideLayout"]
    masters = [
        relation.target for layout in layouts for relation in deck.package.relations(layout) if relation.kind == "slideMaster"
    ]
    inherited = [shape for part in (*layouts, *masters) for shape in _layout(deck, part)]
    shapes = _ordered(_shapes(deck.package.xml(name)), inherited)
    for shape in shapes:
        if shape.placeholder in _TITLES:
            start = out.length
            _write_shape(deck, shape.element, relations, out)
            out.heading(start, 1)
    for shape in shapes:
        if shape.placeholder not in _TITLES | _REPEATED:
            _write_shape(deck, shape.element, relations, out)
    _write_comments(deck, relations, out)
    out.end_headings()
    _write_once(deck, shapes, out)
    for part in (*layouts, *masters):
        _write_repeated(deck, part, out)
    for relation in relations:
        if relation.kind == "notesSlide":
            _write_notes(deck, relation.target, out)


def _shapes(root: etree._Element) -> list[_Shape]:
    """The shapes of a slide, layout, master or page of notes, those of a group as one."""
    tree = next(descendants(root, "spTree"), None)
    return [] if tree is None else _members(tree)


def _members(group: etree._Element) -> list[_Shape]:
    found: list[_Shape] = []
    for element in group:
        name = local(element)
        if name == "AlternateContent":
            # The same content for new programs and for old ones.
            choice = child(element, "Choice")
            found += [] if choice is None else _members(choice)
        elif name in _SHAPES:
            found.append(_shape(element))
    return found


def _shape(element: etree._Element) -> _Shape:
    placeholder = None
    for part in element:
        if local(part).startswith("nv"):
            mark = next(descendants(part, "ph"), None)
            placeholder = None if mark is None else mark.get("type", "body")
    left, top = _UNPLACED
    properties = next((part for part in element if local(part) in {"spPr", "grpSpPr"}), element)
    frame = child(properties, "xfrm")
    offset = None if frame is None else child(frame, "off")
    if offset is not None:
        left, top = _number(offset.get("x")), _number(offset.get("y"))
    return _Shape(element, left, top, placeholder)


def _number(text: str | None) -> int:
    try:
        return int(text or "")
    except ValueError:
        return 0


def _ordered(shapes: list[_Shape], inherited: list[_Shape]) -> list[_Shape]:
    """From top to bottom, those beside one another from left to right. A placeholder stands where its layout puts it."""
    places = {_key(shape): shape for shape in reversed(inherited) if shape.placeholder and (shape.left, shape.top) != _UNPLACED}
    placed = []
    for shape in shapes:
        model = places.get(_key(shape)) if shape.placeholder and (shape.left, shape.top) == _UNPLACED else None
        placed.append(shape if model is None else replace(shape, left=model.left, top=model.top))
    return reading_order(((shape.left, shape.top, shape) for shape in placed), _ROW_TOLERANCE)


def _key(shape: _Shape) -> tuple[str, str]:
    mark = next(descendants(shape.element, "ph"), None)
    return (shape.placeholder or "", "" if mark is None else mark.get("idx", ""))


def _write_shape(deck: _Deck, element: etree._Element, relations: list[Relation], out: OfficeText) -> None:
    name = local(element)
    if name == "grpSp":
        for shape in _ordered(_members(element), []):
            _write_shape(deck, shape.element, relations, out)
    elif name == "graphicFrame":
        write_graphic(element, deck.package, relations, out)
    else:
        body = child(element, "txBody")
        if body is not None:
            write_body(body, out)


def _write_comments(deck: _Deck, relations: list[Relation], out: OfficeText) -> None:
    for relation in relations:
        if relation.kind == "comments":
            # The old form holds a bare text, the new one a text body for each comment and reply.
            for text in descendants(deck.package.xml(relation.target), "text", "txBody"):
                out.write((text.text or "") + "\n") if local(text) == "text" else write_body(text, out)


def _write_once(deck: _Deck, shapes: list[_Shape], out: OfficeText) -> None:
    """Headers and footers, which are the same on every slide: as often as they differ."""
    for shape in shapes:
        body = child(shape.element, "txBody")
        if shape.placeholder in _REPEATED and body is not None:
            text = "\n".join(paragraphs(body)).strip()
            if text and text not in deck.written:
                deck.written.add(text)
                start = out.length
                out.write(text + "\n")
                out.unit("header", " ".join(text.split()), start)


def _layout(deck: _Deck, part: str) -> list[_Shape]:
    if part not in deck.layouts:
        deck.layouts[part] = _shapes(deck.package.xml(part))
    return deck.layouts[part]


def _write_repeated(deck: _Deck, part: str, out: OfficeText, *, placeholders: bool = False) -> None:
    """What a layout or master writes on each of its slides, once. Placeholders of those for slides only ask for text."""
    if part in deck.written:
        return
    deck.written.add(part)
    start = out.length
    for shape in _ordered(_layout(deck, part), []):
        if shape.placeholder is None or placeholders:
            _write_shape(deck, shape.element, deck.package.relations(part), out)
    out.unit("header", "Master", start)


def _write_notes(deck: _Deck, part: str, out: OfficeText) -> None:
    shapes = _shapes(deck.package.xml(part))
    relations = deck.package.relations(part)
    out.write("\n")
    start = out.length
    for shape in _ordered(shapes, []):
        if shape.placeholder not in _REPEATED:
            _write_shape(deck, shape.element, relations, out)
    out.unit("notes", "Notes", start)
    _write_once(deck, shapes, out)
