"""PDFs beyond their text: what they say of themselves, bookmarks, passwords, which pages are pictures, and what tries to harm."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from docutalk_ingest.adapters.isolated_parser import IsolatedParser, Limits
from docutalk_ingest.adapters.parsers.pdf import parse_date, place_headings, read_pdf
from docutalk_ingest.adapters.parsers.pdf_pictures import is_garbled
from docutalk_ingest.domain import ParsedPage, ParseFailed, UnitSpan

from .picture_files import locked_pdf, pdf_of, picture
from .world import assemble, pdf

LONG = "\n".join(["The harbour was quiet and nobody had seen the ship since Tuesday."] * 6)


def pages_of(folder: Path, data: bytes, password: str | None = None) -> list[ParsedPage]:
    """The pages of a PDF with these bytes."""
    path = folder / "file.pdf"
    path.write_bytes(data)
    return list(read_pdf(path, password).pages)


def failure(folder: Path, data: bytes, password: str | None = None) -> ParseFailed:
    """Why a PDF with these bytes has no pages."""
    with pytest.raises(ParseFailed) as caught:
        pages_of(folder, data, password)
    return caught.value


def test_what_the_document_says_of_itself(tmp_path: Path) -> None:
    data = assemble(
        [
            "<< /Type /Catalog /Pages 2 0 R >>",
            "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] >>",
            "<< /Title (Tide  tables) /Author (A. Pilot) /CreationDate (D:20240229120000+01'30') /ModDate (yesterday) >>",
        ],
        trailer="/Info 4 0 R",
    )
    (tmp_path / "a.pdf").write_bytes(data)
    metadata = read_pdf(tmp_path / "a.pdf").metadata
    assert (metadata.title, metadata.author, metadata.modified_at) == ("Tide tables", "A. Pilot", None)
    assert metadata.created_at == datetime(2024, 2, 29, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("D:20240131", datetime(2024, 1, 31, tzinfo=UTC)),
        ("20240131235959Z", datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC)),
        ("D:20240131120000-08'00'", datetime(2024, 1, 31, 12, tzinfo=timezone(timedelta(hours=-8)))),
        ("D:20241332", None),
        ("D:20240131120000+99'99'", None),
        ("", None),
    ],
)
def test_dates_as_pdf_writes_them(text: str, date: datetime | None) -> None:
    assert parse_date(text) == date


def test_bookmarks_become_headings_where_the_page_has_their_words(tmp_path: Path) -> None:
    outline = (
        "<< /Type /Outlines /First 11 0 R /Last 11 0 R >>",
        "<< /Title (The Harbour) /Parent 10 0 R /Dest [7 0 R /Fit] /First 12 0 R /Last 12 0 R >>",
        "<< /Title (its ships) /Parent 11 0 R /Dest [7 0 R /Fit] >>",
    )
    base = pdf_of("First page.", "Preface. The Harbour has a wall. Its ships are old.", catalog="/Outlines 10 0 R")
    objects = base.decode("latin-1").split("endobj\n")[:-1]
    bodies = [part.split("obj\n", 1)[1].rstrip("\n") for part in objects]
    first, second = pages_of(tmp_path, assemble([*bodies, *outline]))
    assert first.units == []
    assert [(unit.label, unit.level, second.text[unit.start : unit.end]) for unit in second.units] == [
        ("The Harbour", 1, "The Harbour has a wall. Its ships are old."),
        ("its ships", 2, "Its ships are old."),
    ]


def test_bookmarks_of_a_whole_book_on_one_page_of_it_are_left_out() -> None:
    book = [(f"Chapter {number}", 1) for number in range(900)]
    assert place_headings(book, "Chapter 7 begins here.") == [UnitSpan("heading", "Chapter 7", 0, 22, 1)]


def test_protected_pdf_opens_with_its_password_only(tmp_path: Path) -> None:
    data = locked_pdf("Nobody knows.", "s3cret")
    assert pages_of(tmp_path, data, "s3cret")[0].text == "Nobody knows."
    assert failure(tmp_path, data).code == "encrypted"
    wrong = failure(tmp_path, data, "guess")
    assert wrong.code == "wrong_password"
    assert "right one" in wrong.reason


async def test_protected_pdf_leaves_a_copy_that_opens_without(parser: IsolatedParser, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(locked_pdf("Nobody knows.", "s3cret"))
    extraction = await parser.parse(tmp_path / "source", "a.pdf", tmp_path, password="s3cret")
    assert extraction.unlocked is not None
    assert read_pdf(extraction.unlocked).page_count == 1
    boxes = await parser.boxes(extraction.unlocked, 1, 0, 6, "Nobody knows.", out=tmp_path)
    assert len(boxes.boxes) == 1


async def test_password_for_a_pdf_without_one_does_no_harm(parser: IsolatedParser, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(pdf("Everybody knows."))
    assert (await parser.parse(tmp_path / "source", "a.pdf", tmp_path, password="s3cret")).unlocked is None


def test_pages_that_are_pictures_are_for_ocr_and_others_are_not(tmp_path: Path) -> None:
    pages = pages_of(tmp_path, pdf_of(LONG, picture("A scan."), "Short, and no picture."))
    assert [page.needs_ocr for page in pages] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "garbled"),
    [
        ("The ship’s “log” — 40 °C, naïve café, €5.", False),
        ("Корабль «Мир» был в порту с 12 мая.", False),
        ("µ, Ω and π stand for micro, ohm and pi; x² + y² = z².", False),
        ("港口很安静。NHK は東京にある。한국어", False),
        ("\uf0b7 Bullets \uf0b7 of symbol fonts \uf0b7 are private, and few", False),
        ("\ue012\ue013\ue014 \ue015\ue016\ue017 \ue018\ue019", True),
        ("\x01\x03\x04\x05\x06\x07 \x01\x03\x04", True),
        ("Tհe ѕһір ԝаs qսіеt аnd ոоbоdу", True),
    ],
)
def test_text_layers_that_cannot_be_what_is_seen(text: str, garbled: bool) -> None:
    assert is_garbled(text) is garbled


# Harm ------------------------------------------------------------------------------------------------------------


def flate_bomb() -> bytes:
    """A page whose content is 120 MB of operators, deflated twice: less than a kilobyte."""
    content = zlib.compress(zlib.compress(b"0 0 m " * (20 << 20), 9), 9)
    stream = f"<< /Length {len(content)} /Filter [/FlateDecode /FlateDecode] >>\nstream\n{content.decode('latin-1')}\nendstream"
    return assemble(
        [
            "<< /Type /Catalog /Pages 2 0 R >>",
            "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R >>",
            stream,
        ]
    )


def page_tree(depth: int) -> bytes:
    """One page below so many nodes."""
    nodes = [f"<< /Type /Pages /Kids [{number + 3} 0 R] /Count 1 >>" for number in range(depth)]
    return assemble(["<< /Type /Catalog /Pages 2 0 R >>", *nodes, "<< /Type /Page /MediaBox [0 0 612 792] >>"])


def page_tree_loop() -> bytes:
    """A node that is its own child."""
    return assemble(["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 100000000 >>"])


def xref_loop() -> bytes:
    """A cross-reference table whose predecessor is itself."""
    data = pdf("x")
    start = data.rindex(b"xref\n0")
    return data.replace(b"trailer\n<<", b"trailer\n<< /Prev %d" % start)


def form_loop() -> bytes:
    """A form that draws itself twice: without limits it takes all memory there is."""
    form = "q /X Do /X Do Q"
    return assemble(
        [
            "<< /Type /Catalog /Pages 2 0 R >>",
            "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /XObject << /X 5 0 R >> >> >>",
            f"<< /Length {len(form)} >>\nstream\n{form}\nendstream",
            "<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 5 0 R >> >>"
            f" /Length {len(form)} >>\nstream\n{form}\nendstream",
        ]
    )


@pytest.fixture(scope="module")
async def strict() -> AsyncIterator[IsolatedParser]:
    """A parser whose limits are soon reached."""
    parser = IsolatedParser(limits=Limits(memory_bytes=1 << 29, cpu_seconds=5))
    await parser.start()
    yield parser
    await parser.close()


@pytest.mark.parametrize(
    ("make", "codes"),
    [
        (flate_bomb, {"too_much_memory", "timeout", "crashed", "no_text"}),
        (page_tree_loop, {"damaged", "no_text"}),
        (xref_loop, {"damaged", None}),
        (form_loop, {"too_much_memory", "timeout", "crashed"}),
    ],
)
async def test_harmful_pdf_ends_in_text_or_a_reason(
    strict: IsolatedParser, tmp_path: Path, make: Callable[[], bytes], codes: set[str | None]
) -> None:
    (tmp_path / "source").write_bytes(make())
    host = strict.host_pid
    code = None
    try:
        await strict.parse(tmp_path / "source", "a.pdf", tmp_path)
    except ParseFailed as failure:
        code = failure.code
    assert code in codes
    assert strict.host_pid == host


def test_deep_page_tree_ends_in_pages_or_a_reason(tmp_path: Path) -> None:
    error = failure(tmp_path, page_tree(3000))
    assert error.code in {"damaged", "no_text"}


def test_large_file_is_looked_through_in_windows_and_opened_anew_between_pages(tmp_path: Path) -> None:
    """80 MB between the pages and the end; a gap in the file, so it takes no room."""
    size = 80 << 20
    texts = ["Read although it is large.", "The second page.", "The third."]
    data = pdf(*texts)
    cut = data.rindex(b"xref\n0")
    path = tmp_path / "large.pdf"
    with path.open("wb") as file:
        file.write(data[:cut])
        file.seek(size)
        file.write(data[cut:].replace(b"startxref\n%d" % cut, b"startxref\n%d" % size))
    assert [page.text for page in read_pdf(path).pages] == texts
    with path.open("r+b") as file:
        file.truncate(size - 5)
    with pytest.raises(ParseFailed) as caught:
        read_pdf(path)
    assert caught.value.code == "damaged"
