"""Retry, cancel, delete, rename, versions, sources: what is sent, and what a person and a script learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ID = "01890000-0000-7000-8000-{:012x}"


def _hold(server: Any, *states: str) -> None:
    for number, status in enumerate(states, 1):
        progress = {"pages_done": 0, "pages_total": None, "chunks_done": 0, "chunks_total": None, "percent": 16}
        server.documents[ID.format(number)] = {
            **{"id": ID.format(number), "filename": f"{number}.pdf", "status": status, "reason": None, "code": None},
            **{"page_count": 9, "chunk_count": 27, "size": 1000, "progress": progress, "version": 1},
        }


def test_named_documents_are_retried_and_refusals_told_by_name(shell: Any, server: Any) -> None:
    _hold(server, "failed", "ready")
    server.refused = [{"document_id": ID.format(2), "code": "conflict", "reason": "2.pdf is ready."}]
    result = shell("retry", "1.pdf", "2.pdf")
    assert (result.exit_code, result.stdout) == (1, "✗ 2.pdf: 2.pdf is ready.\n1 document on its way again.\n")
    assert server.requests[-1][2] == {"action": "retry", "document_ids": [ID.format(1), ID.format(2)]}


def test_all_failed_are_retried_however_often_the_server_must_be_asked(shell: Any, server: Any) -> None:
    _hold(server, *["failed"] * 5, "ready")
    result = shell("retry", "--status", "failed", "--json")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["document_ids"]) == 5
    assert [body for _, _, body in server.requests if body] == [{"action": "retry", "status": "failed"}] * 3


def test_password_of_a_file_is_asked_for_and_not_shown(shell: Any, server: Any) -> None:
    _hold(server, "failed")
    result = shell("retry", "1.pdf", "--password", input="open sesame\n")
    assert result.exit_code == 0
    assert "open sesame" not in result.output
    assert server.requests[-1][1:] == (f"workspaces/{ID.format(1)}/documents/{ID.format(1)}/retry", {"password": "open sesame"})
    shell.environment["DOCUTALK_FILE_PASSWORD"] = "from elsewhere"
    shell("retry", "1.pdf", "--password")
    assert server.requests[-1][2] == {"password": "from elsewhere"}
    assert shell("retry", "1.pdf", "2.pdf", "--password").exit_code == 2


def test_retry_that_is_waited_for_ends_with_what_became_of_it(shell: Any, server: Any) -> None:
    _hold(server, "failed")
    server.becomes["1.pdf"] = {"status": "failed", "reason": "It is still encrypted."}
    result = shell("retry", "1.pdf", "--wait")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "✗ 1.pdf: It is still encrypted."


@pytest.mark.parametrize("command", ["retry", "cancel", "delete"])
def test_action_on_nothing_in_particular_is_a_usage_error(shell: Any, server: Any, command: str) -> None:
    assert shell(command).exit_code == 2
    assert shell(command, "a.pdf", "--status", "failed").exit_code == 2
    assert server.requests == []


def test_delete_of_many_asks_first(shell: Any, server: Any) -> None:
    _hold(server, "failed", "failed")
    result = shell("delete", "--status", "failed", input="n\n")
    assert (result.exit_code, server.requests) == (1, [])
    assert "Delete all failed documents?" in result.stderr
    assert shell("delete", "--status", "failed", "--yes").stdout == "2 documents deleted.\n"


def test_cancel_and_rename(shell: Any, server: Any) -> None:
    _hold(server, "queued")
    assert shell("cancel", "1.pdf").stdout == "1 document cancelled.\n"
    assert shell("rename", "1.pdf", "plan.pdf").stdout == "1.pdf is called plan.pdf now.\n"
    assert shell("rename", "1.pdf", "plan.pdf").exit_code == 1


def test_versions_mark_the_one_that_is_read(shell: Any, server: Any) -> None:
    _hold(server, "failed")
    lines = shell("versions", "1.pdf").stdout.splitlines()
    assert [line.split("\t")[:3] for line in lines] == [
        ["version", "file", "pages"],
        ["2", "b.txt", "3"],
        ["1 *", "a.txt", "3"],
    ]


def test_status_shows_the_place_in_line_and_an_estimate(shell: Any, server: Any) -> None:
    _hold(server, "queued", "embedding")
    server.documents[ID.format(1)]["progress"] |= {"queue_position": 12, "eta_seconds": 130}
    server.documents[ID.format(2)]["progress"] |= {"queue_position": None, "eta_seconds": 8}
    lines = shell("status").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == ["queued no. 12, about 2 min", "embedding 16 %, about 8 s"]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (
            ["feed", "https://a.example/feed", "--every", "1h", "--summary", "--items", "5"],
            {
                **{"kind": "feed", "name": "https://a.example/feed", "schedule": {"every_seconds": 3600}},
                "config": {"url": "https://a.example/feed", "full_text": False, "max_items": 5},
            },
        ),
        (
            ["urls", "https://a.example/1", "@list.txt", "--cron", "0 6 * * 1-5", "--timezone", "Europe/Berlin"],
            {
                **{"kind": "urls", "name": "https://a.example/1 and 2 more"},
                "config": {"urls": ["https://a.example/1", "https://a.example/2", "https://a.example/3"]},
                "schedule": {"cron": "0 6 * * 1-5", "timezone": "Europe/Berlin"},
            },
        ),
        (
            ["csv", "table.csv", "--key", "id", "--name", "Table"],
            {"kind": "csv", "name": "Table", "config": {"text": "id,x\n1,2\n", "key_column": "id"}, "schedule": None},
        ),
        (
            ["csv", "https://a.example/t.csv"],
            {"kind": "csv", "name": "https://a.example/t.csv", "config": {"url": "https://a.example/t.csv"}, "schedule": None},
        ),
        (
            ["text", "-", "--title", "A note"],
            {"kind": "text", "name": "A note", "config": {"title": "A note", "text": "from a pipe"}, "schedule": None},
        ),
        (
            ["search", "net zero", "--results", "3", "--every", "2d"],
            {
                **{"kind": "search", "name": "net zero", "schedule": {"every_seconds": 172800}},
                "config": {"query": "net zero", "max_results": 3},
            },
        ),
    ],
)
def test_source_is_added_as_it_was_described(shell: Any, server: Any, arguments: list[str], sent: dict[str, Any]) -> None:
    (shell.folder / "list.txt").write_text("https://a.example/2\n# not this one\n\nhttps://a.example/3\n")
    (shell.folder / "table.csv").write_bytes(b"\xef\xbb\xbfid,x\n1,2\n")
    result = shell("sources", "add", *arguments, input="from a pipe")
    assert result.exit_code == 0, result.output
    assert server.requests[-1][2] == sent
    assert result.stdout.startswith(f"✓ {sent['name']} is being collected")


@pytest.mark.parametrize(
    "arguments",
    [
        ["feed", "https://a.example/feed", "--every", "10s"],
        ["feed", "https://a.example/feed", "--every", "sometimes"],
        ["feed", "https://a.example/feed", "--every", "1h", "--cron", "* * * * *"],
        ["csv", "not-there.csv"],
        ["csv", "list.txt", "--every", "1h"],
    ],
)
def test_source_that_cannot_be_meant_is_a_usage_error(shell: Any, server: Any, arguments: list[str]) -> None:
    (shell.folder / "list.txt").write_text("x")
    assert shell("sources", "add", *arguments).exit_code == 2
    assert server.requests == []


def test_sources_are_listed_shown_run_and_deleted(shell: Any, server: Any) -> None:
    shell("sources", "add", "feed", "https://a.example/feed", "--name", "News", "--every", "1h")
    rows = [line.split("\t") for line in shell("sources", "list").stdout.splitlines()]
    assert rows[1][:5] == ["News", "feed", "1,234", "2 new, 1 changed, 2 unchanged", "–"]
    shown = shell("sources", "show", "News").stdout
    assert "schedule      every 1h\n" in shown
    assert "url           https://a.example/feed\n" in shown
    for verb in ("run", "pause", "resume"):
        assert shell("sources", verb, "News").exit_code == 0
        assert server.requests[-1][1].endswith(f"/{verb}")
    runs = [line.split("\t") for line in shell("sources", "runs", "News").stdout.splitlines()]
    assert runs[1][1:] == ["manual", "done", "5", "2", "1", "2", "0", "4 s"]
    assert runs[2][2] == "failed: The feed is gone."
    assert shell("sources", "delete", "News", input="n\n").exit_code == 1
    assert shell("sources", "delete", "News", "--yes").stdout == "News is deleted.\n"
    missing = shell("sources", "show", "News")
    assert (missing.exit_code, missing.stderr) == (
        1,
        "Error: There is no source 'News'. docutalk sources list shows them.\n",
    )


def test_source_whose_last_run_failed_says_why_beside_its_name(shell: Any, server: Any) -> None:
    shell("sources", "add", "feed", "https://a.example/feed", "--name", "News")
    server.sources[0]["last_run"] |= {"status": "failed", "reason": "The feed is gone."}
    row = shell("sources", "list").stdout.splitlines()[1].split("\t")
    assert row[:4] == ["News: The feed is gone.", "feed", "1,234", "failed"]


def test_source_from_a_file_that_is_no_text_is_sent_as_far_as_it_can_be_read(shell: Any, server: Any) -> None:
    Path(shell.folder / "odd.csv").write_bytes(b"a,b\n\xff,1\n")
    assert shell("sources", "add", "csv", "odd.csv").exit_code == 0
    assert server.requests[-1][2]["config"] == {"text": "a,b\n\ufffd,1\n"}
