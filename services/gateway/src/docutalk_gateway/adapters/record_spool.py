"""Records set aside on disk while a workspace is exported."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from collections.abc import Iterator


class RecordSpool:
    """Lines of JSON, compressed: in a container the disk is memory. `size` and `sha256` are of the lines as they were added."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the spool
        self._packed = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=1)
        self._digest = hashlib.sha256()
        self.size = 0
        self.count = 0

    def add(self, record: bytes) -> None:
        """Appends a record, which holds no line break."""
        line = record + b"\n"
        self._packed.write(line)
        self._digest.update(line)
        self.size += len(line)
        self.count += 1

    @property
    def sha256(self) -> str:
        """In hexadecimal digits."""
        return self._digest.hexdigest()

    def records(self) -> Iterator[bytes]:
        """From the first one on. Nothing can be added any more."""
        with self._unpacked() as lines:
            for line in lines:
                yield line[:-1]

    def blocks(self, size: int) -> Iterator[bytes]:
        """All lines, `size` bytes at a time. Nothing can be added any more."""
        with self._unpacked() as lines:
            while block := lines.read(size):
                yield block

    def _unpacked(self) -> gzip.GzipFile:
        self._packed.close()
        self._file.seek(0)
        return gzip.GzipFile(fileobj=self._file, mode="rb")

    def close(self) -> None:
        """Frees the disk."""
        self._packed.close()
        self._file.close()
