"""A ZIP archive in the object store: read as `zipfile` reads it, or refused."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.settings import ServiceSettings
from docutalk_common.storage import ObjectStorage
from docutalk_gateway.adapters.stored_zip import DIRECTORY_MAX, NEARBY, PIECE, StoredZip
from docutalk_gateway.domain import ArchiveRefused
from docutalk_local.testing import TestStack
from stream_zip import NO_COMPRESSION_64, ZIP_64, stream_zip

from .portable import THEN, stored

MIB = 1 << 20


@pytest.fixture
async def storage(stack: TestStack) -> AsyncIterator[ObjectStorage]:
    found = ObjectStorage(ServiceSettings.from_environment(stack.service_environment("gateway")), threads=2)
    yield found
    found.close()


async def opened(storage: ObjectStorage, archive: bytes, **given: Any) -> StoredZip:
    key = await stored(storage, f"imports/{uuid4()}.zip", archive)
    return await StoredZip.open(storage, key, len(archive), **{"expects": lambda _: True, **given})


async def test_parts_are_read_in_turns(storage: ObjectStorage) -> None:
    files = {str(n): os.urandom(2 * MIB) for n in range(6)}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    archive = await opened(storage, target.getvalue())
    last = archive.read(archive.entries["5"])

    for name in ("0", "3", "1"):
        assert b"".join([piece async for piece in archive.read(archive.entries[name])]) == files[name]
        assert await anext(last, b"") in files["5"]
    await archive.aclose()


async def contents(archive: StoredZip) -> dict[str, bytes]:
    found = {}
    for entry in archive.entries.values():
        pieces = [piece async for piece in archive.read(entry)]
        assert all(0 < len(piece) <= PIECE for piece in pieces)
        found[entry.name] = b"".join(pieces)
    return found


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
async def test_files_of_any_size_are_read_in_pieces(storage: ObjectStorage, method: int) -> None:
    files = {"a": b"", "b": b"x", "c": os.urandom(NEARBY + PIECE + 7), "d": bytes(3 * PIECE), "e": b"the end" * 1000}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as made:
        for name, content in files.items():
            made.writestr(name, content)

    assert await contents(await opened(storage, target.getvalue())) == files


@pytest.mark.parametrize("method", [ZIP_64, NO_COMPRESSION_64])
async def test_fields_of_64_bits_are_read(storage: ObjectStorage, method: Any) -> None:
    files = {"a": b"one" * 1000, "b": b"", "c": os.urandom(2 * MIB)}
    members = ((name, THEN, 0o100644, method, [content]) for name, content in files.items())

    assert await contents(await opened(storage, b"".join(stream_zip(members)))) == files


async def test_more_files_than_16_bits_count_are_read(storage: ObjectStorage) -> None:
    names = [f"files/{uuid7()}/1.txt" for _ in range(70_000)]
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for name in names:
            made.writestr(name, b"")

    archive = await opened(storage, target.getvalue())

    assert list(archive.entries) == names


async def test_directory_of_a_million_names_is_refused_at_the_first_that_is_not_expected(storage: ObjectStorage) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for number in range(1000):
            made.writestr(str(number), b"")
    seen: list[str] = []

    def expects(name: str) -> bool:
        seen.append(name)
        return False

    with pytest.raises(ArchiveRefused):
        await opened(storage, target.getvalue(), expects=expects)
    assert seen == ["0"]


async def test_directory_that_is_too_large_is_not_read(storage: ObjectStorage) -> None:
    size = DIRECTORY_MAX + 1
    end = b"PK\x05\x06" + bytes(4) + b"\x01\x00\x01\x00" + size.to_bytes(4, "little") + bytes(4) + bytes(2)

    with pytest.raises(ArchiveRefused, match="at most"):
        await opened(storage, bytes(size) + end)


@pytest.mark.parametrize("change", [b"x", bytes(30)])
async def test_archive_with_something_after_its_end_is_refused(storage: ObjectStorage, change: bytes) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        made.writestr("a", b"x")

    with pytest.raises(ArchiveRefused):
        await opened(storage, target.getvalue() + change)
    with pytest.raises(ArchiveRefused):
        await opened(storage, change + target.getvalue())


async def test_data_after_the_end_of_a_compressed_file_is_refused(storage: ObjectStorage) -> None:
    # An entry that is all its packed bytes long, of which the stream is a few: the rest would be held as what was not used.
    made = b"".join(stream_zip([("a", THEN, 0o100644, ZIP_64, [b"text"])]))
    archive = await opened(storage, made)
    entry = archive.entries["a"]
    longer = type(entry)(entry.name, entry.offset, entry.packed + 10, entry.size, entry.crc, entry.method, entry.flags)

    with pytest.raises(ArchiveRefused, match="damaged"):
        [piece async for piece in archive.read(longer)]
