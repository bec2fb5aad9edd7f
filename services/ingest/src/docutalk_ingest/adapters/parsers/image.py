"""Images by Pillow: each frame of a TIFF is a page, of every other kind the first frame. Their text is read by OCR later."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from docutalk_common import content_type as kinds
from docutalk_common.contracts.ingest import DocumentMetadata
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from docutalk_ingest.domain import MAX_PAGES, ParsedDocument, ParsedPage, ParseFailed, freeze

MEDIA_TYPES = (kinds.PNG, kinds.JPEG, kinds.TIFF, kinds.WEBP, kinds.GIF, kinds.BMP, kinds.AVIF)
MAX_PIXELS = 89_478_485
"""Of one frame: what Pillow takes for the limit of sense, 256 MiB as three bytes a pixel."""
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "AVIF")
_GLANCE = (256, 256)
_DATE = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)")
_WHITE = (255, 255, 255)


def read_image(path: Path, password: str | None = None) -> ParsedDocument:
    """A page without text for each frame, all of them for OCR. `damaged`, `image_too_large`, `too_many_pages`."""
    del password  # images have none
    with _opened(path) as image:
        count = _frames(image)
        if count > MAX_PAGES:
            raise ParseFailed("too_many_pages", f"The image has {count:,} pages; {MAX_PAGES:,} are supported. Split it.")
        metadata = _metadata(image)
        # JPEG is decoded at an eighth of its size for this.
        image.draft("RGB", _GLANCE)
        image.load()
    return ParsedDocument(pages=_pages(count), page_count=count, metadata=metadata)


def load_frame(path: Path, number: int = 1, *, at_least: tuple[int, int] | None = None) -> Image.Image:
    """The frame (from 1) upright, in RGB, on white where it is transparent. A large JPEG may come smaller, but not smaller than
    `at_least` (width, height). `damaged`, `image_too_large`.
    """
    with _opened(path) as image:
        if number > 1:
            image.seek(number - 1)
            _check_size(image)
        if at_least is not None:
            image.draft("RGB", (max(at_least), max(at_least)))  # the sides may change places yet
        image.load()
        upright = ImageOps.exif_transpose(image)
        return _flat(upright if upright is not None else image)


def frame_size(path: Path, number: int = 1) -> tuple[int, int]:
    """Width and height of the upright frame in pixels, without decoding it."""
    with _opened(path) as image:
        if number > 1:
            image.seek(number - 1)
        width, height = image.size
        # 5 to 8 lie on their side.
        return (height, width) if image.getexif().get(ExifTags.Base.Orientation, 1) >= 5 else (width, height)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `_check_size` is stricter
            with Image.open(path, formats=_FORMATS) as image:
                _check_size(image)
                yield image
    except Image.DecompressionBombError as error:
        raise _too_large("with too many pixels") from error
    except MemoryError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError) as error:
        raise ParseFailed(
            "damaged", "The image is damaged or incomplete and cannot be decoded. Save it again and upload that."
        ) from error


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(f"of {image.width:,} × {image.height:,} pixels")


def _too_large(found: str) -> ParseFailed:
    return ParseFailed(
        "image_too_large",
        f"It is an image {found}; {MAX_PIXELS / 1e6:.0f} million pixels are supported. Save it smaller and upload that.",
    )


def _frames(image: Image.Image) -> int:
    """Counted one by one and no further than needed: a directory of frames can be as long as the file."""
    if image.format != "TIFF":
        return 1
    count = 1
    with contextlib.suppress(EOFError):
        while count <= MAX_PAGES:
            image.seek(count)
            _check_size(image)
            count += 1
    image.seek(0)
    return count


def _pages(count: int) -> Iterator[ParsedPage]:
    for number in range(1, count + 1):
        yield ParsedPage(str(number), "", needs_ocr=True)


def _flat(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in {"I", "F"}:
        image = image.convert("F")
        low, high = cast(tuple[float, float], image.getextrema())
        scale = 255 / ((high - low) or 1)
        image = image.point(lambda value: value * scale - low * scale).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, _WHITE)
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image.convert("RGB")


def _metadata(image: Image.Image) -> DocumentMetadata:
    exif = image.getexif()
    details = exif.get_ifd(ExifTags.IFD.Exif)

    def value(tag: ExifTags.Base) -> str | None:
        found = exif.get(tag)
        return freeze(found).strip()[:500] or None if isinstance(found, str) else None

    return DocumentMetadata(
        title=value(ExifTags.Base.ImageDescription),
        author=value(ExifTags.Base.Artist),
        created_at=_date(details.get(ExifTags.Base.DateTimeOriginal)),
        modified_at=_date(exif.get(ExifTags.Base.DateTime)),
    )


def _date(text: object) -> datetime | None:
    match = _DATE.match(text) if isinstance(text, str) else None
    if match is None:
        return None
    try:
        return datetime(*(int(part) for part in match.groups()), tzinfo=UTC)  # type: ignore[arg-type, misc]
    except ValueError:
        return None
