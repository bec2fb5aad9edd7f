"""The AsyncAPI document: whole, true to the table of streams, and watchful of breaking changes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docutalk_common import asyncapi
from docutalk_common.messaging.streams import DURABLES, REQUESTS, STREAMS

DOCS = Path(__file__).parents[3] / "docs"

Json = dict[str, Any]


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_committed_documents_are_those_of_the_code() -> None:
    assert asyncapi.main([str(DOCS), "--check"]) == 0, "run `python -m docutalk_common.asyncapi`"


def test_every_reference_leads_somewhere() -> None:
    document = asyncapi.document()
    found = set(references(document))
    assert found
    for reference in found:
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_durable_request_and_stream_of_the_table_is_there() -> None:
    document = asyncapi.document()
    operations = document["operations"]
    for entry in DURABLES:
        operation = operations[f"{entry.service}.receive.{entry.name}"]
        assert operation["action"] == "receive"
        assert operation["x-durable"]["durable"] == entry.name
    for request in REQUESTS:
        assert operations[f"{request.service}.answer.{request.subject}"]["reply"]
        for asker in request.askers:
            assert operations[f"{asker}.ask.{request.subject}"]["action"] == "send"
    assert set(document["x-streams"]) == {stream.name for stream in STREAMS}


def test_every_message_has_a_sender() -> None:
    document = asyncapi.document()
    sent = {operation["channel"]["$ref"] for operation in document["operations"].values() if operation["action"] == "send"}
    for name, channel in document["channels"].items():
        if channel["address"] is not None:
            assert f"#/channels/{name}" in sent


def test_work_for_embed_is_sent_by_ingest_only() -> None:
    operations = asyncapi.document()["operations"]
    assert [name for name in operations if name.endswith(".send.embed.chunks.index.v1")] == ["ingest.send.embed.chunks.index.v1"]


def remove_channel(document: Json) -> None:
    del document["channels"]["gateway.document.uploaded.v1"]


def remove_field(document: Json) -> None:
    del document["components"]["schemas"]["DocumentUploaded"]["properties"]["sha256"]


def require_new_field(document: Json) -> None:
    schema = document["components"]["schemas"]["DocumentUploaded"]
    schema["properties"]["colour"] = {"type": "string"}
    schema["required"].append("colour")


def change_type(document: Json) -> None:
    document["components"]["schemas"]["DocumentUploaded"]["properties"]["size"] = {"type": "string"}


def require_old_field(document: Json) -> None:
    document["components"]["schemas"]["DocumentUploaded"]["required"].append("version")


def drop_enum_value(document: Json) -> None:
    document["components"]["schemas"]["DocumentStatus"]["enum"].remove("ready")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (remove_channel, "the channel gateway.document.uploaded.v1 was removed"),
        (remove_field, "DocumentUploaded.sha256 was removed"),
        (require_new_field, "DocumentUploaded.colour is new and required"),
        (require_old_field, "DocumentUploaded.version is now required"),
        (change_type, "DocumentUploaded.size has another type"),
        (drop_enum_value, "DocumentStatus has other values"),
    ],
)
def test_breaking_change_is_told(change: Callable[[Json], None], told: str) -> None:
    old = asyncapi.document()
    new = copy.deepcopy(old)
    change(new)
    assert asyncapi.breaking_changes(old, new) == [told]


def test_new_optional_field_and_new_words_break_nothing() -> None:
    old = asyncapi.document()
    new = copy.deepcopy(old)
    schema = new["components"]["schemas"]["DocumentUploaded"]
    schema["properties"]["colour"] = {"type": "string", "default": "blue"}
    schema["properties"]["size"]["description"] = "bytes"
    schema["description"] = "other words"
    new["channels"]["gateway.document.renamed.v1"] = {"address": "x"}
    assert asyncapi.breaking_changes(old, new) == []


def test_drift_fails_the_check_and_a_breaking_change_is_not_written_unless_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asyncapi.main([str(tmp_path), "--check"]) == 1
    assert asyncapi.main([str(tmp_path)]) == 0
    assert asyncapi.main([str(tmp_path), "--check"]) == 0
    committed = json.loads((tmp_path / "asyncapi.json").read_text("utf-8"))
    committed["components"]["schemas"]["DocumentUploaded"]["properties"]["gone"] = {"type": "string"}
    (tmp_path / "asyncapi.json").write_text(json.dumps(committed), "utf-8")
    assert asyncapi.main([str(tmp_path)]) == 1
    assert "DocumentUploaded.gone was removed" in capsys.readouterr().err
    assert asyncapi.main([str(tmp_path), "--allow-breaking"]) == 0
    assert asyncapi.main([str(tmp_path), "--check"]) == 0


@pytest.mark.parametrize(
    ("pattern", "subject", "covers"),
    [
        ("evt.>", "evt.a.b", True),
        ("evt.>", "evt", False),
        ("a.*.c", "a.b.c", True),
        ("a.*.c", "a.b.d", False),
        ("a.b", "a.b.c", False),
        ("a.b", "a.*", False),
    ],
)
def test_pattern_covers_a_subject_as_nats_has_it(pattern: str, subject: str, covers: bool) -> None:
    assert asyncapi.matches(pattern, subject) is covers
