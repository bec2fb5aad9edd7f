"""The `Range` header (RFC 9110, section 14), as far as it is of use: one range of bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from docutalk_gateway.domain import GatewayError

_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")


class RangeNotSatisfiable(GatewayError):
    """The range lies outside of the bytes."""

    code = "range_not_satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"The range lies outside of the {size} bytes.")
        self.size = size


@dataclass(frozen=True)
class ByteRange:
    """`length` bytes from `start`. `whole` when no range was asked for."""

    start: int
    length: int
    whole: bool = False


def parse_range(header: str | None, size: int) -> ByteRange:
    """What to send of `size` bytes. Several ranges, or another unit, are answered with everything, as the standard allows.

    Raises `RangeNotSatisfiable`.
    """
    match = _ONE_RANGE.fullmatch(header) if header else None
    if match is None or not (match[1] or match[2]):
        return ByteRange(0, size, whole=True)
    if not match[1]:
        length = min(int(match[2]), size)
        if length == 0:
            raise RangeNotSatisfiable(size)
        return ByteRange(size - length, length)
    start = int(match[1])
    end = min(int(match[2]), size - 1) if match[2] else size - 1
    if start >= size:
        raise RangeNotSatisfiable(size)
    if match[2] and int(match[2]) < start:
        return ByteRange(0, size, whole=True)
    return ByteRange(start, end - start + 1)
