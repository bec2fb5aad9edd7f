"""A ZIP archive that somebody sent, read where it lies in the object store (APPNOTE.TXT 6.3.10, as far as it is needed).

`zipfile` wants a file to seek in: a copy of what may have many gigabytes, on the disk of a container, which is memory. It also
believes what cannot be: names that are there twice, entries that lie over each other, a directory of any size.
"""

from __future__ import annotations

import asyncio
import hashlib
import stat
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError
from typing import cast

from docutalk_common.errors import DependencyUnavailable
from docutalk_common.storage import ObjectStorage

from docutalk_gateway.domain import ArchiveRefused

STORED, DEFLATED = 0, 8
# About a hundred bytes an entry, and three times as many in memory.
DIRECTORY_MAX = 32 << 20
NAME_MAX = 200
PIECE = 1 << 20
# So many bytes are rather read and dropped than left out by another request.
NEARBY = 4 << 20
# Below it another thread costs more than the work.
INLINE_MAX = 64 << 10

_LOCAL = Struct("<4sHHHHHIIIHH")
_CENTRAL = Struct("<4sBBHHHHHIIIHHHHHII")
_END = Struct("<4sHHHHIIH")
_END_64 = Struct("<4sQHHIIQQQQ")
_LOCATOR_64 = Struct("<4sIQI")
_TAIL = _END_64.size + _LOCATOR_64.size + _END.size
_UNKNOWN_32 = 0xFFFFFFFF
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
# How hard it was compressed, that sizes come after the data, that names are UTF-8: all that says nothing about the content.
_HARMLESS = 0x0006 | 0x0008 | 0x0800
_UNIX = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in the archive, as the directory tells: its header begins at `offset`, `packed` and `size` are in bytes."""

    name: str
    offset: int
    packed: int
    size: int
    crc: int
    method: int
    flags: int


class _Cursor:
    """An object that is read on from one place. A request for each piece would be slow, and far too much for a server that hashes
    the whole object for each of them, as the embedded one does."""

    def __init__(self, storage: ObjectStorage, key: str) -> None:
        self._storage = storage
        self._key = key
        self._stream: AsyncGenerator[bytes, None] | None = None
        self._pending = bytearray()
        self._position = 0

    def reaches(self, offset: int) -> bool:
        """Whether that is here, or a little further on."""
        return self._stream is not None and 0 <= offset - self._position <= len(self._pending) + NEARBY

    async def take(self, offset: int, length: int) -> bytes:
        """The bytes from there on; fewer where the object ends."""
        if not self.reaches(offset):
            await self._open(offset)
        needed = offset - self._position + length
        while len(self._pending) < needed and (piece := await self._next()):
            self._pending += piece
        found = bytes(self._pending[needed - length : needed])
        del self._pending[:needed]
        self._position += needed
        return found

    async def _next(self) -> bytes:
        assert self._stream is not None
        try:
            return await anext(self._stream, b"")
        except DependencyUnavailable:
            # A server does not keep a response for ever that nobody reads on.
            pending = bytes(self._pending)
            await self._open(self._position, after=pending)
            return await anext(self._stream, b"")

    async def _open(self, offset: int, *, after: bytes = b"") -> None:
        await self.aclose()
        following = self._storage.iterate(self._key, offset=offset + len(after), chunk_size=PIECE)
        self._stream = cast("AsyncGenerator[bytes, None]", following)
        self._pending, self._position = bytearray(after), offset

    async def aclose(self) -> None:
        """Ends the request."""
        if self._stream is not None:
            await self._stream.aclose()
            self._stream = None


class StoredZip:
    """An archive with its directory. Raises `ArchiveRefused` for whatever is not as it should be."""

    def __init__(self, storage: ObjectStorage, key: str, size: int) -> None:
        self._size = size
        # Records tell of files: both are read on, in turns.
        self._cursors = [_Cursor(storage, key) for _ in range(2)]
        self.entries: dict[str, Entry] = {}

    async def aclose(self) -> None:
        """Ends what is being read."""
        for cursor in self._cursors:
            await cursor.aclose()

    @classmethod
    async def open(cls, storage: ObjectStorage, key: str, size: int, *, expects: Callable[[str], bool]) -> StoredZip:
        """Reads the directory; one name that `expects` does not know, and the archive is refused."""
        archive = cls(storage, key, size)
        await archive._read_directory(expects)
        return archive

    async def read(self, entry: Entry, digest: hashlib._Hash | None = None) -> AsyncIterator[bytes]:
        """The content, at most `PIECE` bytes at a time, and into `digest`. Refused, maybe only at the end, when size or checksum
        are not those of the directory; more than one byte beyond the size is never unpacked."""
        position = await self._content_at(entry)
        unpacking = _Unpacking(entry, digest)
        left = entry.packed
        while left:
            packed = await self._bytes(position, min(left, PIECE))
            position += len(packed)
            left -= len(packed)
            while packed:
                large = len(packed) > INLINE_MAX
                piece, packed = await asyncio.to_thread(unpacking.next, packed) if large else unpacking.next(packed)
                if piece:
                    yield piece
        unpacking.finish()

    async def _content_at(self, entry: Entry) -> int:
        name_length: int
        extra_length: int
        header = await self._bytes(entry.offset, _LOCAL.size)
        signature, _, flags, method, _, _, _, _, _, name_length, extra_length = _LOCAL.unpack(header)
        name = await self._bytes(entry.offset + _LOCAL.size, name_length) if name_length <= NAME_MAX else b""
        if (signature, flags, method, name) != (b"PK\x03\x04", entry.flags, entry.method, entry.name.encode()):
            raise ArchiveRefused(f"{entry.name} is not what the archive's directory says.")
        return entry.offset + _LOCAL.size + name_length + extra_length

    async def _bytes(self, offset: int, length: int) -> bytes:
        if offset + length > self._size:
            raise ArchiveRefused("The archive is not whole: it ends too early.")
        oldest, latest = self._cursors
        if not latest.reaches(offset):
            self._cursors = [latest, oldest]
        found = await self._cursors[1].take(offset, length)
        if len(found) < length:
            raise ArchiveRefused("The archive is not whole: it ends too early.")
        return found

    # The directory ----------------------------------------------------------------------------------------------

    async def _read_directory(self, expects: Callable[[str], bool]) -> None:
        count, size, offset = await self._find_directory()
        if size > DIRECTORY_MAX:
            raise ArchiveRefused(f"The archive's directory has {size} bytes; at most {DIRECTORY_MAX} are read.")
        position, free_from = offset, 0
        while position < offset + size:
            entry, length = await self._directory_entry(position, offset + size)
            if not expects(entry.name):
                raise ArchiveRefused(f"{entry.name!r} is nothing that a workspace's archive holds.")
            if entry.name in self.entries:
                raise ArchiveRefused(f"{entry.name} is in the archive twice.")
            end = entry.offset + _LOCAL.size + len(entry.name) + entry.packed
            if not free_from <= entry.offset < end <= offset:
                raise ArchiveRefused(f"{entry.name} lies over another part of the archive.")
            free_from = end
            self.entries[entry.name] = entry
            position += length
            if len(self.entries) % 500 == 0:
                await asyncio.sleep(0)  # others have their turn
        if position != offset + size or len(self.entries) != count:
            raise ArchiveRefused("The archive's directory is damaged.")

    async def _find_directory(self) -> tuple[int, int, int]:
        """How many entries it has, its size and where it begins. It ends where the end of the archive begins."""
        if self._size < _END.size:
            raise ArchiveRefused("This is no ZIP archive.")
        tail = await self._bytes(max(0, self._size - _TAIL), min(_TAIL, self._size))
        signature, disk, first_disk, here, count, size, offset, comment = _END.unpack(tail[-_END.size :])
        if signature != b"PK\x05\x06":
            raise ArchiveRefused("This is no ZIP archive, or it is not whole: its end is missing.")
        end_at = self._size - _END.size
        if len(tail) == _TAIL and tail[_END_64.size :].startswith(b"PK\x06\x07"):
            end_at = self._size - _TAIL
            _, _, record_at, _ = _LOCATOR_64.unpack(tail[_END_64.size : -_END.size])
            signature, _, _, _, disk, first_disk, here, count, size, offset = _END_64.unpack(tail[: _END_64.size])
            if (signature, record_at) != (b"PK\x06\x06", end_at):
                raise ArchiveRefused("The archive's end is damaged.")
        if (disk, first_disk, here, comment) != (0, 0, count, 0) or offset + size != end_at:
            raise ArchiveRefused("The archive's end is damaged.")
        return count, size, offset

    async def _directory_entry(self, position: int, end: int) -> tuple[Entry, int]:
        if position + _CENTRAL.size > end:
            raise ArchiveRefused("The archive's directory is damaged.")
        fields = _CENTRAL.unpack(await self._bytes(position, _CENTRAL.size))
        signature, _, system, _, flags, method, _, _, crc, packed, size = fields[:11]
        name_length, extra_length, comment_length, disk, _, attributes, offset = fields[11:]
        if signature != b"PK\x01\x02" or position + _CENTRAL.size + name_length + extra_length > end:
            raise ArchiveRefused("The archive's directory is damaged.")
        if name_length > NAME_MAX or comment_length or disk:
            raise ArchiveRefused("The archive holds something that no workspace's archive does.")
        rest = await self._bytes(position + _CENTRAL.size, name_length + extra_length)
        try:
            name = rest[:name_length].decode("ascii")
            size, packed, offset = _long_fields(rest[name_length:], size, packed, offset)
        except (UnicodeDecodeError, StructError):
            raise ArchiveRefused("The archive's directory is damaged.") from None
        _refuse_special(name, system=system, flags=flags, method=method, attributes=attributes)
        return Entry(name, offset, packed, size, crc, method, flags), _CENTRAL.size + len(rest)


def _refuse_special(name: str, *, system: int, flags: int, method: int, attributes: int) -> None:
    if flags & _ENCRYPTED:
        raise ArchiveRefused(f"{name!r} is encrypted. Import an archive without a password.")
    if flags & ~_HARMLESS or method not in {STORED, DEFLATED}:
        raise ArchiveRefused(f"{name!r} is packed in a way that is not read here.")
    if system == _UNIX and stat.S_IFMT(attributes >> 16) not in {0, stat.S_IFREG}:
        raise ArchiveRefused(f"{name!r} is a link, a folder or a device, and no file.")


def _long_fields(extra: bytes, *fields: int) -> list[int]:
    """Size, packed size and offset, each from the ZIP64 part of `extra` when it does not fit into 32 bits."""
    header, number = Struct("<HH"), Struct("<Q")
    while extra:
        kind, length = header.unpack_from(extra)
        if kind == 1:
            place = header.size
            found = list(fields)
            for index, field in enumerate(fields):
                if field == _UNKNOWN_32:
                    [found[index]] = number.unpack_from(extra[: header.size + length], place)
                    place += number.size
            return found
        extra = extra[header.size + length :]
    return list(fields)


class _Unpacking:
    """One entry on its way out of the archive."""

    def __init__(self, entry: Entry, digest: hashlib._Hash | None) -> None:
        self._entry = entry
        self._digest = digest
        self._inflating = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == DEFLATED else None
        self._size = 0
        self._crc = 0

    def next(self, packed: bytes) -> tuple[bytes, bytes]:
        """A piece, and what of `packed` comes after it."""
        piece, rest = packed, b""
        if self._inflating is not None:
            try:
                piece = self._inflating.decompress(packed, min(PIECE, self._entry.size - self._size + 1))
            except zlib.error:
                raise self._damaged() from None
            rest = self._inflating.unconsumed_tail
            if self._inflating.unused_data:
                raise self._damaged()
        self._size += len(piece)
        if self._size > self._entry.size:
            raise ArchiveRefused(f"{self._entry.name} is larger than the archive says.")
        self._crc = zlib.crc32(piece, self._crc)
        if self._digest is not None:
            self._digest.update(piece)
        return piece, rest

    def finish(self) -> None:
        """Raises `ArchiveRefused` unless all of it came, and nothing else."""
        ended = self._inflating is None or self._inflating.eof
        if not ended or self._size != self._entry.size or self._crc != self._entry.crc:
            raise self._damaged()

    def _damaged(self) -> ArchiveRefused:
        return ArchiveRefused(f"{self._entry.name} is damaged.")
