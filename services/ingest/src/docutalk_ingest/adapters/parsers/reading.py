"""From a file to pages: the right reader for what the file really is, or a reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from docutalk_common import content_type as kinds

from docutalk_ingest.adapters.parsers.delimited import read_delimited
from docutalk_ingest.adapters.parsers.docx import read_docx
from docutalk_ingest.adapters.parsers.encrypted_office import is_encrypted_package, read_encrypted_package, read_old_workbook
from docutalk_ingest.adapters.parsers.epub import read_epub
from docutalk_ingest.adapters.parsers.html import read_html
from docutalk_ingest.adapters.parsers.image import MEDIA_TYPES as IMAGES
from docutalk_ingest.adapters.parsers.image import read_image
from docutalk_ingest.adapters.parsers.json_text import read_json, read_jsonl
from docutalk_ingest.adapters.parsers.mail import read_mail
from docutalk_ingest.adapters.parsers.ods import read_ods
from docutalk_ingest.adapters.parsers.odt import read_odt
from docutalk_ingest.adapters.parsers.pdf import read_pdf
from docutalk_ingest.adapters.parsers.pptx import read_pptx
from docutalk_ingest.adapters.parsers.rtf import read_rtf
from docutalk_ingest.adapters.parsers.text import read_markdown, read_text
from docutalk_ingest.adapters.parsers.xlsx import read_xlsx
from docutalk_ingest.domain import ParsedDocument, ParseFailed

Reader = Callable[[Path, str | None], ParsedDocument]
"""Takes the file and the password it may need."""

_READERS: dict[str, Reader] = {
    kinds.PDF: read_pdf,
    kinds.DOCX: read_docx,
    kinds.PPTX: read_pptx,
    kinds.XLSX: read_xlsx,
    kinds.XLSB: read_xlsx,
    kinds.XLS: read_old_workbook,
    kinds.ODT: read_odt,
    kinds.ODP: read_odt,
    kinds.ODS: read_ods,
    "application/vnd.oasis.opendocument.graphics": read_odt,
    kinds.RTF: read_rtf,
    kinds.EPUB: read_epub,
    kinds.EMAIL: lambda path, password: read_mail(path, password, attached=read_document),
    kinds.HTML: read_html,
    kinds.MARKDOWN: read_markdown,
    kinds.PLAIN: read_text,
    kinds.CSV: read_delimited,
    kinds.TSV: read_delimited,
    kinds.JSON: read_json,
    kinds.JSONL: read_jsonl,
    **dict.fromkeys(IMAGES, read_image),
}
_SUPPORTED = (
    "PDF, images, Word, Excel, PowerPoint and OpenDocument files, RTF, EPUB, e-mails, web pages, Markdown, text, CSV and JSON"
)
_UNSUPPORTED: dict[str, tuple[str, str]] = {
    kinds.DOC: ("an old Word document (.doc)", "Save it as .docx or PDF and upload that."),
    kinds.PPT: ("an old PowerPoint presentation (.ppt)", "Save it as .pptx or PDF and upload that."),
    kinds.OLE: (
        "an old Office file",
        "Save it in the present form of its program (.docx, .xlsx, .pptx) or as PDF and upload that.",
    ),
    kinds.ZIP: ("a ZIP archive", "Unpack it and upload the files in it."),
    "application/gzip": ("a gzip archive", "Unpack it and upload the files in it."),
    "application/x-7z-compressed": ("a 7z archive", "Unpack it and upload the files in it."),
    "application/vnd.rar": ("a RAR archive", "Unpack it and upload the files in it."),
    "application/x-elf": ("a program", f"Supported are {_SUPPORTED}."),
}


def read_document(path: Path, filename: str, password: str | None = None) -> tuple[str, ParsedDocument]:
    """The media type of a file, by its content, and its pages.

    `empty`, `unsupported_type`, `encrypted`, `wrong_password`, and what the readers say.
    """
    if path.stat().st_size == 0:
        raise ParseFailed("empty", "The file is empty: it holds no bytes. Check the original and upload it again.")
    media_type = kinds.detect_file(path, filename)
    if kinds.is_ole(path) and is_encrypted_package(path):
        return read_encrypted_package(path, password)
    reader = _READERS.get(media_type)
    if reader is None:
        raise _unsupported(path, filename, media_type)
    return media_type, reader(path, password)


def _unsupported(path: Path, filename: str, media_type: str) -> ParseFailed:
    suffix = Path(filename).suffix.lower()
    if media_type == kinds.ZIP and suffix in {".docx", ".xlsx", ".xlsb", ".pptx", ".odt", ".ods", ".odp", ".epub"}:
        return ParseFailed("damaged", f"The {suffix} file is damaged or incomplete and cannot be opened. Save it again.")
    if media_type.startswith("image/"):
        found = f"an image ({media_type.removeprefix('image/').upper()})"
        advice = "Save it as JPEG or PNG and upload that."
    elif media_type in _UNSUPPORTED:
        found, advice = _UNSUPPORTED[media_type]
    else:
        return ParseFailed("unsupported_type", f"What kind of file this is cannot be told. Supported are {_SUPPORTED}.")
    named = f"The file is named {suffix} but is {found}" if _mislabelled(suffix, media_type) else f"The file is {found}"
    return ParseFailed("unsupported_type", f"{named}, which is not supported yet. {advice}")


_SUFFIX_KINDS = {
    ".pdf": kinds.PDF,
    ".docx": kinds.DOCX,
    ".xlsx": kinds.XLSX,
    ".pptx": kinds.PPTX,
    ".odt": kinds.ODT,
    ".epub": kinds.EPUB,
    ".rtf": kinds.RTF,
    ".html": kinds.HTML,
    ".md": kinds.MARKDOWN,
    ".txt": kinds.PLAIN,
    ".csv": kinds.CSV,
    ".json": kinds.JSON,
    ".jpg": kinds.JPEG,
    ".png": kinds.PNG,
}


def _mislabelled(suffix: str, media_type: str) -> bool:
    return suffix in _SUFFIX_KINDS and _SUFFIX_KINDS[suffix] != media_type
