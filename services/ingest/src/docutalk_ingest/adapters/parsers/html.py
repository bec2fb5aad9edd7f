"""HTML: the article without navigation, or the whole visible text when that would lose too much."""

from __future__ import annotations

import re
from pathlib import Path

import trafilatura
from selectolax.lexbor import LexborHTMLParser

from docutalk_ingest.adapters.parsers.text import decode_file
from docutalk_ingest.domain import ParsedDocument, ParsedPage, ParseFailed, freeze

_KEEP = 0.5
"""Under this share of the visible text that is no link, the extraction lost the content: take everything instead."""
_INVISIBLE = "script, style, noscript, template, svg, head, iframe, object, [hidden], [aria-hidden=true]"
_SPACES = re.compile(r"[ \t\u00a0]+")
_BLANK_LINES = re.compile(r"\n{3,}")
_CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]+)""", re.IGNORECASE)


def read_html(path: Path) -> ParsedDocument:
    """The text of a web page as one page labelled `1`. Nothing that it refers to is fetched."""
    markup = decode_file(path, declared=_declared_charset)
    article = _article(markup)
    whole, unlinked = _visible(markup)
    if _letters(article) < _KEEP * unlinked:
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
    """The whole visible text, and how many letters of it are no link."""
    tree = LexborHTMLParser(markup)
    for node in tree.css(_INVISIBLE):
        node.decompose()
    if tree.body is None:
        return "", 0
    whole = "\n".join(
        line for line in (_SPACES.sub(" ", part).strip() for part in tree.body.text(separator="\n").split("\n")) if line
    )
    linked = sum(_letters(node.text()) for node in tree.css("a"))
    return whole, _letters(whole) - linked


def _letters(text: str) -> int:
    return sum(not character.isspace() for character in text)


def _declared_charset(sample: bytes) -> str | None:
    found = _CHARSET.search(sample[:4096])
    return found[1].decode("ascii") if found else None
