"""Looking at pages: where a quote stands, how a page looks, what a document is made of."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from uuid import uuid4

import pytest
from docutalk_common.contracts.ingest import (
    Boxes,
    DeleteDocument,
    DocumentRemoved,
    DocumentStatus,
    GetBoxes,
    ListUnits,
    RenderedPage,
    RenderPage,
    Units,
)
from docutalk_common.db import Database
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.process import wait_until
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.conformance import Wire
from docutalk_ingest.adapters.file_cache import FileCache
from docutalk_ingest.adapters.isolated_parser import IsolatedParser
from docutalk_ingest.adapters.parsers.pdf import read_pdf
from docutalk_ingest.adapters.work_folder import WorkFolder
from docutalk_ingest.domain import ParseFailed
from PIL import Image, ImageChops

from .journey import SECONDS, send, status_is
from .picture_files import encoded, pdf_of, picture
from .world import assemble, store, uploaded

TEXT = "The harbour was quiet.\nNobody had seen the ship since Tuesday."


async def places(parser: IsolatedParser, folder: Path, data: bytes, quote: str = "") -> tuple[Boxes, Image.Image]:
    """The boxes of a quote (of all its text) on the first page, and the page's picture at a pixel for a point."""
    path = folder / "source"
    path.write_bytes(data)
    text = next(iter(read_pdf(path).pages)).text
    start = text.index(quote)
    boxes = await parser.boxes(path, 1, start, start + len(quote or text), text, out=folder)
    rendered = await parser.render(path, 1, round(boxes.width), folder)
    return boxes, Image.open(rendered.path).convert("L")


def ink(image: Image.Image) -> tuple[int, int, int, int] | None:
    """The box around all that is dark."""
    return ImageChops.invert(image).point(lambda value: 255 * (value > 100)).getbbox()


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
async def test_boxes_lie_around_the_words_however_the_page_is_turned(parser: IsolatedParser, tmp_path: Path, rotate: int) -> None:
    boxes, image = await places(parser, tmp_path, pdf_of(TEXT, rotate=rotate))
    assert (boxes.width, boxes.height) == ((612, 792) if rotate in {0, 180} else (792, 612))
    assert len(boxes.boxes) == 2
    for box in boxes.boxes:
        around = (int(box.left), int(box.top), int(box.right) + 1, int(box.bottom) + 1)
        assert ink(image.crop(around)) is not None
        image.paste(255, around)
    assert ink(image) is None, "nothing is written outside of the boxes"


async def test_box_of_a_word_is_no_wider_than_the_word(parser: IsolatedParser, tmp_path: Path) -> None:
    boxes, _ = await places(parser, tmp_path, pdf_of(TEXT), "harbour")
    [box] = boxes.boxes
    # "The " takes 22 points of Helvetica 11, "harbour" 39.
    assert (round(box.left, -1), round(box.right, -1), round(box.top, -1)) == (70, 110, 40)


async def test_word_that_a_hyphen_divides_has_a_box_on_each_line(parser: IsolatedParser, tmp_path: Path) -> None:
    """Its text goes on without a line end, and the second half lies below the first line's beginning."""
    boxes, _ = await places(parser, tmp_path, pdf_of("The ship sailed from the old har-\nbour of the town."))
    assert len(boxes.boxes) == 2
    assert all(box.bottom - box.top < 20 for box in boxes.boxes)


async def test_letters_below_one_another_have_their_column_as_box(parser: IsolatedParser, tmp_path: Path) -> None:
    """The text of such a page is put together again from its letters."""
    boxes, _ = await places(parser, tmp_path, pdf_of("\n".join("VERTICALTEXT")), "ICAL")
    [box] = boxes.boxes
    assert box.bottom - box.top > 3 * (box.right - box.left)


async def test_characters_beyond_the_first_plane_count_as_one(parser: IsolatedParser, tmp_path: Path) -> None:
    unicode = "begincmap 1 begincodespacerange <00> <ff> endcodespacerange 1 beginbfchar <41> <D83DDE00> endbfchar endcmap"
    content = "BT /F1 11 Tf 50 740 Td (AAA ship) Tj ET"
    data = assemble(
        [
            "<< /Type /Catalog /Pages 2 0 R >>",
            "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
            f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>",
            f"<< /Length {len(unicode)} >>\nstream\n{unicode}\nendstream",
        ]
    )
    boxes, _ = await places(parser, tmp_path, data, "ship")
    assert next(iter(read_pdf(tmp_path / "source").pages)).text.startswith("😀😀😀")
    [box] = boxes.boxes
    assert round(box.left, -1) == 80  # after three letters A of 7.3 points and a space


async def test_quote_of_an_older_reading_is_found_by_its_words(parser: IsolatedParser, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(pdf_of(TEXT))
    old = "Another beginning. The  harbour was quiet."
    start = old.index("harbour")
    found = await parser.boxes(tmp_path / "source", 1, start, start + 7, old, out=tmp_path)
    assert [round(box.left, -1) for box in found.boxes] == [70]
    nothing = await parser.boxes(tmp_path / "source", 1, 0, 7, old, out=tmp_path)
    assert nothing.boxes == []


async def test_quote_read_by_ocr_takes_its_part_of_the_line(parser: IsolatedParser, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(encoded(Image.new("RGB", (400, 200)), "PNG"))
    lines = [(0, 10, 0.1, 0.1, 0.6, 0.2), (11, 21, 0.1, 0.3, 0.6, 0.4)]
    found = await parser.boxes(tmp_path / "source", 1, 5, 21, "0123456789\n0123456789", out=tmp_path, lines=lines)
    assert (found.width, found.height) == (400, 200)
    assert [(round(box.left), box.top, round(box.right), box.bottom) for box in found.boxes] == [
        (140, 20, 240, 40),
        (40, 60, 240, 80),
    ]


@pytest.mark.parametrize(
    ("data", "width", "size"),
    [
        (pdf_of("x"), 306, (306, 396)),
        (pdf_of("x"), 2400, (2152, 2785)),  # six million pixels
        (encoded(picture("x", size=(800, 200)), "PNG"), 400, (400, 100)),
        (encoded(picture("x", size=(800, 200)), "PNG"), 2000, (800, 200)),
    ],
)
async def test_picture_is_as_wide_as_asked_and_never_too_large(
    parser: IsolatedParser, tmp_path: Path, data: bytes, width: int, size: tuple[int, int]
) -> None:
    (tmp_path / "source").write_bytes(data)
    rendered = await parser.render(tmp_path / "source", 1, width, tmp_path)
    with Image.open(rendered.path) as image:
        assert image.format == "WEBP"
        assert image.size == (rendered.width, rendered.height)
        assert abs(image.width - size[0]) <= 2
        assert abs(image.height - size[1]) <= 2


async def test_text_has_no_places_and_no_looks(parser: IsolatedParser, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"Only words.")
    with pytest.raises(ParseFailed) as boxes:
        await parser.boxes(tmp_path / "source", 1, 0, 4, "Only words.", out=tmp_path)
    with pytest.raises(ParseFailed) as image:
        await parser.render(tmp_path / "source", 1, 100, tmp_path)
    assert (boxes.value.code, image.value.code) == ("no_boxes", "no_image")


async def test_place_of_a_quote_in_millions_of_characters_holds_up_nobody(parser: IsolatedParser, tmp_path: Path) -> None:
    """Through the host's pipe they took five seconds, in which it did nothing else."""
    (tmp_path / "source").write_bytes(b"Only words.")
    async with asyncio.timeout(3):
        with pytest.raises(ParseFailed):
            await parser.boxes(tmp_path / "source", 1, 0, 4, "é" * 4_000_000, out=tmp_path)


# Through the service ---------------------------------------------------------------------------------------------


async def test_stored_document_can_be_looked_at_until_it_is_deleted(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    upload = await send(wire, storage, pdf_of(TEXT), "log.pdf")
    await status_is(db, upload, DocumentStatus.EMBEDDING)
    about = {"workspace_id": upload.workspace_id, "document_id": upload.document_id}

    found = await requests.ask("rpc.ingest.v1.page.boxes", GetBoxes(**about, number=1, start=4, end=30), Boxes, timeout=20)
    assert len(found.boxes) == 2
    with pytest.raises(RequestFailed) as caught:
        await requests.ask("rpc.ingest.v1.page.boxes", GetBoxes(**about, number=1, start=4, end=3000), Boxes, timeout=20)
    assert caught.value.code == "invalid"

    render = RenderPage(**about, number=1, width=300)
    first = await requests.ask("rpc.ingest.v1.page.render", render, RenderedPage, timeout=20)
    again = await requests.ask("rpc.ingest.v1.page.render", render, RenderedPage, timeout=20)
    assert first == again
    assert first.object_key == f"{upload.workspace_id}/{upload.document_id}/rendered-1-1-300.webp"
    assert (await storage.stat(first.object_key)).content_type == first.content_type == "image/webp"

    units = await requests.ask("rpc.ingest.v1.unit.list", ListUnits(**about), Units)
    assert (units.items, units.more) == ([], False)
    assert units.extractor is not None
    assert len(units.text_hash or "") == 64

    deletion = DeleteDocument(**about, deleted_by=uuid4())
    await requests.ask("rpc.ingest.v1.document.delete", deletion, DocumentRemoved)

    async def gone() -> bool:
        return await storage.keys(f"{upload.workspace_id}/{upload.document_id}/") == []

    await wait_until(gone, seconds=SECONDS, what="file and picture are gone from the object store")
    with pytest.raises(NotFound):
        await requests.ask("rpc.ingest.v1.page.render", render, RenderedPage, timeout=20)


async def test_headings_of_a_text_are_listed_in_order(
    db: Database, wire: Wire, storage: ObjectStorage, requests: RequestClient
) -> None:
    data = b"# Harbour\n\nQuiet.\n\n## Ships\n\nOld.\n\n# Sea\n\nWide.\n"
    upload = await send(wire, storage, data, "log.md")
    await status_is(db, upload, DocumentStatus.EMBEDDING)
    about = {"workspace_id": upload.workspace_id, "document_id": upload.document_id}
    found = await requests.ask("rpc.ingest.v1.unit.list", ListUnits(**about), Units)
    assert [(unit.label, unit.level) for unit in found.items] == [("Harbour", 1), ("Ships", 2), ("Sea", 1)]
    rest = await requests.ask("rpc.ingest.v1.unit.list", ListUnits(**about, after=found.items[0].ordinal), Units)
    assert rest.items == found.items[1:]
    elsewhere = ListUnits(workspace_id=uuid4(), document_id=upload.document_id)
    with pytest.raises(NotFound):
        await requests.ask("rpc.ingest.v1.unit.list", elsewhere, Units)


async def test_files_at_hand_are_fetched_once_and_the_oldest_go_first(storage: ObjectStorage, tmp_path: Path) -> None:
    uploads = [uploaded(data=bytes([number]) * 1000) for number in range(3)]
    for number, upload in enumerate(uploads):
        await store(storage, upload, bytes([number]) * 1000)
    cache = FileCache(storage, WorkFolder(tmp_path), max_bytes=2000)
    keys = [upload.object_key for upload in uploads]
    async with cache.file(keys[0]) as first:
        async with cache.file(keys[1]), cache.file(keys[2]):
            assert first.read_bytes() == bytes(1000)
        assert len(list(first.parent.iterdir())) == 2, "the one in use stays"
        async with cache.file(keys[0]) as again:
            assert again == first
    folder = first.parent
    await cache.close()
    assert not folder.exists()


class _FullDisk(ObjectStorage):
    """The bytes come, and then there is no room for the rest."""

    def __init__(self) -> None:
        """Without a server."""

    async def download(self, key: str, path: Path) -> None:
        path.with_name(f"{path.name}.etag.part.minio").write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")


async def test_file_that_could_not_be_fetched_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    cache = FileCache(_FullDisk(), WorkFolder(tmp_path), max_bytes=2000)
    with pytest.raises(OSError, match="No space"):
        async with cache.file("key"):
            pass
    (folder,) = await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    assert await asyncio.to_thread(lambda: list(folder.iterdir())) == []
