"""Office files for tests, made here part by part, and what becomes of them."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest
from docutalk_ingest.adapters.parsers.reading import read_document
from docutalk_ingest.domain import ParsedDocument, ParsedPage, ParseFailed, UnitSpan
from msoffcrypto.format.ooxml import OOXMLFile

from .world import PACKAGE, RELATIONS

SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
SLIDE = "http://schemas.openxmlformats.org/presentationml/2006/main"
TYPES = "<Types xmlns='http://schemas.openxmlformats.org/package/2006/content-types'/>"
OPEN_DOCUMENT = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{full}:1.0"'
    for name, full in {
        "office": "office",
        "text": "text",
        "table": "table",
        "draw": "drawing",
        "style": "style",
        "presentation": "presentation",
        "svg": "svg-compatible",
        "meta": "meta",
        "manifest": "manifest",
    }.items()
)


def opened(folder: Path, data: bytes, filename: str, password: str | None = None) -> ParsedDocument:
    """What the readers make of a file with these bytes."""
    path = folder / "file"
    path.write_bytes(data)
    return read_document(path, filename, password)[1]


def read(folder: Path, data: bytes, filename: str, password: str | None = None) -> list[ParsedPage]:
    """Its pages."""
    return list(opened(folder, data, filename, password).pages)


def failure(folder: Path, data: bytes, filename: str, password: str | None = None) -> ParseFailed:
    """Why it gives no pages."""
    with pytest.raises(ParseFailed) as caught:
        read(folder, data, filename, password)
    return caught.value


def named(page: ParsedPage, kind: str) -> list[tuple[str, str]]:
    """The units of a kind as `(label, text)`."""
    return [(unit.label, covered(page, unit)) for unit in page.units if unit.kind == kind]


def covered(page: ParsedPage, unit: UnitSpan) -> str:
    """The text of a unit."""
    return page.text[unit.start : unit.end]


def zipped(parts: dict[str, str | bytes], *, stored: tuple[str, ...] = ()) -> bytes:
    """A ZIP of these parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data, zipfile.ZIP_STORED if name in stored else None)
    return out.getvalue()


def relations(**targets: tuple[str, str]) -> str:
    """A part of relations: `id=(kind, target)`."""
    entries = "".join(
        f"<Relationship Id='{id_}' Type='{RELATIONS}/{kind}' Target='{target}'/>" for id_, (kind, target) in targets.items()
    )
    return f"<Relationships xmlns='{PACKAGE}'>{entries}</Relationships>"


def workbook(rows: str, *, strings: str = "", parts: dict[str, str | bytes] | None = None, head: str = "") -> bytes:
    """An Excel workbook of one sheet called Data around the XML of its rows; `strings` are its shared ones."""
    shared = {"xl/sharedStrings.xml": f"<sst xmlns='{SHEET}'>{strings}</sst>"} if strings else {}
    return zipped(
        {
            "[Content_Types].xml": TYPES,
            "_rels/.rels": relations(r1=("officeDocument", "xl/workbook.xml")),
            "xl/workbook.xml": f"<workbook xmlns='{SHEET}' xmlns:r='{RELATIONS}'><sheets>"
            "<sheet name='Data' sheetId='1' r:id='r1'/></sheets></workbook>",
            "xl/_rels/workbook.xml.rels": relations(
                r1=("worksheet", "worksheets/sheet1.xml"), r2=("sharedStrings", "sharedStrings.xml")
            ),
            "xl/worksheets/sheet1.xml": f"<worksheet xmlns='{SHEET}'>{head}<sheetData>{rows}</sheetData></worksheet>",
            **shared,
            **(parts or {}),
        }
    )


def cell(place: str, value: str, kind: str = "n") -> str:
    """A cell of a workbook."""
    return f'<c r="{place}" t="{kind}"><v>{value}</v></c>'


def deck(slides: list[str], *, parts: dict[str, str | bytes] | None = None, slide_relations: str = "") -> bytes:
    """A presentation of slides, each the XML of its shapes. `slide_relations` are those of the first one."""
    entries = "".join(f"<p:sldId id='{256 + n}' r:id='s{n}'/>" for n in range(len(slides)))
    targets = {f"s{n}": ("slide", f"slides/slide{n}.xml") for n in range(len(slides))}
    return zipped(
        {
            "[Content_Types].xml": TYPES,
            "_rels/.rels": relations(r1=("officeDocument", "ppt/presentation.xml")),
            "ppt/presentation.xml": f"<p:presentation xmlns:p='{SLIDE}' xmlns:r='{RELATIONS}'>"
            f"<p:sldIdLst>{entries}</p:sldIdLst></p:presentation>",
            "ppt/_rels/presentation.xml.rels": relations(**targets),
            **{
                f"ppt/slides/slide{n}.xml": f"<p:sld xmlns:p='{SLIDE}' xmlns:a='{DRAWING}' xmlns:r='{RELATIONS}'>"
                f"<p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>"
                for n, shapes in enumerate(slides)
            },
            **({"ppt/slides/_rels/slide0.xml.rels": slide_relations} if slide_relations else {}),
            **(parts or {}),
        }
    )


def shape(text: str, *, left: int = 0, top: int = 0, placeholder: str = "") -> str:
    """A shape with a paragraph of text, placed in EMU."""
    mark = f"<p:ph type='{placeholder}'/>" if placeholder else ""
    return (
        f"<p:sp><p:nvSpPr><p:nvPr>{mark}</p:nvPr></p:nvSpPr><p:spPr><a:xfrm><a:off x='{left}' y='{top}'/></a:xfrm></p:spPr>"
        f"<p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
    )


def open_document(
    body: str, *, kind: str = "text", parts: dict[str, str | bytes] | None = None, styles: str = "", manifest: str = ""
) -> bytes:
    """An OpenDocument file around the XML of its body."""
    return zipped(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": f"<office:document-content {OPEN_DOCUMENT}><office:automatic-styles>{styles}</office:automatic-styles>"
            f"<office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>",
            **(
                {"META-INF/manifest.xml": f"<manifest:manifest {OPEN_DOCUMENT}>{manifest}</manifest:manifest>"}
                if manifest
                else {}
            ),
            **(parts or {}),
        },
        stored=("mimetype",),
    )


def old_workbook(*cells: tuple[int, int, str | float]) -> bytes:
    """An Excel workbook of 1997 of one sheet called Old, its cells as `(row, column, value)` from 0."""

    def record(number: int, data: bytes = b"") -> bytes:
        return struct.pack("<HH", number, len(data)) + data

    def begin(what: int) -> bytes:
        return record(0x0809, struct.pack("<HHHHII", 0x0600, what, 0, 0, 0, 0))

    def write(row: int, column: int, value: str | float) -> bytes:
        place = struct.pack("<HHH", row, column, 0)
        if isinstance(value, str):
            return record(0x0204, place + struct.pack("<HB", len(value), 0) + value.encode("latin-1"))
        return record(0x0203, place + struct.pack("<d", value))

    sheet = begin(0x0010) + b"".join(write(*cell) for cell in cells) + record(0x000A)
    name = b"\x03\x00Old"
    length = len(begin(5)) + len(record(0x0085, bytes(6) + name)) + len(record(0x000A))
    book = begin(0x0005) + record(0x0085, struct.pack("<IBB", length, 0, 0) + name) + record(0x000A) + sheet
    return old_container({"Workbook": book})


def old_container(streams: dict[str, bytes]) -> bytes:
    """An OLE file of these streams. Each takes at least 4 KiB, so that none lies in the stream of small ones."""
    end, unused = 0xFFFFFFFE, 0xFFFFFFFF
    table = [0xFFFFFFFD, end]
    entries = [_entry("Root Entry", 5, end, 0, child=1 if streams else unused)]
    sectors = b""
    for number, (name, content) in enumerate(streams.items(), start=1):
        data = content.ljust(4096, b"\0")
        data += bytes(-len(data) % 512)
        start = len(table)
        table += [*range(start + 1, start + len(data) // 512), end]
        entries.append(_entry(name, 2, start, len(data), right=number + 1 if number < len(streams) else unused))
        sectors += data
    head = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    head += struct.pack("<IIIIIIIII", 0, 1, 1, 0, 4096, end, 0, end, 0) + struct.pack("<I", 0)
    assert len(table) <= 128
    assert len(entries) <= 4
    allocation = struct.pack("<128I", *table, *[unused] * (128 - len(table)))
    return head.ljust(512, b"\xff") + allocation + b"".join(entries).ljust(512, b"\0") + sectors


def _entry(name: str, kind: int, start: int, size: int, *, right: int = 0xFFFFFFFF, child: int = 0xFFFFFFFF) -> bytes:
    encoded = name.encode("utf-16-le")
    return (
        encoded.ljust(64, b"\0")
        + struct.pack("<HBBIII", len(encoded) + 2, kind, 1, 0xFFFFFFFF, right, child)
        + bytes(36)
        + struct.pack("<IQ", start, size)
    )


def encrypted(data: bytes, password: str) -> bytes:
    """An Office file as Office protects it. Padded: the writer makes containers of less than 4 KiB that no reader opens."""
    whole = io.BytesIO(data)
    with zipfile.ZipFile(whole, "a") as archive:
        archive.writestr("padding", bytes(4096))
    out = io.BytesIO()
    OOXMLFile(whole).encrypt(password, out)
    return out.getvalue()
