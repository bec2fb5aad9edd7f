"""Asking: an answer as it comes, with what is told beside it; answered again, and stopped."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

SESSION = "01890000-0000-7000-8000-0000000000aa"
ANSWER = "01890000-0000-7000-8000-0000000000bb"
QUESTION = "01890000-0000-7000-8000-0000000000cc"
DOCUMENT = "01890000-0000-7000-8000-000000000001"
CITATION = {
    "marker": 1,
    "document_id": DOCUMENT,
    "version": 1,
    "filename": "report.pdf",
    "page": 2,
    "start": 0,
    "end": 20,
    "quote": "Net sales\nincreased 18 %",
    "source_deleted_at": None,
    "source_changed_at": None,
}
WHOLE = {
    "response": "Net sales increased 18 %. [1]",
    "session_id": SESSION,
    "message_id": ANSWER,
    "timestamp": "2026-01-02T03:04:05Z",
    "supported": True,
    "citations": [CITATION],
    "model": "gpt-4.1-mini",
    "usage": {"input_tokens": 3120, "output_tokens": 85, "cost_usd": 0.00138},
    "markers_removed": 0,
    "stopped": False,
    "truncated": False,
}
FRAMES: list[tuple[int, str, dict[str, Any]]] = [
    (1, "start", {"answer_id": ANSWER, "message_id": ANSWER, "session_id": SESSION, "restarted": False}),
    (2, "delta", {"text": "Net sales "}),
    (3, "delta", {"text": "increased 18 %. [1]"}),
    (4, "citation", CITATION),
    (5, "done", WHOLE),
]
STOPPED = WHOLE | {"response": "Net sales ", "stopped": True, "usage": None}
STOP = ("POST", f"workspaces/{DOCUMENT}/chat/sessions/{SESSION}/messages/{ANSWER}/stop", {})


def _plain(screen: str) -> str:
    """What a terminal shows: without colours, and with one blank where a line was broken."""
    return " ".join(re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", screen).split())


def _answering(server: Any, **changes: Any) -> None:
    server.answer = [*FRAMES[:4], (5, "done", WHOLE | changes)]


def test_ask_prints_the_answer_and_then_where_it_stands(shell: Any, server: Any) -> None:
    server.answer = FRAMES
    server.sessions = [{"id": SESSION, "title": "Sales"}]
    for name in (SESSION, SESSION[:-1], "Sales", "last"):
        result = shell("ask", "How much?", "--session", name)
        assert result.exit_code == 0
        assert (result.stdout, result.stderr) == (
            'Net sales increased 18 %. [1]\n\n[1] report.pdf, p. 2: "Net sales increased 18 %"\n',
            "",
        )
        assert server.requests[-1][2] == {"message": "How much?", "filters": {}, "session_id": SESSION}


def test_ask_sends_the_selected_text_and_the_filters_of_a_search(shell: Any, server: Any) -> None:
    server.answer = FRAMES
    server.documents = {DOCUMENT: {"id": DOCUMENT, "filename": "report.pdf"}}
    server.sources = [{"id": ANSWER, "name": "News"}]
    narrowed = ("-d", "report.pdf", "--source", "News", "--type", "pdf", "--language", "DE", "--box", "5,45,15,55")
    times = ("--since", "2026-01-31T12:00Z", "--until", "2026-02-01T00:00Z")
    assert shell("ask", "How much?", "--selected", "these words", *narrowed, *times).exit_code == 0
    assert server.requests[-1][2] == {
        "message": "How much?",
        "selected_text": "these words",
        "filters": {
            "document_ids": [DOCUMENT],
            "source_ids": [ANSWER],
            "content_types": ["application/pdf"],
            "languages": ["de"],
            "created_from": "2026-01-31T12:00:00+00:00",
            "created_before": "2026-02-01T00:00:00+00:00",
            "box": {"west": 5.0, "south": 45.0, "east": 15.0, "north": 55.0},
        },
    }


def test_ask_as_json_is_the_answer_of_the_api(shell: Any, server: Any) -> None:
    server.answer = FRAMES
    result = shell("ask", "How much?", "--json")
    assert (json.loads(result.stdout), result.stderr) == (WHOLE, "")


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_ask_goes_on_after_a_lost_connection_without_repeating_a_word(shell: Any, server: Any, more: tuple[str, ...]) -> None:
    server.answer = FRAMES
    server.streams_break = 3
    result = shell("ask", "How much?", *more)
    assert result.exit_code == 0
    assert result.stdout.startswith("{" if more else "Net sales increased 18 %. [1]\n\n[1] report.pdf")
    assert server.stream_requests == [None, "1", "2", "3"]


def test_answer_that_begins_again_is_told_from_the_first(shell: Any, server: Any) -> None:
    again = (3, "start", FRAMES[0][2] | {"restarted": True})
    server.answer = [*FRAMES[:2], again, (4, "delta", {"text": "Net sales rose. [1]"}), (5, "done", WHOLE)]
    result = shell("ask", "How much?")
    assert result.stdout.startswith("Net sales \nNet sales rose. [1]\n")
    assert "begins again" in result.stderr


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_answer_that_fails_is_exit_code_1_with_its_reason(shell: Any, server: Any, more: tuple[str, ...]) -> None:
    server.answer = [FRAMES[0], (2, "error", {"code": "search_unavailable", "reason": "The search is not available."})]
    result = shell("ask", "How much?", *more)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "Error: The search is not available.\n")


def test_sources_say_what_became_of_their_document_since(shell: Any, server: Any) -> None:
    changed = CITATION | {"source_changed_at": "2026-03-04T12:00:00Z"}
    deleted = CITATION | {"source_changed_at": "2026-03-04T12:00:00Z", "source_deleted_at": "2026-03-05T12:00:00Z"}
    _answering(server, citations=[changed, deleted])
    first, second = shell("ask", "How much?").stdout.splitlines()[-2:]
    assert re.search(r'18 %" \(of version 1; changed since, 2026-03-0\d \d\d:\d\d\)$', first)
    assert re.search(r'18 %" \(deleted since, 2026-03-0\d \d\d:\d\d\)$', second)


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        (1, "\n1 citation of the model was not supported and was taken out.\n"),
        (2, "\n2 citations of the model were not supported and were taken out.\n"),
    ],
)
def test_citations_that_were_taken_out_are_told(shell: Any, server: Any, removed: int, said: str) -> None:
    _answering(server, markers_removed=removed)
    assert shell("ask", "How much?").stderr == said


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (0.00138, "gpt-4.1-mini · 3,120 tokens in, 85 out · $0.0014 Go on"),
        (0.00001, "85 out · less than $0.0001 Go on"),
        (12.345, "85 out · $12.35 Go on"),
        (None, "3,120 tokens in, 85 out Go on"),
    ],
)
def test_terminal_tells_the_model_with_its_tokens_and_cost(terminal: Any, server: Any, cost: float | None, said: str) -> None:
    _answering(server, usage={"input_tokens": 3120, "output_tokens": 85, "cost_usd": cost})
    running = terminal("ask", "How much?")
    assert running.code() == 0
    assert said in _plain(running.screen)


def test_answer_without_tokens_tells_no_model(terminal: Any, server: Any) -> None:
    _answering(server, usage=None)
    running = terminal("ask", "How much?")
    assert running.code() == 0
    assert "gpt-4.1-mini" not in running.screen


def test_last_question_of_a_conversation_is_answered_again(shell: Any, server: Any) -> None:
    server.answer = FRAMES
    server.sessions = [{"id": SESSION, "title": "Sales"}]
    server.messages = [{"id": ANSWER, "role": "user"}, {"id": QUESTION, "role": "user"}, {"id": DOCUMENT, "role": "assistant"}]
    result = shell("ask", "--session", "last", "--again")
    assert result.stdout.startswith("Net sales increased 18 %. [1]\n")
    assert server.requests[-1][1].endswith(f"/chat/sessions/{SESSION}/messages/{QUESTION}/regenerate")
    server.messages = []
    result = shell("ask", "--session", "last", "--again")
    assert (result.exit_code, result.stderr) == (1, "Error: There is no question in this conversation yet.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "what do you want to know?"),
        (("--again",), "say of which conversation"),
        (("How much?", "--again", "-s", "last"), "give no other"),
        (("--again", "-s", "last", "--type", "pdf"), "nothing beside"),
    ],
)
def test_question_that_is_none_is_a_wrong_command_line(shell: Any, server: Any, arguments: tuple[str, ...], said: str) -> None:
    result = shell("ask", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert server.requests == []


@pytest.mark.parametrize("arguments", [("a\udcff",), ("Why?", "--selected", "a\udcff"), ("Why?", "-d", "a\udcff")])
def test_bytes_that_are_no_text_are_a_wrong_command_line(shell: Any, server: Any, arguments: tuple[str, ...]) -> None:
    result = shell("ask", *arguments)
    assert result.exit_code == 2
    assert result.stderr == "Error: '\\udcff' in what was given is no character that can be sent. Give text in UTF-8.\n"


def test_conversation_that_is_not_there_is_told(shell: Any, server: Any) -> None:
    assert shell("ask", "How much?", "-s", "last").stderr == (
        "Error: There is no conversation yet. Begin one: docutalk ask QUESTION\n"
    )
    result = shell("ask", "How much?", "-s", SESSION)
    assert (result.exit_code, result.stderr) == (
        1,
        f"Error: There is no conversation '{SESSION}'. docutalk sessions list shows them.\n",
    )


def test_ctrl_c_stops_the_answer_and_shows_what_was_written_with_its_sources(terminal: Any, server: Any) -> None:
    server.answer, server.after_stop = FRAMES[:2], [(3, "done", STOPPED)]
    running = terminal("ask", "How much?")
    running.read_until("Net sales")
    running.interrupt()
    assert running.code() == 130
    assert STOP in server.requests
    said = _plain(running.screen)
    assert said.startswith('Net sales [1] report.pdf, p. 2: "Net sales increased 18 %" The answer was stopped.')
    assert "Traceback" not in said


def test_ctrl_c_before_an_answer_in_json_prints_what_was_written(terminal: Any, server: Any) -> None:
    server.answer, server.after_stop = FRAMES[:2], [(3, "done", STOPPED)]
    server.streams_break = 1
    running = terminal("ask", "How much?", "--json")
    # Whoever asks for what comes after the first event has had that one.
    running.wait_for(lambda: server.stream_requests == [None, "1"])
    running.interrupt()
    assert running.code() == 130
    assert json.loads(running.screen) == STOPPED


def test_answer_that_does_not_end_when_it_is_stopped_is_not_waited_for(terminal: Any, server: Any) -> None:
    server.answer, server.after_stop = FRAMES[:2], []
    running = terminal("ask", "How much?")
    running.read_until("Net sales")
    running.interrupt()
    assert running.code() == 130
    assert f"It may still be going on. docutalk sessions show {SESSION} tells." in _plain(running.screen)


def test_second_ctrl_c_leaves_at_once(terminal: Any, server: Any) -> None:
    server.answer, server.after_stop = FRAMES[:2], []
    running = terminal("ask", "How much?")
    running.read_until("Net sales")
    running.interrupt()
    running.wait_for(lambda: STOP in server.requests)
    running.interrupt()
    assert running.code() == 130
    assert "going on" not in _plain(running.screen)
    assert "Traceback" not in running.screen


def test_script_without_blanks_is_written_as_it_comes_and_broken_anywhere(terminal: Any, server: Any) -> None:
    text = "销售额增长了百分之十八" * 3
    server.answer, server.after_stop = [FRAMES[0], (2, "delta", {"text": text})], []
    running = terminal("ask", "How much?")
    running.read_until(text[-1])
    running.interrupt()
    assert running.code() == 130
    first, second = running.screen.replace("\r", "").splitlines()[:2]
    assert (first, second) == (text[:20], text[20:])


def test_narrow_terminal_breaks_an_answer_between_words(terminal: Any, server: Any) -> None:
    words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    server.answer = [FRAMES[0], (2, "delta", {"text": words[:21]}), (3, "delta", {"text": words[21:]}), (4, "done", WHOLE)]
    running = terminal("ask", "How much?")
    assert running.code() == 0
    answer = running.screen.replace("\r", "").split("\n\n")[0]
    assert answer.replace("\n", " ").replace("  ", " ") == words
    assert all(len(line) <= 40 for line in answer.splitlines())
