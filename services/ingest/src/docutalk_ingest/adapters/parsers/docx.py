"""DOCX: the XML walked as it lies, because libraries' row and shape objects raise on real files.

Order of the text: body, then footnotes, endnotes and comments, then headers and footers, then charts and diagrams. Deleted
text of tracked changes is left out, inserted text is kept. Nothing outside of the file is fetched and no entity is expanded.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from pathlib import Path

from lxml import etree

from docutalk_ingest.adapters.parsers.zip_limits import open_zip, read_entry
from docutalk_ingest.domain import MAX_CHARACTERS, ParsedDocument, ParsedPage, ParseFailed, TooMuchText, freeze

_WHAT = "Word document"
_OFFICE_DOCUMENT = "/officeDocument"
# Parts that hold text of their own, in the order in which they follow the body.
_FOLLOWING = ("footnotes", "endnotes", "comments", "header", "footer", "chart", "diagramData")
_SKIPPED = frozenset(
    {
        "del",
        "moveFrom",
        "pPr",
        "rPr",
        "tblPr",
        "trPr",
        "tcPr",
        "sectPr",
        "tblGrid",
        "instrText",
        "delText",
        "delInstrText",
        "Fallback",
    }
)
_LITERAL = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}
_TEXT = frozenset({"t", "v"})
_BLANK_LINES = re.compile(r"\n{3,}")


def read_docx(path: Path, password: str | None = None) -> ParsedDocument:
    """The whole document as one page labelled `1`: where its pages end is decided by the program that shows it."""
    with open_zip(path, _WHAT) as archive:
        body = _main_part(archive)
        parts = [body, *_following_parts(archive, body)]
        texts: list[str] = []
        characters = 0
        for part in parts:
            texts.append(_part_text(archive, part))
            characters += len(texts[-1])
            if characters > MAX_CHARACTERS:
                raise TooMuchText(f"more than {MAX_CHARACTERS:,} characters")
    text = _BLANK_LINES.sub("\n\n", freeze("\n\n".join(text for text in texts if text))).strip("\n")
    if not text.strip():
        raise ParseFailed("no_text", "The Word document holds no text. Text in its pictures cannot be read yet.")
    return ParsedDocument(pages=iter([ParsedPage("1", text)]), page_count=1)


def _parse(data: bytes, name: str) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise ParseFailed("damaged", f"A part of the Word document ({name}) is damaged. Save it again.") from error


def _main_part(archive: zipfile.ZipFile) -> str:
    names = set(archive.namelist())
    if "_rels/.rels" in names:
        for relation in _parse(read_entry(archive, "_rels/.rels"), "_rels/.rels"):
            if str(relation.get("Type", "")).endswith(_OFFICE_DOCUMENT):
                target = str(relation.get("Target", "")).lstrip("/")
                if target in names:
                    return target
    if "word/document.xml" in names:
        return "word/document.xml"
    raise ParseFailed("damaged", "The Word document has no body. Save it again and upload that.")


def _following_parts(archive: zipfile.ZipFile, body: str) -> list[str]:
    folder, file = posixpath.split(body)
    name = f"{folder}/_rels/{file}.rels"
    available = set(archive.namelist())
    if name not in available:
        return []
    found: list[tuple[int, str]] = []
    for relation in _parse(read_entry(archive, name), name):
        kind = str(relation.get("Type", "")).rsplit("/", 1)[-1]
        target = posixpath.normpath(posixpath.join(folder, str(relation.get("Target", "")))).lstrip("/")
        if kind in _FOLLOWING and relation.get("TargetMode") != "External" and target in available:
            found.append((_FOLLOWING.index(kind), target))
    return list(dict.fromkeys(target for _, target in sorted(found)))


def _part_text(archive: zipfile.ZipFile, name: str) -> str:
    out: list[str] = []
    _walk(_parse(read_entry(archive, name), name), out)
    lines = (line.rstrip() for line in "".join(out).split("\n"))
    return "\n".join(lines).strip("\n")


def _walk(element: etree._Element, out: list[str]) -> None:
    name = _local(element)
    if name in _SKIPPED:
        return
    if name in _TEXT and not any(isinstance(child.tag, str) for child in element):
        # Children without a name are entities, left unexpanded; the text around them stays.
        out += (element.text or "", *(child.tail or "" for child in element))
    elif name in _LITERAL:
        out.append(_LITERAL[name])
    elif name == "tr":
        out.append("\t".join(_cell_text(cell) for cell in element.iter("{*}tc") if _row_of(cell) is element) + "\n")
    elif name == "AlternateContent":
        _walk_alternative(element, out)
    else:
        if name in {"txbxContent", "tbl"} and out and not out[-1].endswith("\n"):
            out.append("\n")
        for child in element:
            _walk(child, out)
        if name in {"p", "txbxContent", "pt"}:
            out.append("\n")


def _walk_alternative(element: etree._Element, out: list[str]) -> None:
    """The same content twice, for new readers and for old: only one of them is text."""
    choices = [child for child in element if _local(child) == "Choice"]
    if choices:
        _walk(choices[0], out)
        return
    for fallback in element:
        for child in fallback:
            _walk(child, out)


def _row_of(cell: etree._Element) -> etree._Element | None:
    return next((parent for parent in cell.iterancestors() if _local(parent) == "tr"), None)


def _cell_text(cell: etree._Element) -> str:
    out: list[str] = []
    for child in cell:
        _walk(child, out)
    return " ".join("".join(out).split())


def _local(element: etree._Element) -> str:
    tag = element.tag
    return tag.rsplit("}", 1)[-1] if isinstance(tag, str) else ""
