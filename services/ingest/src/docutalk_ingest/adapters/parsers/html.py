"""HTML: the article without navigation, or the whole visible text when that would lose too much."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import trafilatura
from docutalk_common.contracts.ingest import DocumentMetadata
from selectolax.lexbor import LexborHTMLParser, SelectolaxError

from docutalk_ingest.adapters.language import language_of_tag
from docutalk_ingest.adapters.parsers.dates import parse_date
from docutalk_ingest.adapters.parsers.page_text import PageText, label_of
from docutalk_ingest.adapters.parsers.text import decode_file
from docutalk_ingest.domain import ParsedDocument, ParseFailed, freeze

_KEEP = 0.5
"""Under this share of what can be content, the extraction lost some of it: take everything instead. On 62 articles (F1 .967
without this rule) it rescues one that was cut off and costs one, F1 .962; counting menus and comments as content cost nine."""
_SHORT_PAGE = 500
_KEEP_SHORT = 0.9
"""Of content with fewer letters than `_SHORT_PAGE`: a short page is no article with much around it."""
_MAX_ARTICLE = 3_000_000
"""Characters of markup. What is larger is no article; to look for one in 17 MB took 40 s and 1.5 GB."""
_INVISIBLE = "script, style, noscript, template, svg, head, iframe, object, [hidden], [aria-hidden=true]"
# What surrounds the content of a page, by its element or by the names that sites give it; the body itself may have such a name.
_AROUND = ", ".join(
    [f"body {element}" for element in ("a", "nav", "header", "footer", "aside", "form", "button")]
    + [f"body [role={role}]" for role in ("navigation", "banner", "contentinfo", "dialog")]
    + [
        f"body [{attribute}*={name}]"
        for attribute in ("class", "id")
        for name in ("comment", "footer", "sidebar", "widget", "cookie", "related", "popup", "modal")
    ]
)
_BLOCKS = (
    "p, div, li, ul, ol, dl, dt, dd, h1, h2, h3, h4, h5, h6, tr, table, caption, section, article, header, footer, main, aside,"
    " nav, form, fieldset, blockquote, pre, figure, figcaption, address, br, hr, option, summary, details"
)
# Characters that no text holds stand for a line's and a cell's end and a heading's bounds while white space is collapsed.
_LINE = "\ufdd0"
_CELL = "\ufdd1"
_HEADING_END = "\ufdd2"
_HEADINGS = {"\ufdd3": 1, "\ufdd4": 2, "\ufdd5": 3, "\ufdd6": 4, "\ufdd7": 5, "\ufdd8": 6}
_MARKS = frozenset((_LINE, _CELL, _HEADING_END, *_HEADINGS))
_HEADING_BEGINS = re.compile("[\ufdd3-\ufdd8]")
_UNMARK = dict.fromkeys(map(ord, (_HEADING_END, *_HEADINGS)), "")
_BLANK_LINES = re.compile(r"\n{3,}")
_CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]+)""", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """A line of visible text; `level` from 1 when it is a heading, else 0. Cells of a table's row are joined by tabs."""

    text: str
    level: int = 0


def read_html(path: Path, password: str | None = None) -> ParsedDocument:
    """The text of a web page as one page labelled `1`. Nothing that it refers to is fetched."""
    markup = decode_file(path, declared=_declared_charset)
    article, metadata = _article(markup)
    tree = LexborHTMLParser(markup)
    lines = visible_lines(tree)
    headings = [line for line in lines if line.level]
    content = _content(tree)
    if article.strip() and _letters(article) >= (_KEEP if content >= _SHORT_PAGE else _KEEP_SHORT) * content:
        lines = _with_headings(_BLANK_LINES.sub("\n\n", freeze(article)).strip().split("\n"), headings)
    page = PageText()
    add_lines(page, lines)
    if page.length == 0:
        raise ParseFailed("no_text", "The web page holds no text. If a script builds it, save the finished page and upload that.")
    return ParsedDocument(pages=iter([page.page()]), page_count=1, metadata=_metadata(tree, metadata))


def warm_up() -> None:
    """Loads what trafilatura imports at its first page: half a second that would else be paid in every process."""
    _article("<html><body><article><p>One paragraph of some length, to be read.</p></article></body></html>")


def visible_lines(tree: LexborHTMLParser) -> list[Line]:
    """The whole visible text. Changes the tree: what is invisible is gone, marks are set around blocks."""
    try:
        _mark(tree)
    except SelectolaxError as error:
        # All that can fail in setting a mark is to find memory for it.
        raise MemoryError from error
    if tree.body is None:
        return []
    # A line end in the source is a space; only blocks begin lines, so words are not torn at a tag inside of them.
    text = " ".join(tree.body.text().split())
    lines: list[Line] = []
    level = 0
    for raw in text.split(_LINE):
        begins = _HEADING_BEGINS.search(raw)
        level = _HEADINGS[begins[0]] if begins else level
        line = raw.translate(_UNMARK).replace(_CELL, "\t").strip()
        if line:
            lines.append(Line(line, level))
        if _HEADING_END in raw:
            level = 0
    return lines


def _mark(tree: LexborHTMLParser) -> None:
    for node in tree.css(_INVISIBLE):
        node.decompose()
    for node in tree.css(_BLOCKS):
        node.insert_before(_LINE)
        node.insert_after(_LINE)
    for mark, level in _HEADINGS.items():
        for node in tree.css(f"h{level}"):
            node.insert_before(mark)
            node.insert_after(_HEADING_END)
    for node in tree.css("td, th"):
        node.insert_after(_CELL)


def add_lines(page: PageText, lines: list[Line]) -> None:
    """Appends the lines, each with its end."""
    for line in lines:
        if line.level:
            page.heading(line.text, line.level)
        else:
            page.add(line.text)
        page.add("\n")


def _article(markup: str) -> tuple[str, DocumentMetadata]:
    """The main text, empty when there is none, and what is told of it. The metadata adds 2 ms to the 20 of a page."""
    if len(markup) > _MAX_ARTICLE:
        return "", DocumentMetadata()
    try:
        # Not `fast=True`: it dropped half of a page. Dates are read where they are declared, not guessed from the text.
        found = trafilatura.bare_extraction(
            markup,
            include_comments=False,
            include_tables=True,
            with_metadata=True,
            date_extraction_params={"extensive_search": False, "original_date": True},
        )
    except (ValueError, TypeError, AttributeError, RecursionError):
        # Trees that trafilatura cannot handle still have visible text.
        found = None
    if found is None or isinstance(found, dict):
        return "", DocumentMetadata()
    said = DocumentMetadata(
        title=_said(found.title), author=_said(found.author), created_at=parse_date(found.date), language=None
    )
    return unicodedata.normalize("NFC", found.text or ""), said


def _metadata(tree: LexborHTMLParser, said: DocumentMetadata) -> DocumentMetadata:
    title = tree.css_first("head > title")
    author = tree.css_first("meta[name=author]")
    root = tree.root
    language = root.attributes.get("lang") or root.attributes.get("xml:lang") if root else None
    return said.model_copy(
        update={
            "title": said.title or (_said(title.text()) if title else None),
            "author": said.author or (_said(author.attributes.get("content")) if author else None),
            "language": language_of_tag(language),
        }
    )


def _said(text: str | None) -> str | None:
    return label_of(freeze(text)) or None if text else None


def _with_headings(lines: list[str], headings: list[Line]) -> list[Line]:
    """The article's lines, those marked that are a heading of the page: headings come in the page's order."""
    found: list[Line] = []
    next_heading = 0
    places: dict[str, list[int]] = {}
    for index, heading in enumerate(headings):
        places.setdefault(heading.text, []).append(index)
    for line in lines:
        place = next((place for place in places.get(" ".join(line.split()), ()) if place >= next_heading), None)
        found.append(Line(line, 0 if place is None else headings[place].level))
        next_heading = next_heading if place is None else place + 1
    return found


def _content(tree: LexborHTMLParser) -> int:
    """How many letters of the visible text can be content: no links, menus, forms, comments and the like."""
    if tree.body is None:
        return 0
    for node in tree.css(_AROUND):
        node.decompose()
    return _letters(tree.body.text())


def _letters(text: str) -> int:
    return sum(not (character.isspace() or character in _MARKS) for character in text)


def _declared_charset(sample: bytes) -> str | None:
    found = _CHARSET.search(sample[:4096])
    return found[1].decode("ascii") if found else None
