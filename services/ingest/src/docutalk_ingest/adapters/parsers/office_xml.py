"""What Word, PowerPoint and Excel files have in common: a ZIP of XML parts that refer to one another, and who wrote them.

Nothing outside of the file is fetched and no entity is expanded.
"""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from docutalk_common.contracts.ingest import DocumentMetadata
from lxml import etree

from docutalk_ingest.adapters.parsers.dates import parse_date
from docutalk_ingest.adapters.parsers.zip_limits import open_zip, read_entry
from docutalk_ingest.domain import ParseFailed, freeze

MAX_METADATA = 500
_NO_MEMORY = 2
"""libxml2's XML_ERR_NO_MEMORY."""


@dataclass(frozen=True)
class Relation:
    """What a part refers to: `kind` is the last word of the relation's type, `target` the name of another part."""

    id: str
    kind: str
    target: str


def parse_xml(data: bytes, name: str, what: str) -> etree._Element:
    """The root of a part. `damaged`; at most 256 elements deep, a single text at most 10 MB."""
    try:
        return etree.fromstring(data, xml_parser())
    except etree.XMLSyntaxError as error:
        raise xml_failure(error, name, what) from error


def xml_parser() -> etree.XMLParser:
    """A parser for XML of strangers: entities stay unexpanded, nothing is loaded, depth is limited."""
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )


def xml_failure(error: etree.XMLSyntaxError, name: str, what: str) -> ParseFailed:
    """What to tell of XML that could not be parsed. Raises `MemoryError` when there was none left."""
    if getattr(error, "code", None) == _NO_MEMORY:
        raise MemoryError from error
    if "depth" in str(error):
        return ParseFailed(
            "damaged", f"A part of the {what} ({name}) is nested too deeply to be read. Save it again in a simpler form."
        )
    return ParseFailed("damaged", f"A part of the {what} ({name}) is damaged. Save it again and upload that.")


def local(element: etree._Element) -> str:
    """The element's name without its namespace; empty for what is no element."""
    tag = element.tag
    return tag.rsplit("}", 1)[-1] if isinstance(tag, str) else ""


def reference(element: etree._Element, name: str = "id") -> str:
    """The id of the relation that an element refers to, empty for none. Elements also have ids of their own by that name."""
    for key, value in element.attrib.items():
        namespace, _, own = str(key).rpartition("}")
        if own == name and namespace.endswith("/relationships"):
            return str(value)
    return ""


def value(element: etree._Element | None, name: str) -> str:
    """The value of an attribute, in whatever namespace it is written; empty where there is none."""
    if element is None:
        return ""
    return next((str(text) for key, text in element.attrib.items() if str(key).rpartition("}")[2] == name), "")


def child(element: etree._Element, name: str) -> etree._Element | None:
    """The first child of this name."""
    return next((found for found in element if local(found) == name), None)


def descendants(element: etree._Element, *names: str) -> Iterator[etree._Element]:
    """Everything below of these names, in the order of the file."""
    return element.iter(*(f"{{*}}{name}" for name in names))


class Package:
    """An open office file. `what` is how a person calls it, for reasons."""

    def __init__(self, source: Path | BinaryIO, what: str) -> None:
        self.what = what
        self.archive: zipfile.ZipFile = open_zip(source, what)
        self._names = set(self.archive.namelist())
        self._folded = {name.lower(): name for name in self._names}

    def __enter__(self) -> Package:
        return self

    def __exit__(self, *_: object) -> None:
        self.archive.close()

    def has(self, name: str) -> bool:
        """Is there such a part?"""
        return name in self._names

    def xml(self, name: str) -> etree._Element:
        """The root of a part. `damaged`."""
        return parse_xml(read_entry(self.archive, name), name, self.what)

    def main_part(self, default: str) -> str:
        """The part that holds the document itself, or refers to the parts that do. `damaged`."""
        for relation in self.relations(""):
            if relation.kind == "officeDocument":
                return relation.target
        if self.has(default):
            return default
        raise ParseFailed("damaged", f"The {self.what} has no body. Save it again and upload that.")

    def relations(self, part: str) -> list[Relation]:
        """What a part refers to inside of the file, as far as it exists. The empty name is the package itself."""
        folder, file = posixpath.split(part)
        name = posixpath.join(folder, "_rels", f"{file}.rels")
        if not self.has(name):
            return []
        found = []
        for relation in self.xml(name):
            target = self._named(folder, str(relation.get("Target", "")))
            if target is not None and relation.get("TargetMode") != "External":
                kind = str(relation.get("Type", "")).rsplit("/", 1)[-1]
                found.append(Relation(str(relation.get("Id", "")), kind, target))
        return found

    def metadata(self) -> DocumentMetadata:
        """What the core properties say; nothing of it when they are missing or damaged."""
        names = [relation.target for relation in self.relations("") if relation.kind == "core-properties"]
        names = names or [name for name in ("docProps/core.xml",) if self.has(name)]
        try:
            values = {local(element): element.text or "" for element in self.xml(names[0])} if names else {}
        except ParseFailed:
            values = {}
        return DocumentMetadata(
            title=phrase(values.get("title")),
            author=phrase(values.get("creator")),
            created_at=parse_date(values.get("created")),
            modified_at=parse_date(values.get("modified")),
        )

    def _named(self, folder: str, target: str) -> str | None:
        """The part as the directory writes it: some programs write backslashes, or another case than the directory."""
        target = target.replace("\\", "/")
        name = posixpath.normpath(posixpath.join("" if target.startswith("/") else folder, target.lstrip("/")))
        return name if name in self._names else self._folded.get(name.lower())


def phrase(text: str | None) -> str | None:
    """One line of metadata, or None when it says nothing."""
    return " ".join(freeze(text or "").split())[:MAX_METADATA] or None
