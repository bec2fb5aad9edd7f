"""EPUB: the items of the spine in their order, a page each, called as the table of contents calls them."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from docutalk_common.contracts.ingest import DocumentMetadata
from lxml import etree
from selectolax.lexbor import LexborHTMLParser

from docutalk_ingest.adapters.language import language_of_tag
from docutalk_ingest.adapters.parsers.dates import parse_date
from docutalk_ingest.adapters.parsers.html import add_lines, visible_lines
from docutalk_ingest.adapters.parsers.office_xml import descendants, local, parse_xml, phrase
from docutalk_ingest.adapters.parsers.page_text import PageText, label_of
from docutalk_ingest.adapters.parsers.text import decode_bytes
from docutalk_ingest.adapters.parsers.zip_limits import open_zip, read_entry
from docutalk_ingest.domain import ParsedDocument, ParsedPage, ParseFailed

_WHAT = "EPUB book"
_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
# Obfuscated fonts are no protection of the text.
_FONT_ALGORITHMS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_TEXTS = frozenset(("application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document"))
_NCX = "application/x-dtbncx+xml"
_XML_ENCODING = re.compile(rb"""<\?xml[^>]*\bencoding\s*=\s*["']([A-Za-z0-9_.:-]+)""")
_VOID = "area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr"
_SELF_CLOSED = re.compile(rf"<(?!(?:{_VOID})\b)([A-Za-z][\w:.-]*)((?:\s[^<>]*)?)/>", re.IGNORECASE)


@dataclass(frozen=True)
class _Item:
    name: str
    media_type: str
    properties: frozenset[str]


def read_epub(path: Path, password: str | None = None) -> ParsedDocument:
    """A page of kind `chapter` for each text of the spine. `encrypted` when it is under DRM, `damaged`."""
    archive = open_zip(path, _WHAT)
    _refuse_protection(archive)
    name = _package_name(archive)
    package = parse_xml(read_entry(archive, name), name, _WHAT)
    items = _manifest(package, posixpath.dirname(name))
    spine = next(descendants(package, "spine"), None)
    # An item stands in the spine once; a file that repeats one could grow without an end.
    ids = dict.fromkeys(item.get("idref", "") for item in descendants(package, "itemref"))
    texts = [items[id_] for id_ in ids if id_ in items and items[id_].media_type in _TEXTS]
    if not texts:
        raise ParseFailed("damaged", "The EPUB book names no chapter that can be read. Save it again or convert it to PDF.")
    titles = _titles(archive, items, spine.get("toc") if spine is not None else None)
    return ParsedDocument(_pages(archive, texts, titles), page_count=len(texts), metadata=_metadata(package))


def _pages(archive: zipfile.ZipFile, texts: list[_Item], titles: dict[str, str]) -> Iterator[ParsedPage]:
    with archive:
        for number, item in enumerate(texts, start=1):
            label = titles.get(item.name, str(number))
            try:
                data = read_entry(archive, item.name)
            except ParseFailed:
                yield ParsedPage(label, "", readable=False, kind="chapter")
                continue
            page = PageText()
            add_lines(page, visible_lines(_parse_xhtml(data)))
            yield page.page(label, "chapter")


def _refuse_protection(archive: zipfile.ZipFile) -> None:
    if _ENCRYPTION not in archive.namelist():
        return
    for data in descendants(parse_xml(read_entry(archive, _ENCRYPTION), _ENCRYPTION, _WHAT), "EncryptedData"):
        method = next(descendants(data, "EncryptionMethod"), None)
        if method is None or method.get("Algorithm") not in _FONT_ALGORITHMS:
            raise ParseFailed(
                "encrypted",
                "The EPUB book is under its shop's copy protection (DRM), which no password opens. Upload a copy without it.",
            )


def _package_name(archive: zipfile.ZipFile) -> str:
    names = archive.namelist()
    if _CONTAINER in names:
        for root in descendants(parse_xml(read_entry(archive, _CONTAINER), _CONTAINER, _WHAT), "rootfile"):
            name = root.get("full-path", "")
            if name in names:
                return str(name)
    found = next((name for name in names if name.endswith(".opf")), None)
    if found is None:
        raise ParseFailed("damaged", "The EPUB book has no list of its chapters. Save it again or convert it to PDF.")
    return found


def _manifest(package: etree._Element, folder: str) -> dict[str, _Item]:
    return {
        item.get("id", ""): _Item(
            _target(folder, item.get("href", "")),
            item.get("media-type", ""),
            frozenset(item.get("properties", "").split()),
        )
        for manifest in descendants(package, "manifest")
        for item in descendants(manifest, "item")
    }


def _target(folder: str, reference: str) -> str:
    """The entry that a reference means, without the place inside of it."""
    return posixpath.normpath(posixpath.join(folder, unquote(reference.partition("#")[0]))).lstrip("/")


def _titles(archive: zipfile.ZipFile, items: dict[str, _Item], toc: str | None) -> dict[str, str]:
    """What the table of contents calls each entry: the first title that leads to it. Empty when there is none to be read."""
    navigation = next((item for item in items.values() if "nav" in item.properties), None)
    table = items.get(toc or "") or next((item for item in items.values() if item.media_type == _NCX), None)
    found: dict[str, str] = {}
    try:
        if navigation is not None:
            for target, title in _navigation(read_entry(archive, navigation.name)):
                found.setdefault(_target(posixpath.dirname(navigation.name), target), title)
        if not found and table is not None:
            for point in descendants(parse_xml(read_entry(archive, table.name), table.name, _WHAT), "navPoint"):
                content = next(descendants(point, "content"), None)
                text = next(descendants(point, "text"), None)
                if content is not None and text is not None and (title := label_of(text.text or "")):
                    found.setdefault(_target(posixpath.dirname(table.name), content.get("src", "")), title)
    except ParseFailed:
        return found
    return found


def _navigation(data: bytes) -> Iterator[tuple[str, str]]:
    tree = _parse_xhtml(data)
    contents = [node for node in tree.css("nav") if node.attributes.get("epub:type") == "toc"] or tree.css("nav")[:1]
    for node in contents:
        for link in node.css("a[href]"):
            title = label_of(link.text())
            if title:
                yield link.attributes.get("href") or "", title


def _parse_xhtml(data: bytes) -> LexborHTMLParser:
    declared = _XML_ENCODING.match(data[:1000].lstrip(b"\xef\xbb\xbf"))
    markup = decode_bytes(data, declared[1].decode("ascii") if declared else None)
    # To a parser of HTML `<title/>` is only the beginning of a title, and the rest of the chapter would be in it.
    return LexborHTMLParser(_SELF_CLOSED.sub(r"<\1\2></\1>", markup))


def _metadata(package: etree._Element) -> DocumentMetadata:
    said: dict[str, list[str]] = {}
    for element in next(descendants(package, "metadata"), package):
        name = local(element)
        if name == "meta" and element.get("property") == "dcterms:modified":
            name = "modified"
        text = phrase(element.text)
        if text:
            said.setdefault(name, []).append(text)
    return DocumentMetadata(
        title=said.get("title", [None])[0],
        author=phrase(", ".join(said.get("creator", []))),
        created_at=parse_date(said.get("date", [None])[0]),
        modified_at=parse_date(said.get("modified", [None])[0]),
        language=language_of_tag(said.get("language", [None])[0]),
    )
