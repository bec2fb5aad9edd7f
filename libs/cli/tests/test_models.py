"""The models command: what it lists, how it follows and steps a change, and how it shows two models side by side."""

from __future__ import annotations

import json
from typing import Any

import pytest
from docutalk_cli.commands.compare import Row, side_by_side

SERVING = {"name": "minilm", "provider": "built-in", "dimension": 384, "max_tokens": 256, "is_serving": True, "passages": 12_345}
OFFER = {"name": "better", "provider": "openai", "dimension": 1536, "max_tokens": 8191, "is_ready": True, "reason": None}


def _passage(chunk: str, page: int, *more: str) -> dict[str, Any]:
    text = f"What {chunk} says."
    passage = {"chunk_id": chunk, "chunk_ids": [chunk, *more], "filename": "report.pdf", "page": page, "text": text}
    return passage | {"highlights": [], "score": 0.5}


COMPARED = {
    "query": "sales",
    "before": [_passage("a", 1), _passage("b", 2), _passage("c", 3)],
    "after": [_passage("b", 2), _passage("x", 9), _passage("c+d", 3, "c", "d"), _passage("a", 1)],
    "overlap": 0.75,
    "before_ms": 12.3,
    "after_ms": 9.8,
}


def _changing(server: Any, **changes: Any) -> None:
    change = {"id": "c1", "from_model": "minilm", "to_model": "better", "state": "running", "reason": None}
    change |= {"passages_done": 1234, "passages_total": 10_000, "passages_per_second": 210.4, "eta_seconds": 41.7}
    server.changes = [change | {"ended_at": None} | changes]


@pytest.mark.parametrize("arguments", [(), ("list",)])
def test_models_are_listed_with_those_that_can_be_added(shell: Any, server: Any, arguments: tuple[str, ...]) -> None:
    away = [OFFER | {"name": name, "is_ready": False, "reason": f"Put {name} into a folder."} for name in ("small", "large")]
    server.models = {"items": [SERVING], "offers": [OFFER, *away]}
    result = shell("models", *arguments)
    assert result.stdout.splitlines() == [
        "model\tstate\tprovider\tdimension\ttokens\tpassages",
        "minilm\tserving\tbuilt-in\t384\t256\t12,345",
        "better\tcan be added\topenai\t1,536\t8,191\t–",
    ]
    assert result.stderr == "\nKnown, but not ready: small, large. Put small into a folder.\n"
    assert json.loads(shell("models", *arguments, "--json").stdout) == server.models


def test_model_is_added_with_what_was_said_and_removed_by_a_name_with_a_slash(shell: Any, server: Any) -> None:
    result = shell("models", "add", "org/better", "--provider", "openai", "--dimension", "8", "--query-prefix", "query: ")
    assert result.stdout.startswith("✓ org/better is registered (openai, 8 dimensions).")
    assert server.requests[-1] == (
        "POST",
        "admin/models",
        {"name": "org/better", "provider": "openai", "dimension": 8, "query_prefix": "query: "},
    )
    assert shell("models", "remove", "org/better", input="n\n").exit_code == 1
    assert shell("models", "remove", "org/better", input="y\n").stdout.endswith("org/better is removed.\n")
    assert server.requests[-1][:2] == ("DELETE", "admin/models/org/better")


def test_change_says_where_it_is_and_what_can_be_done_next(shell: Any, server: Any) -> None:
    started = shell("models", "change", "better")
    assert started.stdout == "minilm → better: running, 1,234 of 10,000 passages, 210/s, about 42 s left\n"
    assert "docutalk models status --follow" in started.stderr
    assert shell("models", "pause").stdout == "minilm → better: paused, 1,234 of 10,000 passages\n"
    server.changes[0]["reason"] = "The endpoint does not answer."
    assert shell("models", "resume").stdout.endswith("running, 1,234 of 10,000 passages, The endpoint does not answer.\n")
    assert json.loads(shell("models", "status", "--json").stdout) == {"change": server.changes[0]}


def test_change_is_followed_until_it_is_complete_and_then_switched(shell: Any, server: Any) -> None:
    server.becomes_next = [{"passages_done": 9_000}, {"state": "complete", "passages_done": 10_000}]
    result = shell("models", "change", "better", "--switch")
    assert result.exit_code == 0
    assert result.stdout == "minilm → better: switched, 10,000 of 10,000 passages\n"
    assert "docutalk models roll-back" in result.stderr
    assert server.requests[-1][1].endswith("/switch")


def test_switch_waits_for_a_document_that_came_at_the_last_moment(shell: Any, server: Any) -> None:
    server.becomes_next = [{"state": "complete"}]
    server.refused_steps = ["3 passages have no vector of better yet."]
    assert json.loads(shell("models", "change", "better", "--switch", "--json").stdout)["state"] == "switched"
    assert [path for method, path, _ in server.requests if path.endswith("/switch")] == [server.requests[-1][1]] * 2


def test_change_that_is_cancelled_while_it_is_followed_failed(shell: Any, server: Any) -> None:
    server.becomes_next = [{"state": "cancelled", "ended_at": "2026-01-02T03:04:05Z"}]
    result = shell("models", "change", "better", "--follow")
    assert (result.exit_code, result.stdout) == (1, "minilm → better: cancelled\n")


def test_step_without_an_open_change_says_how_to_begin_one(shell: Any, server: Any) -> None:
    _changing(server, state="finished", ended_at="2026-01-02T03:04:05Z")
    result = shell("models", "switch")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: No model is being changed. Begin with docutalk models change MODEL\n",
    )
    assert shell("models", "status").stdout == "minilm → better: finished\n"


def test_step_that_is_refused_gives_the_reason(shell: Any, server: Any) -> None:
    _changing(server)
    server.refused_steps = ["3 passages have no vector of better yet."]
    result = shell("models", "switch")
    assert (result.exit_code, result.stderr) == (1, "Error: 3 passages have no vector of better yet.\n")


@pytest.mark.parametrize("step", ["finish", "cancel"])
def test_vectors_are_dropped_only_after_a_yes(shell: Any, server: Any, step: str) -> None:
    _changing(server, state="switched")
    assert shell("models", step, input="n\n").exit_code == 1
    assert not any(path.endswith(step) for _, path, _ in server.requests)
    assert shell("models", step, "--yes").exit_code == 0
    assert server.requests[-1][1].endswith(step)


def test_passages_are_matched_by_what_they_share_and_their_way_is_told() -> None:
    rows = list(side_by_side(COMPARED))
    a, b, c = COMPARED["before"]  # type: ignore[misc]
    assert [(row.fate, row.movement) for row in rows] == [("▼3", "▲1"), ("▲1", "new"), ("=", "="), ("", "▼3")]
    assert rows[3] == Row(4, None, COMPARED["after"][3], "", "▼3")  # type: ignore[index]
    assert [row.before for row in rows[:3]] == [a, b, c]
    lost = list(side_by_side(COMPARED | {"after": []}))
    assert [(row.fate, row.movement) for row in lost] == [("gone", "")] * 3


def test_comparison_in_a_pipe_is_a_table_and_says_what_is_missing(shell: Any, server: Any) -> None:
    server.comparison = {"from_model": "minilm", "to_model": "better", "coverage": 0.83, "queries": [COMPARED]}
    result = shell("models", "compare", "sales", "-n", "4")
    assert result.stdout.splitlines() == [
        "query\trank\tbefore\tafter\tmovement\tfate of before",
        "sales\t1\treport.pdf, p. 1\treport.pdf, p. 2\t▲1\t▼3",
        "sales\t2\treport.pdf, p. 2\treport.pdf, p. 9\tnew\t▲1",
        "sales\t3\treport.pdf, p. 3\treport.pdf, p. 3\t=\t=",
        "sales\t4\t–\treport.pdf, p. 1\t▼3\t–",
    ]
    assert server.requests[-1][2] == {"queries": ["sales"], "limit": 4, "mode": "semantic"}
    assert shell("models", "compare", *["x"] * 21).exit_code == 2
