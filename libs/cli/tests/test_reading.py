"""Status, search, events and dead letters, as text, as JSON and on a terminal."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

DOCUMENT = "01890000-0000-7000-8000-0000000000bb"


def _document(name: str, number: int, **changes: Any) -> dict[str, Any]:
    progress = {"pages_done": 3, "pages_total": 9, "chunks_done": 0, "chunks_total": None, "percent": 16}
    return {
        "id": f"01890000-0000-7000-8000-{number:012x}",
        "filename": name,
        "size": 1_234_567,
        "status": "ready",
        "reason": None,
        "page_count": 9,
        "chunk_count": 27,
        "progress": progress,
    } | changes


def _hold(server: Any, *documents: dict[str, Any]) -> None:
    server.documents = {document["id"]: document for document in documents}


def test_status_in_a_pipe_is_lines_with_tabs(shell: Any, server: Any) -> None:
    _hold(
        server,
        _document("report.pdf", 1),
        _document("new.pdf", 2, status="extracting", chunk_count=None),
        _document("odd\tname.pdf", 3, status="failed", reason="It is empty.", page_count=None, chunk_count=None),
    )
    result = shell("status")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "status\tdocument\tpages\tpassages\tsize\tid",
        "ready\treport.pdf\t9\t27\t1.2 MB\t01890000-0000-7000-8000-000000000001",
        "extracting 16 %\tnew.pdf\t9\t–\t1.2 MB\t01890000-0000-7000-8000-000000000002",
        "failed\todd name.pdf: It is empty.\t–\t–\t1.2 MB\t01890000-0000-7000-8000-000000000003",
    ]


def test_status_of_a_failed_document_by_name_or_by_the_beginning_of_its_id_is_exit_code_1(shell: Any, server: Any) -> None:
    first = _document("good.pdf", 1) | {"id": "aaaa0000-0000-7000-8000-000000000001"}
    _hold(server, first, _document("bad.pdf", 2, status="failed", reason="It is empty."))
    assert shell("status", "good.pdf").exit_code == 0
    assert shell("status", "aaaa").exit_code == 0
    assert shell("status", "good.pdf", "bad.pdf").exit_code == 1
    assert shell("status").exit_code == 0
    missing = shell("status", "none.pdf")
    assert (missing.exit_code, missing.stderr) == (1, "Error: There is no document 'none.pdf'. docutalk status lists them.\n")


def test_name_of_two_documents_asks_for_an_id(shell: Any, server: Any) -> None:
    _hold(server, _document("same.pdf", 1), _document("same.pdf", 2))
    result = shell("status", "same.pdf")
    assert result.exit_code == 1
    assert "may be any of 2 documents. Give the id: 01890000" in result.stderr


def _found(text: str, word: str) -> dict[str, Any]:
    start = text.index(word)
    return {
        "chunk_id": DOCUMENT,
        "document_id": DOCUMENT,
        "filename": "report.pdf",
        "page": 2,
        "start": 0,
        "end": len(text),
        "text": text,
        "highlights": [{"start": start, "end": start + len(word)}],
        "score": 0.912,
        "scores": {"semantic": 0.8, "keyword": 3.0},
    }


def test_search_shows_place_score_and_the_part_of_the_passage_that_matched(shell: Any, server: Any) -> None:
    text = "lead " * 100 + "the\nneedle is here " + "tail " * 100
    server.search = {"results": [_found(text, "needle")], "took_ms": 12.3, "model": "minilm", "next": None}
    result = shell("search", "needle", "--limit", "3", "--mode", "keyword")
    assert result.exit_code == 0
    head, snippet = result.stdout.splitlines()
    assert head == "1. report.pdf, p. 2  0.91"
    assert snippet.startswith("…lead ")
    assert snippet.endswith(" tail…")
    assert "the needle is here" in snippet
    assert len(snippet) < 330
    assert "\x1b" not in result.stdout
    assert server.requests[-1][2] == {"query": "needle", "limit": 3, "mode": "keyword", "filters": {}}
    assert text.replace("\n", " ") in shell("search", "needle", "--full").stdout


def test_search_as_json_is_the_answer_of_the_api(shell: Any, server: Any) -> None:
    server.search = {"results": [_found("a needle", "needle")], "took_ms": 12.3, "model": "minilm", "next": None}
    assert json.loads(shell("search", "needle", "--json").stdout) == server.search


def test_search_that_finds_nothing_says_so_and_did_not_fail(shell: Any) -> None:
    result = shell("search", "nothing")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "Nothing was found.\n")


def _event(number: int, name: str, **data: Any) -> tuple[int, str, dict[str, Any]]:
    document = "01890000-0000-7000-8000-000000000001"
    event = {"sequence": number, "event": name, "time": "2026-01-02T03:04:05.678Z", "document_id": document}
    return (number, name, event | {"data": {"document_id": document, "version": 1, **data}})


def test_events_of_a_document_are_its_steps(shell: Any, server: Any) -> None:
    _hold(server, _document("report.pdf", 1))
    server.events = [_event(7, "document.extracted", page_count=9), _event(9, "document.ready", page_count=9, chunk_count=27)]
    lines = shell("events", "report.pdf").stdout.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        "document.extracted   page_count=9",
        "document.ready       page_count=9 chunk_count=27",
    ]
    assert [json.loads(line)["sequence"] for line in shell("events", "report.pdf", "--json").stdout.splitlines()] == [7, 9]


def test_dead_letters_are_listed_and_shown_with_their_message(shell: Any, server: Any) -> None:
    letter = {
        "sequence": 4,
        "service": "ingest",
        "durable": "ingest-document-extract",
        "stream": "WORK",
        "subject": "work.ingest.v1.document.extract.x",
        "document_id": None,
        "code": "invalid_message",
        "reason": "data.document_id: Field required",
        "attempts": 1,
        "failed_at": "2026-01-02T03:04:05Z",
        "payload": base64.b64encode(b'{"a": 1}').decode(),
        "headers": {"Nats-Msg-Id": "m"},
    }
    server.letters = [letter]
    assert shell("dead-letters", "list").stdout.splitlines()[1] == (
        "4\t2026-01-02 03:04:05\tingest-document-extract\t1\tinvalid_message\tdata.document_id: Field required"
    )
    shown = shell("dead-letters", "show", "4").stdout
    assert "reason        data.document_id: Field required" in shown
    assert '{\n  "a": 1\n}' in shown
    assert json.loads(shell("dead-letters", "show", "4", "--json").stdout) == letter


def test_narrow_terminal_leaves_columns_out_and_keeps_names_whole(terminal: Any, server: Any) -> None:
    _hold(server, _document("a-name-of-23-letters.pdf", 1))
    running = terminal("status")
    assert running.code() == 0
    assert "passages" not in running.screen
    assert "a-name-of-23-letters.pdf" in running.screen


def test_ctrl_c_while_following_ends_at_once_without_a_traceback(terminal: Any, server: Any) -> None:
    server.events = [_event(7, "document.ready", page_count=9)]
    running = terminal("events")
    running.read_until("document.ready")
    running.interrupt()
    assert running.code() == 130
    assert "Traceback" not in running.screen


def test_ctrl_c_while_following_a_change_of_model_says_that_it_goes_on(terminal: Any, server: Any) -> None:
    change = {"id": DOCUMENT, "from_model": "minilm", "to_model": "better", "state": "running", "reason": None, "ended_at": None}
    server.changes = [change | {"passages_done": 1, "passages_total": 4, "passages_per_second": None, "eta_seconds": None}]
    running = terminal("models", "status", "--follow")
    running.read_until("1 of 4")
    running.interrupt()
    assert running.code() == 130
    assert "The change goes on" in running.screen
    assert "Traceback" not in running.screen


def test_two_models_stand_side_by_side_on_a_narrow_terminal(terminal: Any, server: Any) -> None:
    long = _found("a needle in a haystack that goes on and on and on", "needle") | {"filename": "a-very-long-name-of-a-file.pdf"}
    left, right = (long | {"chunk_id": name, "chunk_ids": [name]} for name in ("left", "right"))
    query = {"query": "needle", "before": [left], "after": [right, left], "overlap": 0.5, "before_ms": 1.0, "after_ms": 2.0}
    server.comparison = {"from_model": "minilm", "to_model": "\x1b]0;better", "coverage": 0.5, "queries": [query]}
    running = terminal("models", "compare", "needle")
    assert running.code() == 0
    lines = re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", running.screen).replace("\r", "").splitlines()
    assert all(len(line) <= 40 for line in lines)
    first = next(line for line in lines if line.startswith("1. "))
    assert re.fullmatch(r"1\. a-ver.*…, p\. 2 +1\. .*, p\. 2  new *", first), first
    assert any(line.strip().endswith("▼1") for line in lines)
    assert "\x1b]" not in running.screen
    assert "50% of this" in running.screen


def test_ctrl_c_during_an_upload_says_that_what_was_sent_goes_on(shell: Any, terminal: Any, server: Any) -> None:
    server.becomes["report.pdf"] = {"status": "embedding"}
    (shell.folder / "report.pdf").write_bytes(b"%PDF")
    running = terminal("upload", "report.pdf")
    running.read_until("27 passages")
    running.interrupt()
    assert running.code() == 130
    said = " ".join(re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", running.screen).split())
    assert "Interrupted. Everything was sent, and the server goes on with it: docutalk status lists it" in said
    assert "Traceback" not in running.screen
