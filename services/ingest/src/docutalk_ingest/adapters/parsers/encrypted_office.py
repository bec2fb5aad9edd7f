"""Office files under a password: opened in memory with the password, then read like any other.

A modern file (DOCX, XLSX, PPTX) lies encrypted inside of an old container; an old workbook is encrypted in place.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from xml.parsers.expat import ExpatError

import olefile
from docutalk_common import content_type as kinds
from msoffcrypto.exceptions import DecryptionError, FileFormatError, InvalidKeyError, ParseError
from msoffcrypto.format.ooxml import OOXMLFile
from msoffcrypto.format.xls97 import Xls97File

from docutalk_ingest.adapters.parsers.docx import read_docx
from docutalk_ingest.adapters.parsers.pptx import read_pptx
from docutalk_ingest.adapters.parsers.xlsx import read_xls, read_xlsx
from docutalk_ingest.domain import ParsedDocument, ParseFailed

_READERS: dict[str, Callable[[BinaryIO], ParsedDocument]] = {
    kinds.DOCX: read_docx,
    kinds.PPTX: read_pptx,
    kinds.XLSX: read_xlsx,
    kinds.XLSB: read_xlsx,
}
_WITHOUT_ASKING = "VelvetSweatshop"
"""Excel protects a workbook against changes with this password and opens it without asking, and so does everyone else."""
_MAX_PASSWORD = 255
"""What Office takes at most, in characters."""
_BROKEN = (
    DecryptionError, FileFormatError, ParseError, ExpatError, OSError, ValueError, KeyError, IndexError, TypeError,
    AttributeError, AssertionError, struct.error,
)  # fmt: skip


def is_encrypted_package(path: Path) -> bool:
    """Whether an old container holds a modern file under a password."""
    try:
        with olefile.OleFileIO(path) as ole:
            return bool(ole.exists("EncryptedPackage"))
    except (OSError, ValueError, IndexError, struct.error):
        return False


def read_encrypted_package(path: Path, password: str | None = None) -> tuple[str, ParsedDocument]:
    """The media type of the file inside and its pages. `encrypted` without a password, `wrong_password`, `damaged`."""
    plain = _decrypted(path, password, old=False)
    media_type = _kind(plain)
    if media_type not in _READERS:
        raise ParseFailed(
            "unsupported_type", "What the protected Office file holds is no Word document, workbook or presentation."
        )
    return media_type, _READERS[media_type](plain)


def read_old_workbook(path: Path, password: str | None = None) -> ParsedDocument:
    """An XLS, opened with the password when it has one. `encrypted`, `wrong_password`, `damaged`."""
    try:
        return read_xls(path)
    except ParseFailed as failure:
        if failure.code != "encrypted":
            raise
    return read_xls(_decrypted(path, password, old=True))


def _decrypted(path: Path, password: str | None, *, old: bool) -> BinaryIO:
    """The file without its protection. In memory, as large as the file: nothing readable is left behind on disk."""
    with path.open("rb") as file:
        try:
            key = (password or _WITHOUT_ASKING)[:_MAX_PASSWORD]
            plain = io.BytesIO()
            if old:
                workbook = Xls97File(file)
                workbook.load_key(password=key)
                workbook.decrypt(plain)
            else:
                package = OOXMLFile(file)
                package.load_key(password=key, verify_password=True)
                package.decrypt(plain)
        except InvalidKeyError as error:
            raise _refused(password) from error
        except _BROKEN as error:
            raise ParseFailed(
                "damaged",
                "The Office file is protected in a way that cannot be opened, or damaged. "
                "Remove the protection and upload it again.",
            ) from error
    plain.seek(0)
    return plain


def _refused(password: str | None) -> ParseFailed:
    if password is None:
        return ParseFailed("encrypted", "The Office file is protected by a password. Retry the document with its password.")
    return ParseFailed("wrong_password", "The password does not open the Office file. Retry the document with the right one.")


def _kind(plain: BinaryIO) -> str:
    try:
        with zipfile.ZipFile(plain) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return kinds.UNKNOWN
    finally:
        plain.seek(0)
    for folder, media_type in (("word/", kinds.DOCX), ("xl/", kinds.XLSX), ("ppt/", kinds.PPTX)):
        if any(name.startswith(folder) for name in names):
            return media_type
    return kinds.UNKNOWN
