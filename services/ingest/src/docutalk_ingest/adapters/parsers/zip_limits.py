"""What a ZIP file may unpack to, looked at before anything is unpacked."""

from __future__ import annotations

import itertools
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from docutalk_ingest.domain import ParseFailed

MAX_UNPACKED = 500 * 1024 * 1024
MAX_ENTRIES = 10_000
MAX_RATIO = 200
"""Real documents stay under 100; a bomb of zeros reaches 1,000. Only looked at above 10 MB, where it begins to matter."""
_RATIO_FROM = 10 * 1024 * 1024
_LOCAL_HEADER = 30
_BLOCK = 1 << 20
_BROKEN = (
    KeyError,
    zipfile.BadZipFile,
    NotImplementedError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    zlib.error,
    struct.error,
)


def open_zip(source: Path | BinaryIO, what: str) -> zipfile.ZipFile:
    """Opens the container of an office document. `damaged`, `too_large_unpacked`, `encrypted`."""
    try:
        archive = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise ParseFailed(
            "damaged", f"The {what} is damaged or incomplete and cannot be opened. Save it again and upload that."
        ) from error
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    # Not what the entries say they take: a bomb lets a thousand of them share the same bytes.
    too_dense = unpacked > _RATIO_FROM and unpacked > MAX_RATIO * max(_size(source), 1)
    if len(entries) > MAX_ENTRIES or unpacked > MAX_UNPACKED or too_dense:
        raise ParseFailed(
            "too_large_unpacked",
            f"The {what} would unpack to {unpacked // 1_000_000:,} MB in {len(entries):,} parts, more than is accepted.",
        )
    if _overlap(entries):
        raise ParseFailed("damaged", f"The {what} is damaged: its parts lie over one another. Save it again and upload that.")
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise ParseFailed("encrypted", f"The {what} is protected by a password. Remove the protection and upload it again.")
    return archive


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of one entry, at most as many as its header admits. `damaged`."""
    return b"".join(blocks(archive, name))


def blocks(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    """The bytes of one entry, a megabyte at a time, at most as many as the directory admits. `damaged`."""
    try:
        with archive.open(name) as file:
            while block := file.read(_BLOCK):
                yield block
    except _BROKEN as error:
        raise ParseFailed("damaged", f"A part of the file ({name}) is missing or damaged. Save it again.") from error


def verify_sizes(archive: zipfile.ZipFile, names: Iterable[str]) -> None:
    """Unpacks entries once, keeping nothing, for a library that will unpack them itself however large they are. `damaged`.

    Python's own reader stops at the size that the directory tells, so that it would not see the lie.
    """
    for name in names:
        entry = archive.getinfo(name)
        try:
            size = _unpacked_size(archive, entry)
        except _BROKEN as error:
            raise ParseFailed("damaged", f"A part of the file ({name}) is missing or damaged. Save it again.") from error
        if size > entry.file_size:
            raise ParseFailed("damaged", f"A part of the file ({name}) is larger than it says. Save it again and upload that.")


def _unpacked_size(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """What an entry really unpacks to; no more is unpacked than it takes to exceed what it says."""
    if entry.compress_type == zipfile.ZIP_STORED:
        return entry.compress_size
    if entry.compress_type != zipfile.ZIP_DEFLATED or archive.fp is None:
        raise NotImplementedError(f"compression method {entry.compress_type}")
    file = archive.fp
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER)
    file.seek(entry.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", header[26:30])))
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    size, left = 0, entry.compress_size
    while size <= entry.file_size and not inflate.eof:
        packed = inflate.unconsumed_tail
        if not packed:
            packed = file.read(min(_BLOCK, left))
            left -= len(packed)
        block = inflate.decompress(packed, _BLOCK)
        size += len(block)
        if not block and not packed:
            break
    return size


def _size(source: Path | BinaryIO) -> int:
    if isinstance(source, Path):
        return source.stat().st_size
    source.seek(0, os.SEEK_END)
    return source.tell()


def _overlap(entries: list[zipfile.ZipInfo]) -> bool:
    """Directory entries of the same name and place are no bomb: some programs write one twice."""
    places = sorted({(entry.header_offset, entry.compress_size) for entry in entries})
    return any(following < offset + _LOCAL_HEADER + packed for (offset, packed), (following, _) in itertools.pairwise(places))
