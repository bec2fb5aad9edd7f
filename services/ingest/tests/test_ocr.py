"""Text in pictures: found with its places, read in order, and nothing that a picture does costs more than its page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import psutil
import pytest
from docutalk_common.process import wait_until
from docutalk_ingest.adapters.isolated_parser import Extraction, IsolatedParser, Limits
from docutalk_ingest.adapters.ocr import OcrLimits, OcrReader
from docutalk_ingest.adapters.ocr_layout import OcrLine, page_of_lines, straightened
from docutalk_ingest.domain import ExtractedPage, ParseFailed
from PIL import Image

from . import hostile_ocr
from .picture_files import encoded, pdf_of, picture

TESTS = {"PYTHONPATH": str(Path(__file__).parent)}
LONG = "\n".join(["The harbour was quiet and nobody had seen the ship since Tuesday."] * 6)
BLANK = Image.new("RGB", (64, 80), "white")


async def pages_of(extraction: Extraction) -> list[ExtractedPage]:
    """All pages."""
    return [page async for page in extraction.pages()]


# The real one ----------------------------------------------------------------------------------------------------


async def test_scanned_page_among_others_is_read_with_the_places_of_its_lines(parser: IsolatedParser, tmp_path: Path) -> None:
    scan = picture("Forty tons of salt", "were lost at sea.", size=(612, 792))
    (tmp_path / "source").write_bytes(pdf_of(LONG, scan))
    progress: list[tuple[int, int | None]] = []
    extraction = await parser.parse(
        tmp_path / "source", "a.pdf", tmp_path, on_progress=lambda done, of: progress.append((done, of))
    )
    text, scanned = await pages_of(extraction)
    assert (text.text, text.lines) == (LONG, None)
    assert scanned.text == "Forty tons of salt\nwere lost at sea."
    assert scanned.chunks[0][:2] == (0, len(scanned.text))
    assert scanned.lines is not None
    assert [scanned.text[start:end] for start, end, *_ in scanned.lines] == ["Forty tons of salt", "were lost at sea."]
    left, top, right, bottom = scanned.lines[0][2:]
    # It was drawn 24 pixels from the left and the top, some 260 wide.
    assert abs(left * 612 - 24) < 8
    assert abs(top * 792 - 28) < 10
    assert 230 < right * 612 < 330
    assert bottom < scanned.lines[1][5]
    summary = extraction.summary
    assert (summary.ocr, summary.unreadable, summary.metadata.language) == ([2], [], "en")
    assert "rapidocr" in summary.extractor
    assert progress == sorted(progress)
    assert progress[-1] == (2, 2)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
async def test_image_is_a_page_for_each_frame(parser: IsolatedParser, tmp_path: Path, kind: str) -> None:
    frames = [picture("Page one"), picture("Page two")]
    more = {"save_all": True, "append_images": frames[1:]} if kind == "TIFF" else {}
    (tmp_path / "source").write_bytes(encoded(frames[0], kind, **more))
    pages = await pages_of(await parser.parse(tmp_path / "source", "scan", tmp_path))
    assert [page.text for page in pages] == ["Page one", "Page two"][: 1 + bool(more)]


async def test_photo_lying_on_its_side_and_transparent_are_read(parser: IsolatedParser, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise to see it upright
    (tmp_path / "source").write_bytes(encoded(picture("Upright", rotate=90), "JPEG", exif=exif))
    pages = await pages_of(await parser.parse(tmp_path / "source", "a.jpg", tmp_path))
    assert [page.text for page in pages] == ["Upright"]


@pytest.mark.parametrize("rotate", [90, 180, 270])
async def test_page_that_was_scanned_sideways_or_on_its_head_is_read(parser: IsolatedParser, tmp_path: Path, rotate: int) -> None:
    scan = picture("The harbour was quiet", "and the ship was old.", size=(440, 140), rotate=rotate)
    (tmp_path / "source").write_bytes(encoded(scan, "PNG"))
    [page] = await pages_of(await parser.parse(tmp_path / "source", "a.png", tmp_path))
    assert page.text == "The harbour was quiet\nand the ship was old."
    assert page.lines is not None
    left, top, right, bottom = page.lines[0][2:]
    # Its first line is at the left, at the bottom, at the right.
    assert {90: right < 0.5, 180: top > 0.5, 270: left > 0.5}[rotate]
    assert (bottom - top > right - left) == (rotate != 180)


async def test_long_picture_of_a_screen_is_read_line_by_line(parser: IsolatedParser, tmp_path: Path) -> None:
    said = [f"Entry {number}" for number in range(10, 34)]
    (tmp_path / "source").write_bytes(encoded(picture(*said, size=(400, 1200)), "PNG"))
    [page] = await pages_of(await parser.parse(tmp_path / "source", "a.png", tmp_path))
    assert page.text.split() == " ".join(said).split()


async def test_picture_without_text_is_no_text(parser: IsolatedParser, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(encoded(BLANK, "PNG"))
    with pytest.raises(ParseFailed) as caught:
        await parser.parse(tmp_path / "source", "a.png", tmp_path)
    assert caught.value.code == "no_text"
    assert "sharper" in caught.value.reason


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (encoded(picture("cut"), "PNG")[:900], "damaged"),
        (encoded(picture("cut"), "JPEG")[:900], "damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "damaged"),
        (encoded(Image.new("1", (20_000, 20_000)), "PNG"), "image_too_large"),
        (encoded(Image.new("1", (10_000, 10_000)), "TIFF", compression="group4"), "image_too_large"),
    ],
)
async def test_damaged_and_huge_images_are_refused(parser: IsolatedParser, tmp_path: Path, data: bytes, code: str) -> None:
    (tmp_path / "source").write_bytes(data)
    with pytest.raises(ParseFailed) as caught:
        await parser.parse(tmp_path / "source", "a", tmp_path)
    assert caught.value.code == code


# What can go wrong -----------------------------------------------------------------------------------------------


@pytest.fixture
async def hostile() -> AsyncIterator[IsolatedParser]:
    """Its OCR does what the page's number says. Tight limits, so that running into them is quick."""
    limits = OcrLimits(page_seconds=3, recycle_bytes=1 << 40)
    parser = IsolatedParser(limits=Limits(ocr_pages=6), ocr=OcrReader(limits, worker="hostile_ocr", environment=TESTS))
    yield parser
    await parser.close()


async def read_pictures(parser: IsolatedParser, folder: Path, count: int) -> Extraction:
    """A document of so many pictures."""
    (folder / "source").write_bytes(pdf_of(*[BLANK] * count))
    return await parser.parse(folder / "source", "a.pdf", folder)


async def test_whatever_a_picture_does_costs_its_page_and_the_document_goes_on(hostile: IsolatedParser, tmp_path: Path) -> None:
    extraction = await read_pictures(hostile, tmp_path, 8)
    pages = await pages_of(extraction)
    read = {page.number for page in pages if "read by process" in page.text}
    assert read == {1, hostile_ocr.KILLED}
    assert extraction.summary.unreadable == [2, 3, 5, 6, 7, 8]
    for reason in (
        "makes its reader crash",
        "longer than 3 seconds",
        "too much memory",
        "picture is damaged",
        "2 scanned pages could not be read: of one document 6 are read",
    ):
        assert reason in extraction.summary.problem


async def test_picture_that_is_computed_on_for_ever_is_given_up(tmp_path: Path) -> None:
    ocr = OcrReader(OcrLimits(cpu_seconds=1), worker="hostile_ocr", environment=TESTS)
    try:
        given_up = await ocr.read(tmp_path / "any", hostile_ocr.COMPUTE)
        assert "more than 1 seconds of computing" in given_up["problem"]
        assert "lines" in await ocr.read(tmp_path / "any", 1)
    finally:
        await ocr.close()


async def test_document_whose_pictures_all_fail_says_why(hostile: IsolatedParser, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(pdf_of("x", BLANK).replace(b"(x) Tj", b"      "))
    with pytest.raises(ParseFailed) as caught:
        await hostile.parse(tmp_path / "source", "a.pdf", tmp_path)
    assert caught.value.code == "unreadable"
    assert "makes its reader crash" in caught.value.reason


async def test_cancelled_reading_ends_the_ocr_at_once(hostile: IsolatedParser, tmp_path: Path) -> None:
    started = asyncio.Event()
    (tmp_path / "source").write_bytes(pdf_of(LONG, LONG, BLANK))

    def note(done: int, of: int | None) -> None:
        if done == 2:
            started.set()

    reading = asyncio.create_task(hostile.parse(tmp_path / "source", "a.pdf", tmp_path, on_progress=note))
    await started.wait()

    async def runs() -> bool:
        return hostile.ocr_pid is not None

    await wait_until(runs, seconds=10, what="the OCR runs")
    pid = hostile.ocr_pid
    assert pid is not None
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not psutil.pid_exists(pid)
    assert hostile.ocr_pid is None


async def test_process_is_replaced_after_some_pages_and_ends_when_nothing_comes(tmp_path: Path) -> None:
    limits = OcrLimits(recycle_pages=2, recycle_bytes=1 << 40, idle_seconds=0.2)
    ocr = OcrReader(limits, worker="hostile_ocr", environment=TESTS)
    try:
        said = [(await ocr.read(tmp_path / "any", 1))["lines"][0][0] for _ in range(3)]
        assert said[0] == said[1] != said[2]

        async def gone() -> bool:
            return ocr.pid is None

        await wait_until(gone, seconds=5, what="the idle process is gone")
    finally:
        await ocr.close()


# Reading order ---------------------------------------------------------------------------------------------------


def lines(*boxes: tuple[str, float, float, float]) -> list[OcrLine]:
    """Lines by text, left, right and top, of a height of .02."""
    return [OcrLine(text, left, top, right, top + 0.02, (left, top, right, top + 0.02)) for text, left, right, top in boxes]


def column(name: str, left: float, right: float, tops: Iterable[float]) -> list[OcrLine]:
    """Running text, a line at each height."""
    return lines(*((f"{name} column, line at {top:.2f} of it", left, right, top) for top in tops))


HEIGHTS = [0.2, 0.225, 0.25, 0.275]


def test_columns_are_read_one_after_the_other_below_their_title() -> None:
    title = lines(("A title over both columns", 0.1, 0.9, 0.1))
    foot = lines(("A line below both columns", 0.1, 0.9, 0.5))
    left, right = column("Left", 0.1, 0.48, HEIGHTS), column("Right", 0.49, 0.9, HEIGHTS)
    mixed = [line for pair in zip(left, right, strict=True) for line in pair]
    text, places = page_of_lines([*title, *mixed, *foot])
    said = text.replace("\n\n", "\n").split("\n")
    assert said == [line.text for line in (*title, *left, *right, *foot)]
    assert [text[start:end] for start, end, *_ in places] == said


def test_cells_of_a_table_stay_in_their_rows() -> None:
    cells = lines(*((f"{name} {n}", x, x + 0.1, 0.2 + n * 0.03) for n in range(5) for name, x in (("a", 0.1), ("b", 0.5))))
    assert page_of_lines(cells)[0].split("\n") == [f"a {n}\tb {n}" for n in range(5)]


def test_gap_between_lines_ends_a_paragraph() -> None:
    text, _ = page_of_lines(column("The only", 0.1, 0.9, [0.1, 0.125, 0.2, 0.225]))
    assert [len(part.split("\n")) for part in text.split("\n\n")] == [2, 2]


def test_skewed_lines_keep_their_order_and_their_places() -> None:
    """Two lines of a page turned by ten degrees: the end of the first is as low as the beginning of the second."""
    found = [[name, 0, y, 985, y + 174, 980, y + 204, -5, y + 30] for name, y in (("second", 140), ("first", 100))]
    straight = straightened(found, 1000, 1000)
    text, places = page_of_lines(straight)
    assert text == "first\nsecond"
    assert places[0][2:] == (0.0, 0.1, 0.985, 0.304)


def test_page_without_lines_is_empty() -> None:
    assert page_of_lines(straightened([], 100, 100)) == ("", [])


def test_page_full_of_a_table_is_put_in_order_at_once() -> None:
    """All pages of a scan share a minute: at two seconds a page, a scanned report of tables ended for its time."""
    cells = [
        [f"{row} {cell}", x, y, x + 60, y, x + 60, y + 9, x, y + 9]
        for row in range(150)
        for cell in range(20)
        for x, y in [(80 * cell + (row * 7 + cell) % 13, 12 * row)]
    ]
    started = time.process_time()
    text, places = page_of_lines(straightened(cells, 1700, 1900))
    assert time.process_time() - started < 1
    assert len(places) == 3_000
    assert text.startswith("0 0\t0 1\t0 2")
