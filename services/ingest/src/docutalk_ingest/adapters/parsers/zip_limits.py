"""What a ZIP file may unpack to, looked at before anything is unpacked."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from docutalk_ingest.domain import ParseFailed

MAX_UNPACKED = 500 * 1024 * 1024
MAX_ENTRIES = 10_000
MAX_RATIO = 200
"""Real documents stay under 100; a bomb of zeros reaches 1,000. Only looked at above 10 MB, where it begins to matter."""
_RATIO_FROM = 10 * 1024 * 1024


def open_zip(path: Path, what: str) -> zipfile.ZipFile:
    """Opens the container of an office document. `damaged`, `too_large_unpacked`, `encrypted`."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise ParseFailed(
            "damaged", f"The {what} is damaged or incomplete and cannot be opened. Save it again and upload that."
        ) from error
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    too_dense = unpacked > _RATIO_FROM and unpacked > MAX_RATIO * max(packed, 1)
    if len(entries) > MAX_ENTRIES or unpacked > MAX_UNPACKED or too_dense:
        raise ParseFailed(
            "too_large_unpacked",
            f"The {what} would unpack to {unpacked // 1_000_000:,} MB in {len(entries):,} parts, more than is accepted.",
        )
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise ParseFailed("encrypted", f"The {what} is protected by a password. Remove the protection and upload it again.")
    return archive


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of one entry, at most as many as its header admits. `damaged`."""
    try:
        entry = archive.getinfo(name)
        with archive.open(entry) as file:
            # A header may lie about the size: the cap holds for what is really unpacked.
            data = file.read(entry.file_size + 1)
    except (KeyError, zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError, RuntimeError, zlib.error) as error:
        raise ParseFailed("damaged", f"A part of the file ({name}) is missing or damaged. Save it again.") from error
    if len(data) > entry.file_size:
        raise ParseFailed("damaged", f"A part of the file ({name}) is larger than it says. Save it again and upload that.")
    return data
