"""Names, ranges, ids: what needs no server."""

from __future__ import annotations

import pytest
from docutalk_gateway.api.byte_range import ByteRange, RangeNotSatisfiable, parse_range
from docutalk_gateway.api.sse import ServerEvent, last_event_id
from docutalk_gateway.domain import clean_filename, key_extension
from docutalk_gateway.settings import GatewaySettings
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\report.pdf", "report.pdf"),
        ("a\x00b\r\n.pdf", "ab.pdf"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("", "unnamed"),
        ("..", "unnamed"),
        ("dir/", "unnamed"),
        ("e\u0301.txt", "\u00e9.txt"),
        ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
        ("lone \ud800 half", "lone ? half"),
    ],
)
def test_filename_is_cleaned(raw: str, clean: str) -> None:
    assert clean_filename(raw) == clean


@given(st.text())
def test_no_filename_keeps_a_path_or_a_control_character(raw: str) -> None:
    clean = clean_filename(raw)
    assert 1 <= len(clean) <= 255
    assert not set(clean) & set("/\\\x00\r\n")
    assert clean not in {".", ".."}
    assert clean.encode()
    assert clean_filename(clean) == clean


@pytest.mark.parametrize(("name", "extension"), [("a.PDF", ".pdf"), ("a", ""), ("a.b c", ""), ("a.tar.gz", ".gz"), ("a.ü", "")])
def test_object_key_gets_a_plain_extension(name: str, extension: str) -> None:
    assert key_extension(name) == extension


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, ByteRange(0, 10, whole=True)),
        ("bytes=0-3", ByteRange(0, 4)),
        ("bytes=4-", ByteRange(4, 6)),
        ("bytes=-3", ByteRange(7, 3)),
        ("bytes=-30", ByteRange(0, 10)),
        ("bytes=8-99", ByteRange(8, 2)),
        ("bytes=0-1,4-5", ByteRange(0, 10, whole=True)),
        ("bytes=5-2", ByteRange(0, 10, whole=True)),
        ("lines=1-2", ByteRange(0, 10, whole=True)),
        ("bytes=-", ByteRange(0, 10, whole=True)),
    ],
)
def test_range_of_ten_bytes(header: str | None, wanted: ByteRange) -> None:
    assert parse_range(header, 10) == wanted


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_range_outside_is_refused(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, 10)


@pytest.mark.parametrize(
    ("header", "sequence"), [("7", 7), ("", None), (None, None), ("-1", None), ("x", None), ("9" * 30, None)]
)
def test_last_event_id_that_is_not_ours_is_ignored(header: str | None, sequence: int | None) -> None:
    assert last_event_id(header) == sequence


def test_event_is_written_as_the_standard_says() -> None:
    assert ServerEvent("delta", b'{"text":"a"}', 5).encode() == b'id: 5\nevent: delta\ndata: {"text":"a"}\n\n'


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("", []),
        ("https://a.example, https://b.example", ["https://a.example", "https://b.example"]),
        ('["https://a.example"]', ["https://a.example"]),
    ],
)
def test_cors_origins_are_read_as_a_list(value: str, origins: list[str]) -> None:
    settings = GatewaySettings(
        postgres_dsn=SecretStr("postgresql://a@b/c"),
        nats_user="gateway",
        nats_password=SecretStr("x"),
        s3_access_key="x",
        s3_secret_key=SecretStr("x"),
        jwt_secret=SecretStr("x" * 32),
        cors_origins=value,
    )
    assert settings.cors_origin_list == origins
