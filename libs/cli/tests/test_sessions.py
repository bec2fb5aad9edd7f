"""Conversations, their settings, and keys for other programs, as text, as JSON and as what the server is asked."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

FIRST = "01890000-0000-7000-8000-0000000000aa"
SECOND = "01900000-0000-7000-8000-0000000000bb"
CITATION = {"marker": 1, "version": 1, "filename": "report.pdf", "page": 2, "quote": "Net sales\nincreased 18 %"}
CITATION |= {"source_deleted_at": None, "source_changed_at": None}
QUESTION = {"role": "user", "text": "How much?", "selected_text": "these\nwords", "answering": None, "code": None, "reason": None}
ANSWER = {
    "role": "assistant",
    "text": "Net sales increased 18 %. [1]",
    "citations": [CITATION],
    "chosen": True,
    "stopped": False,
    "truncated": False,
    "model": "gpt-4.1-mini",
    "usage": {"input_tokens": 3120, "output_tokens": 85, "cost_usd": 0.00138},
    "markers_removed": 0,
    "rating": None,
}


def _session(key: str, title: str, **changes: Any) -> dict[str, Any]:
    times = {"created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:09:05Z"}
    return {"id": key, "title": title, "hit": None, **times} | changes


@pytest.fixture
def sessions(server: Any) -> list[dict[str, Any]]:
    """Two conversations, the last used one first."""
    server.sessions = [_session(FIRST, "How much?"), _session(SECOND, "Who?")]
    server.messages = [QUESTION, ANSWER]
    return list(server.sessions)


def _said(result: Any) -> str:
    return " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.usefixtures("sessions")
def test_conversations_are_listed_the_last_used_first(shell: Any) -> None:
    head, first, second = shell("sessions", "list").stdout.splitlines()
    assert head == "conversation\tlast used\tid"
    assert re.fullmatch(rf"How much\?\t2026-01-0\d \d\d:\d\d\t{FIRST}", first)
    assert second.endswith(SECOND)
    assert len(shell("sessions", "list", "-n", "1").stdout.splitlines()) == 2


def test_search_in_conversations_tells_where_the_words_stand(shell: Any, server: Any) -> None:
    hit = {"message_id": SECOND, "role": "assistant", "snippet": "net sales\nincreased"}
    server.sessions = [_session(FIRST, "How much?", hit=hit), _session(SECOND, "Who?")]
    lines = shell("sessions", "list", "--search", "much").stdout.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("How much?: …net sales increased…\t")
    assert json.loads(shell("sessions", "list", "--json").stdout) == {"sessions": server.sessions}


@pytest.mark.usefixtures("sessions")
def test_terminal_lists_the_beginnings_of_ids_which_are_as_good_as_ids(shell: Any, terminal: Any) -> None:
    running = terminal("sessions", "list")
    assert running.code() == 0
    assert "01890000-0000" in running.screen
    assert FIRST not in running.screen
    assert FIRST in shell("sessions", "show", "01890000-0000").stdout


@pytest.mark.parametrize("name", [FIRST, "0189", "How much?", "last"])
@pytest.mark.usefixtures("sessions")
def test_conversation_is_shown_with_its_answers_and_where_they_stand(shell: Any, name: str) -> None:
    title, when, *rest = shell("sessions", "show", name).stdout.splitlines()
    assert title == "How much?"
    assert when.endswith(FIRST)
    assert rest == [
        "",
        "  | these",
        "  | words",
        "> How much?",
        "",
        "Net sales increased 18 %. [1]",
        "",
        '[1] report.pdf, p. 2: "Net sales increased 18 %"',
        "",
        "gpt-4.1-mini · 3,120 tokens in, 85 out · $0.0014",
    ]


def test_conversation_says_what_became_of_its_questions_and_answers(shell: Any, server: Any) -> None:
    failed = QUESTION | {"selected_text": None, "code": "timeout", "reason": "The model did not answer."}
    waiting = QUESTION | {"selected_text": None, "answering": FIRST}
    odd = ANSWER | {"citations": [], "usage": None, "chosen": False, "stopped": True, "markers_removed": 2, "rating": -1}
    server.sessions, server.messages = [_session(FIRST, "How much?")], [failed, odd, waiting]
    assert shell("sessions", "show", "last").stdout.splitlines()[3:] == [
        "> How much?",
        "There is no answer: The model did not answer.",
        "",
        "Net sales increased 18 %. [1]",
        "",
        "Another answer was chosen.",
        "The answer was stopped.",
        "2 citations of the model were not supported and were taken out.",
        "You rated it bad.",
        "",
        "> How much?",
        "It is being answered.",
    ]
    shown = json.loads(shell("sessions", "show", "last", "--json").stdout)
    assert shown == {"session": server.sessions[0], "messages": server.messages}


def test_conversation_is_renamed(shell: Any, server: Any, sessions: list[dict[str, Any]]) -> None:
    assert shell("sessions", "rename", "last", "Sales").stdout == "How much? is called Sales now.\n"
    assert server.sessions[0]["title"] == "Sales"
    assert json.loads(shell("sessions", "rename", "Sales", "Net sales", "--json").stdout) == server.sessions[0]


def test_conversations_are_deleted_after_a_yes(shell: Any, server: Any, sessions: list[dict[str, Any]]) -> None:
    refused = shell("sessions", "delete", "last", "Who?", input="n\n")
    assert refused.exit_code == 1
    assert "Delete the conversations last, Who??" in refused.stderr
    assert server.sessions == sessions
    assert shell("sessions", "delete", "last", "nobody's", "--yes").exit_code == 1
    assert server.sessions == sessions
    assert shell("sessions", "delete", "last", FIRST, "--yes").stdout == "1 conversation deleted.\n"
    assert server.sessions == sessions[1:]
    assert json.loads(shell("sessions", "delete", "last", "-y", "--json").stdout) == {"session_ids": [SECOND]}


def test_conversation_is_exported_to_standard_output_or_into_a_file(
    shell: Any, server: Any, sessions: list[dict[str, Any]]
) -> None:
    assert shell("sessions", "export", "last").stdout == "# How much?\n"
    exported = {"session": sessions[0], "messages": server.messages}
    assert json.loads(shell("sessions", "export", "last", "--json").stdout) == exported
    result = shell("sessions", "export", "last", "--format", "json", "-o", "talk.json")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "How much? is in talk.json now.\n")
    assert json.loads((shell.folder / "talk.json").read_text(encoding="utf-8")) == exported
    missing = Path("none") / "talk.md"
    result = shell("sessions", "export", "last", "-o", str(missing))
    assert (result.exit_code, result.stderr) == (1, f"Error: No such file or directory: {missing}\n")


def test_title_of_two_conversations_asks_for_an_id(shell: Any, server: Any) -> None:
    server.sessions = [_session(FIRST, "Same"), _session(SECOND, "Same")]
    result = shell("sessions", "show", "Same")
    assert (result.exit_code, result.stderr) == (
        1,
        f"Error: 'Same' may be any of 2 conversations. Give the id: {FIRST}, {SECOND}\n",
    )


HOSTILE = "before\x1b]0;PWNED\x07\x9b2J\r\x7f after"
MARKED = "before\ufffd]0;PWNED"


def _hold_hostile(server: Any) -> None:
    document = {"id": FIRST, "filename": "report.pdf"}
    citation = CITATION | {"filename": HOSTILE, "quote": HOSTILE}
    answer = ANSWER | {"text": HOSTILE, "citations": [citation], "model": HOSTILE}
    whole = answer | {"response": HOSTILE, "session_id": FIRST}
    start = {"answer_id": FIRST, "message_id": FIRST, "session_id": FIRST, "restarted": False}
    server.answer = [(1, "start", start), (2, "delta", {"text": HOSTILE}), (3, "done", whole)]
    server.sessions = [_session(FIRST, HOSTILE, hit={"snippet": HOSTILE})]
    server.messages = [QUESTION | {"text": HOSTILE, "selected_text": HOSTILE, "code": "internal", "reason": HOSTILE}, answer]
    passage = {"filename": HOSTILE, "page": 2, "text": HOSTILE, "highlights": [], "score": 0.5, "scores": {}}
    server.search = {"results": [passage], "took_ms": 1.0, "model": "minilm", "next": None}
    server.chat_settings = {"model": HOSTILE, "temperature": None, "passages": None}
    server.chat_models |= {"items": [HOSTILE]}
    server.documents = {FIRST: document}


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", "How much?"),
        ("search", "after"),
        ("sessions", "list"),
        ("sessions", "show", "last"),
        ("sessions", "export", "last"),
        ("sessions", "rename", "last", "Sales"),
        ("chat-settings",),
        ("chat-settings", "--models"),
    ],
)
def test_terminal_does_not_obey_what_a_document_or_a_model_says(
    shell: Any, terminal: Any, server: Any, arguments: tuple[str, ...]
) -> None:
    _hold_hostile(server)
    piped = shell(*arguments).output
    assert MARKED in piped
    assert re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f]", piped) == []
    _hold_hostile(server)
    running = terminal(*arguments)
    assert running.code() == 0
    assert "after" in running.screen
    assert re.findall("\x1b]|[\x07\x7f-\x9f]", running.screen) == []


def test_json_says_the_same_without_a_character_that_a_terminal_would_obey(shell: Any, server: Any) -> None:
    _hold_hostile(server)
    shown = {"session": server.sessions[0], "messages": server.messages}
    expected = {("sessions", "show", "last"): shown, ("sessions", "export", "last"): shown, ("ask", "x"): server.answer[-1][2]}
    for arguments, said in expected.items():
        result = shell(*arguments, "--json")
        assert json.loads(result.stdout) == said
        assert re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f]", result.stdout) == []


def test_settings_of_answers_are_shown_changed_and_taken_back(shell: Any, server: Any) -> None:
    assert shell("chat-settings").stdout.splitlines() == [
        "model        small (the installation's own)",
        "temperature  the installation's own",
        "passages     the installation's own",
    ]
    changed = shell("chat-settings", "--model", "large", "--temperature", "0", "--passages", "12")
    assert changed.stdout.splitlines() == ["model        large", "temperature  0.0", "passages     12"]
    taken_back = shell("chat-settings", "--default", "model", "--default", "passages", "--temperature", "1", "--json")
    assert json.loads(taken_back.stdout) == {"model": None, "temperature": 1.0, "passages": None}
    assert [body for method, _, body in server.requests if method == "PATCH"] == [
        {"model": "large", "temperature": 0.0, "passages": 12},
        {"model": None, "temperature": 1.0, "passages": None},
    ]


def test_models_are_listed_with_a_star_at_the_one_that_answers(shell: Any, server: Any) -> None:
    assert shell("chat-settings", "--models").stdout == "small *\nlarge\n"
    server.chat_settings["model"] = "large"
    server.chat_models["complete"] = False
    result = shell("chat-settings", "--models")
    assert (result.stdout, result.stderr.split(".")[0]) == ("small\nlarge *\n", "openai does not tell its models at the moment")
    assert json.loads(shell("chat-settings", "--models", "--json").stdout) == server.chat_models


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "x", "--default", "model"), "give either --model or --default model"),
        (("--models", "--passages", "3"), "list the models, or change something"),
        (("--default", "prompt"), "'model', 'temperature', 'passages'"),
        (("--temperature", "3"), "less than or equal to 2"),
    ],
)
def test_settings_that_make_no_sense_are_a_wrong_command_line(
    shell: Any, server: Any, arguments: tuple[str, ...], said: str
) -> None:
    result = shell("chat-settings", *arguments)
    assert result.exit_code == 2
    assert said in _said(result)
    assert server.requests == []


def test_key_is_printed_once_with_the_addresses_for_other_programs(shell: Any, server: Any) -> None:
    result = shell("keys", "create", "ci")
    assert result.stdout == "dtk_secret\n"
    assert "not shown again" in result.stderr
    assert f"{server.url}/v1\n" in result.stderr
    assert f"{server.url}/mcp\n" in result.stderr
    assert server.requests[-1] == ("POST", "users/me/api-keys", {"name": "ci"})
    assert "dtk_secret" not in shell("keys", "list").output
    created = json.loads(shell("keys", "create", "ci", "--json").stdout)
    assert (created["key"], created["urls"]) == ("dtk_secret", {"openai": f"{server.url}/v1", "mcp": f"{server.url}/mcp"})


def test_key_ends_after_a_while_or_with_a_day(shell: Any, server: Any) -> None:
    assert shell("keys", "create", "ci", "--expires", "90d").exit_code == 0
    left = datetime.fromisoformat(server.keys[-1]["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=90, minutes=-5) < left <= timedelta(days=90)
    shell("keys", "create", "ci", "--expires", "2126-12-31")
    assert datetime.fromisoformat(server.keys[-1]["expires_at"]).astimezone() == datetime(2127, 1, 1).astimezone()


@pytest.mark.parametrize("when", ["2020-01-01", "soon", "0d"])
def test_key_that_would_have_ended_is_a_wrong_command_line(shell: Any, server: Any, when: str) -> None:
    result = shell("keys", "create", "ci", "--expires", when)
    assert result.exit_code == 2
    assert "is no time to come" in _said(result)
    assert server.requests == []


def test_keys_are_listed_with_their_ends_and_revoked_by_what_names_them(shell: Any, server: Any) -> None:
    key = {"created_at": "2026-01-02T03:04:05Z", "last_used_at": None, "scopes": ["documents:read", "search"]}
    server.keys = [
        key | {"id": FIRST, "name": "ci", "hint": "dtk_aaaa", "expires_at": None},
        key | {"id": SECOND, "name": "old", "hint": "dtk_bbbb", "expires_at": "2020-01-02T03:04:05Z"},
        key | {"id": SECOND[:-1] + "c", "name": "old", "hint": "dtk_cccc", "expires_at": None},
    ]
    assert json.loads(shell("keys", "list", "--json").stdout) == {"api_keys": server.keys}
    head, first, second, _ = shell("keys", "list").stdout.splitlines()
    assert head == "name\tkey\tmay\tcreated\texpires\tlast used\tid"
    assert re.fullmatch(rf"ci\tdtk_aaaa\tdocuments:read, search\t2026-01-0\d \d\d:\d\d\tnever\tnever\t{FIRST}", first)
    assert "\texpired 2020-01-0" in second
    result = shell("keys", "revoke", "old")
    assert (result.exit_code, "may be any of 2 keys. Give the id: " in result.stderr) == (1, True)
    assert shell("keys", "revoke", "dtk_bbbb").stdout == "old is revoked.\n"
    assert shell("keys", "revoke", "old").exit_code == 0
    assert json.loads(shell("keys", "revoke", "0189", "--json").stdout) == {"id": FIRST}
    assert server.keys == []
    result = shell("keys", "revoke", "ci")
    assert (result.exit_code, result.stderr) == (1, "Error: There is no key 'ci'. docutalk keys list shows them.\n")
