"""The committed OpenAPI document is that of the routes, and changes that break callers are found."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docutalk_gateway.api.compatibility import breaking_changes
from docutalk_gateway.openapi import document, write

COMMITTED = Path(__file__).parent.parent / "docs" / "openapi.json"
V1 = "/api/v1"
ONE = f"{V1}/workspaces/{{workspace_id}}/documents/{{document_id}}"


@pytest.fixture(scope="module")
def current() -> str:
    """The document of the routes as they are. Making it takes most of a second."""
    return document()


def test_committed_document_is_current_and_nothing_in_it_was_broken(current: str) -> None:
    old, new = json.loads(COMMITTED.read_text(encoding="utf-8")), json.loads(current)
    assert breaking_changes(old, new) == []
    assert old == new, "run: python -m docutalk_gateway.openapi docs/openapi.json"


def _schema(name: str) -> Callable[[Any], Any]:
    return lambda d: d["components"]["schemas"][name]


CHANGES: list[tuple[str, Callable[[Any], Any], str]] = [
    ("a path goes", lambda d: d["paths"].pop(ONE), f"{ONE} is gone"),
    ("a method goes", lambda d: d["paths"][ONE].pop("delete"), f"DELETE {ONE} is gone"),
    ("a parameter goes", lambda d: d["paths"][f"{V1}/workspaces"]["get"]["parameters"].pop(), "the parameter per_page is gone"),
    ("an answer goes", lambda d: d["paths"][ONE]["get"]["responses"].pop("200"), "the answer 200 is gone"),
    ("a field of an answer goes", lambda d: _schema("Document")(d)["properties"].pop("sha256"), ".sha256 is gone"),
    (
        "a field of an answer may be missing",
        lambda d: _schema("Document")(d)["required"].remove("size"),
        ".size may now be missing",
    ),
    (
        "a field of an answer changes its type",
        lambda d: _schema("Document")(d)["properties"]["size"].update(type="string"),
        ".size may now",
    ),
    (
        "a field of a request becomes required",
        lambda d: _schema("ChatRequest")(d)["required"].append("topic"),
        ".topic is now required",
    ),
    ("a field of a request goes", lambda d: _schema("SearchRequest")(d)["properties"].pop("mode"), ".mode is gone"),
    ("a value of a request goes", lambda d: _schema("SearchMode")(d)["enum"].remove("hybrid"), "does not take hybrid"),
    (
        "a new parameter is required",
        lambda d: d["paths"][ONE]["get"]["parameters"].append({"name": "x", "in": "query", "required": True, "schema": {}}),
        "the parameter x is now required",
    ),
]


@pytest.mark.parametrize(("change", "told"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_change_that_breaks_callers_is_found(current: str, change: Callable[[Any], Any], told: str) -> None:
    old, new = json.loads(current), json.loads(current)
    change(new)
    assert any(told in found for found in breaking_changes(old, new)), breaking_changes(old, new)


def test_additions_break_nobody(current: str) -> None:
    old, new = json.loads(current), json.loads(current)
    new["paths"]["/api/v1/new"] = copy.deepcopy(new["paths"][ONE])
    new["components"]["schemas"]["Document"]["properties"]["language"] = {"type": "string"}
    new["components"]["schemas"]["ChatRequest"]["properties"]["tone"] = {"type": "string"}
    assert breaking_changes(old, new) == []


def test_document_that_breaks_callers_is_not_written_over_the_old_one(
    current: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "openapi.json"
    richer = json.loads(current)
    richer["paths"]["/api/v1/gone"] = richer["paths"][ONE]
    file.write_text(json.dumps(richer))
    assert write(file, breaking=False) == 1
    assert "/api/v1/gone is gone" in capsys.readouterr().err
    assert json.loads(file.read_text()) == richer
    assert write(file, breaking=True) == 0
    assert file.read_text() == current
