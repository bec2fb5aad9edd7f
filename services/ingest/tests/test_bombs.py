"""Files of a few kilobytes that would take the machine: each is refused, or read for the little that it holds, and says why."""

from __future__ import annotations

import io
import random
import resource
import struct
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from docutalk_ingest.adapters.isolated_parser import IsolatedParser, Limits
from docutalk_ingest.adapters.parsers import zip_limits
from docutalk_ingest.adapters.parsers.zip_limits import open_zip
from docutalk_ingest.domain import ParseFailed

from .office_files import cell, deck, encrypted, failure, old_workbook, open_document, read, shape, workbook, zipped
from .world import docx, paragraph

MAKERS: dict[str, Callable[[str], bytes]] = {
    "a.docx": lambda text: docx(paragraph(text)),
    "a.pptx": lambda text: deck([shape(text)]),
    "a.xlsx": lambda text: workbook(f"<row>{cell('A1', text, 'str')}</row>"),
    "a.odt": lambda text: open_document(f"<text:p>{text}</text:p>"),
    "a.ods": lambda text: open_document(
        f"<table:table><table:table-row><table:table-cell><text:p>{text}</text:p></table:table-cell></table:table-row></table:table>",
        kind="spreadsheet",
    ),
}
BODIES = {
    "a.docx": "word/document.xml",
    "a.pptx": "ppt/slides/slide0.xml",
    "a.xlsx": "xl/worksheets/sheet1.xml",
    "a.odt": "content.xml",
    "a.ods": "content.xml",
}


def with_part(data: bytes, name: str, content: bytes) -> bytes:
    """The file with another part in place of one."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts: dict[str, str | bytes] = {entry: archive.read(entry) for entry in archive.namelist()}
    return zipped({**parts, name: content}, stored=("mimetype",))


def claiming(data: bytes, name: str, size: int) -> bytes:
    """The file with another size of a part in its directory, and the checksum of that much of it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        checksum = zlib.crc32(archive.read(name)[:size])
    patched = bytearray(data)
    for magic, position in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        at = -1
        while (at := patched.find(magic, at + 1)) >= 0:
            length = {14: 30, 16: 46}[position]
            if patched[at + length :].startswith(name.encode()):
                struct.pack_into("<I", patched, at + position, checksum)
                struct.pack_into("<I", patched, at + position + 8, size)
    return bytes(patched)


def outcome(folder: Path, data: bytes, name: str) -> str | ParseFailed:
    """The text of the first page, or why there is none."""
    try:
        return read(folder, data, name)[0].text
    except ParseFailed as error:
        return error


@pytest.mark.parametrize("name", MAKERS)
class TestEveryFormat:
    def test_part_of_zeros_is_refused_before_it_is_unpacked(self, tmp_path: Path, name: str) -> None:
        error = failure(tmp_path, with_part(MAKERS[name]("x"), "bomb.xml", bytes(20_000_000)), name)
        assert error.code == "too_large_unpacked"
        assert "unpack to 20 MB" in error.reason

    def test_part_that_claims_gigabytes_is_refused(self, tmp_path: Path, name: str) -> None:
        data = claiming(with_part(MAKERS[name]("x"), "bomb.xml", b"x"), "bomb.xml", 4_000_000_000)
        assert failure(tmp_path, data, name).code == "too_large_unpacked"

    def test_too_many_parts_are_refused(self, tmp_path: Path, name: str) -> None:
        out = io.BytesIO(MAKERS[name]("x"))
        with zipfile.ZipFile(out, "a") as archive:
            for number in range(zip_limits.MAX_ENTRIES):
                archive.writestr(f"x{number}", "")
        assert failure(tmp_path, out.getvalue(), name).code == "too_large_unpacked"

    def test_entities_that_multiply_are_not_expanded(self, tmp_path: Path, name: str) -> None:
        levels = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 12))
        self._refused_or_plain(tmp_path, name, f"<!DOCTYPE x [<!ENTITY l0 'laugh'>{levels}]>", "&l11;")

    def test_entities_read_no_file_and_fetch_nothing(self, tmp_path: Path, name: str) -> None:
        secret = tmp_path / "secret"
        secret.write_text("laugh")
        kinds = f"<!ENTITY file SYSTEM 'file://{secret}'><!ENTITY net SYSTEM 'http://127.0.0.1:9/x'>"
        self._refused_or_plain(tmp_path, name, f"<!DOCTYPE x SYSTEM 'http://127.0.0.1:9/d' [{kinds}]>", "&file;&net;")

    def _refused_or_plain(self, folder: Path, name: str, declaration: str, reference: str) -> None:
        data = MAKERS[name](f"before {reference}")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            body = archive.read(BODIES[name])
        found = outcome(folder, with_part(data, BODIES[name], declaration.encode() + body), name)
        text = "" if isinstance(found, ParseFailed) else found
        assert not isinstance(found, ParseFailed) or found.code in {"damaged", "no_text"}
        assert "laugh" not in text
        assert len(text) < 100

    def test_elements_in_elements_without_end_are_damaged(self, tmp_path: Path, name: str) -> None:
        depth = 20_000
        data = MAKERS[name]("x")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            body = archive.read(BODIES[name]).decode()
        end = body.rindex("</", 0, body.rindex("</"))
        deep = body[:end] + "<x>" * depth + "</x>" * depth + body[end:]
        found = outcome(tmp_path, with_part(data, BODIES[name], deep.encode()), name)
        if name == "a.xlsx":
            assert found == "x"  # Calamine keeps no tree and passes over what it does not know
        else:
            assert isinstance(found, ParseFailed)
            assert found.code == "damaged"
            assert "too deeply" in found.reason

    def test_one_part_over_another_is_damaged(self, tmp_path: Path, name: str) -> None:
        """As in bombs whose directory names the same packed bytes a thousand times."""
        data = bytearray(MAKERS[name]("x" * 50))
        first = data.find(b"PK\x01\x02")
        second = data.find(b"PK\x01\x02", first + 4)
        offset = struct.unpack_from("<I", data, first + 42)[0]
        struct.pack_into("<I", data, second + 42, offset + 8)
        error = failure(tmp_path, bytes(data), name)
        assert error.code == "damaged"
        assert "over one another" in error.reason

    def test_part_under_a_password_of_its_own_is_encrypted(self, tmp_path: Path, name: str) -> None:
        data = bytearray(MAKERS[name]("x"))
        data[data.find(b"PK\x01\x02") + 8] |= 1
        assert failure(tmp_path, bytes(data), name).code == "encrypted"


class TestZip:
    def test_size_that_lies_about_a_part_read_here_is_damaged_or_cut_to_it(self, tmp_path: Path) -> None:
        data = docx(paragraph("long " * 200_000))
        assert failure(tmp_path, claiming(data, "word/document.xml", 100), "a.docx").code == "damaged"

    def test_size_that_lies_to_the_library_of_workbooks_is_damaged(self, tmp_path: Path) -> None:
        """Calamine would unpack all of it, whatever the directory says."""
        strings = f"<si><t>{'long ' * 2_000_000}</t></si>"
        data = workbook(f"<row>{cell('A1', '0', 's')}</row>", strings=strings)
        error = failure(tmp_path, claiming(data, "xl/sharedStrings.xml", 60), "a.xlsx")
        assert error.code == "damaged"
        assert "larger than it says" in error.reason

    def test_archives_in_a_document_are_not_unpacked(self, tmp_path: Path) -> None:
        inner = zipped({"bomb": bytes(10_000_000)})
        for _ in range(5):
            inner = zipped({f"{n}.zip": inner for n in range(3)})
        data = docx(paragraph("read"), parts={"word/embeddings/a.zip": inner})  # type: ignore[dict-item]
        assert read(tmp_path, data, "a.docx")[0].text == "read"
        assert failure(tmp_path, inner, "a.zip").code == "unsupported_type"

    def test_ratio_is_that_of_the_file_and_not_what_its_entries_say(self, tmp_path: Path) -> None:
        data = zipped({"a": bytes(11_000_000)})
        at = data.find(b"PK\x01\x02")
        patched = bytearray(data)
        struct.pack_into("<I", patched, at + 20, 10_000_000)
        (tmp_path / "file").write_bytes(patched)
        with pytest.raises(ParseFailed) as caught:
            open_zip(tmp_path / "file", "file")
        assert caught.value.code == "too_large_unpacked"


class TestSheets:
    def test_lone_far_cell_is_refused_before_its_table_is_made(self, tmp_path: Path) -> None:
        rows = f"<row>{cell('A1', '1')}</row><row>{cell('XFD1048576', '2')}</row>"
        error = failure(tmp_path, workbook(rows), "a.xlsx")
        assert error.code == "too_many_cells"
        assert "17,179,869,184 cells, of which 2 hold something" in error.reason
        assert "Delete stray cells" in error.reason

    def test_cells_that_are_only_coloured_do_not_count(self, tmp_path: Path) -> None:
        rows = f"<row>{cell('A1', '1')}</row><row><c r='XFD1048576' s='3'/></row>"
        assert read(tmp_path, workbook(rows), "a.xlsx")[0].text == "1"

    def test_dimension_that_claims_every_cell_is_not_believed(self, tmp_path: Path) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        data = workbook(f"<row>{cell('B2', '1')}</row>", head="<dimension ref='A1:XFD1048576'/>")
        page = read(tmp_path, data, "a.xlsx")[0]
        assert (page.text, page.units[0].label) == ("1", "Data!B2:B2")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000

    def test_long_string_that_many_cells_share_is_refused(self, tmp_path: Path) -> None:
        rows = "".join(f"<row>{cell(f'A{n}', '1', 's')}</row>" for n in range(1, 10_001))
        data = workbook(rows, strings=f"<si><t>short</t></si><si><t>{'x' * 30_000}</t></si>")
        error = failure(tmp_path, data, "a.xlsx")
        assert error.code == "too_much_text"

    def test_long_string_beside_many_short_ones_is_read(self, tmp_path: Path) -> None:
        rows = (
            "".join(f"<row>{cell(f'A{n}', '0', 's')}</row>" for n in range(1, 10_001)) + f"<row>{cell('A10001', '1', 's')}</row>"
        )
        data = workbook(rows, strings=f"<si><t>short</t></si><si><t>{'x' * 30_000}</t></si>")
        assert len(read(tmp_path, data, "a.xlsx")[0].text) == 10_000 * 6 + 30_000

    def test_far_cell_that_does_not_say_its_place_is_found_too(self, tmp_path: Path) -> None:
        rows = f"<row>{cell('XFC1', '1')}<c><v>2</v></c></row><row r='1048576'><c><v>3</v></c></row>"
        assert failure(tmp_path, workbook(rows), "a.xlsx").code == "too_many_cells"

    def test_cells_without_places_are_read_in_order(self, tmp_path: Path) -> None:
        rows = "<row><c><v>1</v></c><c><v>2</v></c></row><row r='1048576' hidden='1'/>"
        assert read(tmp_path, workbook(rows), "a.xlsx")[0].text == "1\t2"

    @pytest.mark.parametrize(
        "row",
        [
            "<table:table-row table:number-rows-repeated='999999999'><table:table-cell><text:p>x</text:p></table:table-cell>",
            "<table:table-row table:number-rows-repeated='1000000'><table:table-cell table:number-columns-repeated='999999999'>"
            "<text:p>x</text:p></table:table-cell>",
        ],
    )
    def test_cells_repeated_a_billion_times_are_refused(self, tmp_path: Path, row: str) -> None:
        data = open_document(f"<table:table>{row}</table:table-row></table:table>", kind="spreadsheet")
        assert failure(tmp_path, data, "a.ods").code == "too_many_cells"

    def test_blank_cells_repeated_a_billion_times_are_nothing(self, tmp_path: Path) -> None:
        blank = "<table:table-cell table:number-columns-repeated='999999999'/>"
        row = f"<table:table-row table:number-rows-repeated='999999999'>{blank}"
        used = "<table:table-row><table:table-cell><text:p>x</text:p></table:table-cell></table:table-row>"
        data = open_document(f"<table:table>{used}{row}</table:table-row></table:table>", kind="spreadsheet")
        assert read(tmp_path, data, "a.ods")[0].text == "x"


class TestNesting:
    def test_tables_in_tables_are_read_as_deep_as_the_parser_goes(self, tmp_path: Path) -> None:
        depth = 60
        body = "<w:tbl><w:tr><w:tc>" * depth + paragraph("core") + "</w:tc></w:tr></w:tbl>" * depth
        assert read(tmp_path, docx(body), "a.docx")[0].text == "core"

    def test_tables_of_two_cells_in_one_another_take_no_exponential_time(self, tmp_path: Path) -> None:
        body = paragraph("core")
        for _ in range(60):
            body = f"<w:tbl><w:tr><w:tc>{paragraph('a')}</w:tc><w:tc>{body}</w:tc></w:tr></w:tbl>"
        assert read(tmp_path, docx(body), "a.docx")[0].text.split() == ["a"] * 60 + ["core"]

    def test_groups_in_groups_are_damaged_beyond_the_limit(self, tmp_path: Path) -> None:
        data = deck([shape("one"), "<p:grpSp>" * 5000 + shape("core") + "</p:grpSp>" * 5000])
        assert [page.readable for page in read(tmp_path, data, "a.pptx")] == [True, False]

    def test_frames_in_frames_of_opendocument(self, tmp_path: Path) -> None:
        body = "<text:section>" * 200 + "<text:p>core</text:p>" + "</text:section>" * 200
        assert read(tmp_path, open_document(body), "a.odt")[0].text == "core"

    def test_chart_of_a_billion_points_has_as_many_rows_as_values(self, tmp_path: Path) -> None:
        points = "<c:pt idx='999999999'><c:v>1</c:v></c:pt><c:pt idx='0'><c:v>2</c:v></c:pt>"
        cache = f"<c:numCache><c:ptCount val='999999999'/>{points}</c:numCache>"
        chart = f"<c:chartSpace xmlns:c='c'><c:ser><c:val>{cache}</c:val></c:ser></c:chartSpace>"
        relation = "<Relationship Id='c' Type='http://x/chart' Target='charts/c.xml'/>"
        data = docx(paragraph("x"), parts={"word/charts/c.xml": chart}, relations=relation)
        assert read(tmp_path, data, "a.docx")[0].text == "x\n\n\t2\t1"


@pytest.fixture(scope="module")
async def small() -> AsyncIterator[IsolatedParser]:
    """The parser as the service runs it, with less memory, so that running into the limit is quick."""
    parser = IsolatedParser(limits=Limits(memory_bytes=1 << 30))
    await parser.start()
    yield parser
    await parser.close()


async def refused(parser: IsolatedParser, folder: Path, data: bytes, name: str) -> ParseFailed:
    """Why the parser gives no text for a file with these bytes, in its own process."""
    source, out = folder / "source", folder / "out"
    source.write_bytes(data)
    out.mkdir(exist_ok=True)
    with pytest.raises(ParseFailed) as caught:
        await parser.parse(source, name, out)
    return caught.value


async def test_tree_that_does_not_fit_into_memory_says_so_and_the_next_document_is_read(
    small: IsolatedParser, tmp_path: Path
) -> None:
    # Random names keep it under the ratio that would be refused at once.
    numbers = random.Random(1)
    block = "<w:p/>" * 25
    body = "".join(f"{block}<w:p w:x='{numbers.getrandbits(24)}'/>" for _ in range(400_000))
    error = await refused(small, tmp_path, docx(body), "a.docx")
    assert error.code == "too_much_memory"
    assert "1 GiB" in error.reason
    (tmp_path / "next").write_bytes(docx(paragraph("still here")))
    pages = [page async for page in (await small.parse(tmp_path / "next", "b.docx", tmp_path)).pages()]
    assert [page.text for page in pages] == ["still here"]


async def test_table_that_does_not_fit_into_memory_crashes_its_own_process_only(small: IsolatedParser, tmp_path: Path) -> None:
    """No program writes columns beyond 256 into an old workbook; who does makes the library ask for 100 GB."""
    error = await refused(small, tmp_path, old_workbook((0, 0, 1.0), (65_535, 65_535, 1.0)), "a.xls")
    assert error.code == "crashed"
    assert "probably damaged" in error.reason


async def test_password_reaches_the_reader_in_its_process(small: IsolatedParser, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(encrypted(docx(paragraph("Secret cargo.")), "x"))
    extraction = await small.parse(source, "a.docx", tmp_path, password="x")
    assert [page.text async for page in extraction.pages()] == ["Secret cargo."]
    assert (await refused(small, tmp_path, source.read_bytes(), "a.docx")).code == "encrypted"
