"""HTML: the article without navigation, or the whole visible text when that would lose too much."""

from __future__ import annotations

import re
from pathlib import Path

import trafilatura
from selectolax.lexbor import LexborHTMLParser

from docutalk_ingest.adapters.parsers.text import decode_file
from docutalk_ingest.domain import ParsedDocument, ParsedPage, ParseFailed, freeze

_KEEP = 0.5
"""Under this share of what can be content, the extraction lost some of it: take everything instead. On 62 articles (F1 .967
without this rule) it rescues one that was cut off and costs one, F1 .962; counting menus and comments as content cost nine."""
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
# Private characters that stand for a line's and a cell's end while white space is collapsed.
_LINE = "\ue000"
_CELL = "\ue001"
_MARKS = frozenset((_LINE, _CELL))
_BLANK_LINES = re.compile(r"\n{3,}")
_CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]+)""", re.IGNORECASE)


def read_html(path: Path, password: str | None = None) -> ParsedDocument:
    """The text of a web page as one page labelled `1`. Nothing that it refers to is fetched."""
    markup = decode_file(path, declared=_declared_charset)
    article = _article(markup)
    whole, content = _visible(markup)
    if not article.strip() or _letters(article) < _KEEP * content:
        article = whole
    text = _BLANK_LINES.sub("\n\n", freeze(article)).strip()
    if not text:
        raise ParseFailed("no_text", "The web page holds no text. If a script builds it, save the finished page and upload that.")
    return ParsedDocument(pages=iter([ParsedPage("1", text)]), page_count=1)


def warm_up() -> None:
    """Loads what trafilatura imports at its first page: half a second that would else be paid in every process."""
    _article("<html><body><article><p>One paragraph of some length, to be read.</p></article></body></html>")


def _article(markup: str) -> str:
    try:
        # Not `fast=True`: it dropped half of a page.
        return trafilatura.extract(markup, include_comments=False, include_tables=True) or ""
    except (ValueError, TypeError, AttributeError, RecursionError):
        # Trees that trafilatura cannot handle still have visible text.
        return ""


def _visible(markup: str) -> tuple[str, int]:
    """The whole visible text, and how many letters of it can be content: no links, menus, forms, comments and the like."""
    tree = LexborHTMLParser(markup)
    for node in tree.css(_INVISIBLE):
        node.decompose()
    if tree.body is None:
        return "", 0
    for node in tree.css(_BLOCKS):
        node.insert_before(_LINE)
        node.insert_after(_LINE)
    for node in tree.css("td, th"):
        node.insert_after(_CELL)
    # A line end in the source is a space; only blocks begin lines, so words are not torn at a tag inside of them.
    text = " ".join(tree.body.text().split())
    lines = (line.replace(_CELL, "\t").strip() for line in text.split(_LINE))
    whole = "\n".join(line for line in lines if line)
    for node in tree.css(_AROUND):
        node.decompose()
    return whole, _letters(tree.body.text())


def _letters(text: str) -> int:
    return sum(not (character.isspace() or character in _MARKS) for character in text)


def _declared_charset(sample: bytes) -> str | None:
    found = _CHARSET.search(sample[:4096])
    return found[1].decode("ascii") if found else None
