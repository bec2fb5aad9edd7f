"""The multipart reader, whatever pieces the network cuts a form into."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from docutalk_gateway.api.multipart import boundary_of, read_parts
from docutalk_gateway.domain import MalformedUpload
from hypothesis import given, settings
from hypothesis import strategies as st

BOUNDARY = b"-bound"
CONTENT_TYPE = "multipart/form-data; boundary=-bound"

Field = tuple[str, str | None, bytes]


def form(fields: Sequence[Field], *, closed: bool = True) -> bytes:
    """A form as a browser writes it."""
    out = b""
    for name, filename, value in fields:
        disposition = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
        out += b"--" + BOUNDARY + b"\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n" + value + b"\r\n"
    return out + (b"--" + BOUNDARY + b"--\r\n" if closed else b"")


async def cut(data: bytes, sizes: Sequence[int]) -> AsyncIterator[bytes]:
    """The data in pieces of these sizes, over and over."""
    position = turn = 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        yield data[position : position + size]
        position, turn = position + size, turn + 1


async def collect(data: bytes, sizes: Sequence[int] = (1 << 16,), content_type: str = CONTENT_TYPE) -> list[Field]:
    """Every part, whole."""
    return [
        (part.name, part.filename, b"".join([chunk async for chunk in part.chunks()]))
        async for part in read_parts(cut(data, sizes), content_type)
    ]


# Bytes that look like the beginnings of a boundary are what such parsers stumble over.
NASTY = (
    st.lists(
        st.sampled_from([b"\r\n", b"--", b"\r\n--", b"\r\n---bound", b"\r\n---boun", b"-bound", b"\r", b"\n", b"x", b"\x00\xff"]),
        max_size=12,
    )
    .map(b"".join)
    .filter(lambda value: b"\r\n--" + BOUNDARY not in b"\r\n" + value + b"\r\n--")
)


@settings(max_examples=300)
@given(
    values=st.lists(st.one_of(st.binary(max_size=200), NASTY), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
async def test_parts_come_out_as_they_went_in_wherever_the_form_is_cut(values: list[bytes], sizes: list[int]) -> None:
    clean = [value for value in values if b"\r\n--" + BOUNDARY not in b"\r\n" + value + b"\r\n--"]
    fields: list[Field] = [("file", f"{i}.bin", value) for i, value in enumerate(clean)]
    assert await collect(form(fields), sizes) == fields


async def test_parts_that_are_not_read_are_skipped() -> None:
    data = form([("file", "a", b"x" * 5000), ("auto_classify", None, b"false"), ("file", "b", b"")])
    names = [(part.name, part.filename) async for part in read_parts(cut(data, [7]), CONTENT_TYPE)]
    assert names == [("file", "a"), ("auto_classify", None), ("file", "b")]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [("ünïcode.pdf", "ünïcode.pdf"), ("a %22b%22.pdf", 'a "b".pdf'), ("a%0Ab", "a\nb"), ("100%.txt", "100%.txt")],
)
async def test_filename_is_read_as_browsers_write_it(sent: str, meant: str) -> None:
    assert (await collect(form([("file", sent, b"x")])))[0][1] == meant


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_form_that_ends_early_is_refused(size: int) -> None:
    data = form([("file", "a", b"x" * 300)])
    for length in range(0, len(data) - 4, 13):
        with pytest.raises(MalformedUpload, match="ended early"):
            await collect(data[:length], [size])


@pytest.mark.parametrize(
    "data",
    [
        b"no form at all",
        b"--other\r\n\r\n",
        b"---bound\r\nno colon\r\n\r\n",
        b"---bound\r\nContent-Type: text/plain\r\n\r\nx\r\n---bound--\r\n",
    ],
)
async def test_body_that_is_no_form_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedUpload):
        await collect(data)


@pytest.mark.parametrize("value", [None, "", "application/json", "multipart/form-data", "multipart/form-data; boundary="])
def test_request_that_announces_no_form_is_refused(value: str | None) -> None:
    with pytest.raises(MalformedUpload, match="multipart/form-data"):
        boundary_of(value)


async def test_boundary_that_is_too_long_is_refused() -> None:
    with pytest.raises(MalformedUpload):
        await collect(b"", content_type=f"multipart/form-data; boundary={'x' * 5000}")


async def test_endless_field_is_refused() -> None:
    data = form([("auto_classify", None, b"x" * 70_000)])
    part = await anext(read_parts(cut(data, [1000]), CONTENT_TYPE))
    with pytest.raises(MalformedUpload, match="longer"):
        await part.text()


async def test_source_is_asked_for_no_more_than_is_read() -> None:
    asked = 0
    data = form([("file", "a", b"x" * 100_000)])

    async def source() -> AsyncIterator[bytes]:
        nonlocal asked
        for start in range(0, len(data), 1000):
            asked += 1
            yield data[start : start + 1000]

    async for part in read_parts(source(), CONTENT_TYPE):
        async for _ in part.chunks():
            break
        assert asked <= 2
        break
