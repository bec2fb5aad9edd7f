"""Uploading: what is sent, how it is followed, what a person and a script learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def test_upload_follows_the_document_until_it_is_ready(shell: Any, server: Any, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1024
    (tmp_path / "report.pdf").write_bytes(content)
    result = shell("upload", str(tmp_path / "report.pdf"))
    assert result.exit_code == 0
    assert result.stdout.startswith("✓ report.pdf: 9 pages, 27 passages, ")
    assert server.uploads == [content]


def test_upload_without_event_stream_asks_again_until_the_end(shell: Any, server: Any, tmp_path: Path) -> None:
    server.has_stream = False
    (tmp_path / "report.pdf").write_bytes(b"%PDF")
    assert shell("upload", str(tmp_path / "report.pdf")).stdout.startswith("✓ report.pdf: 9 pages")


def test_failed_document_shows_its_reason_and_does_not_stop_the_others(shell: Any, server: Any, tmp_path: Path) -> None:
    server.becomes["broken.pdf"] = {"status": "failed", "reason": "The PDF is damaged and cannot be opened."}
    (tmp_path / "papers").mkdir()
    for name in ("a.txt", "broken.pdf", "c.txt"):
        (tmp_path / "papers" / name).write_text(name)
    result = shell("upload", str(tmp_path / "papers" / "*"))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert "✗ broken.pdf: The PDF is damaged and cannot be opened." in lines
    assert len([line for line in lines if line.startswith("✓")]) == 2
    assert lines[-1].startswith("✗"), "what went wrong comes last"
    assert result.stderr.startswith("2 of 3 files ready, 1 failed; 18 pages, 54 passages in ")


def test_file_that_the_server_refuses_is_reported_and_the_others_go_on(shell: Any, server: Any, tmp_path: Path) -> None:
    server.problem = (413, {"detail": "big.bin is larger than the limit of 5 bytes."}, {})
    for name in ("big.bin", "small.txt"):
        (tmp_path / name).write_text(name)
    result = shell("upload", "--parallel", "1", "--no-wait", str(tmp_path / "big.bin"), str(tmp_path / "small.txt"))
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0].startswith("✓ small.txt: accepted (queued), 01890000")
    assert result.stdout.splitlines()[1] == "✗ big.bin: big.bin is larger than the limit of 5 bytes."


def test_bytes_that_are_there_already_are_said_to_be(shell: Any, server: Any, tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(b"%PDF")
    shell("upload", str(tmp_path / "report.pdf"))
    result = shell("upload", str(tmp_path / "report.pdf"))
    assert result.exit_code == 0
    assert result.stdout.startswith("✓ report.pdf: already here, 9 pages, 27 passages, ")


def test_document_without_text_is_ready_and_said_to_be_empty(shell: Any, server: Any, tmp_path: Path) -> None:
    server.becomes["scan.pdf"] = {"page_count": 2, "chunk_count": 0}
    (tmp_path / "scan.pdf").write_bytes(b"%PDF")
    assert "2 pages, 0 passages, no text was found in it" in shell("upload", str(tmp_path / "scan.pdf")).stdout


def test_json_lists_documents_in_the_order_of_the_files(shell: Any, server: Any, tmp_path: Path) -> None:
    server.becomes["b.txt"] = {"status": "failed", "reason": "It is empty."}
    paths = [str(tmp_path / name) for name in ("a.txt", "b.txt")]
    for path in paths:
        Path(path).write_text(path)
    result = shell("upload", "--json", *paths)
    assert result.exit_code == 1
    documents = json.loads(result.stdout)["documents"]
    assert [(d["path"], d["status"], d["reason"]) for d in documents] == [
        (paths[0], "ready", None),
        (paths[1], "failed", "It is empty."),
    ]
    assert all(d["seconds"] >= 0 and d["duplicate_of"] is None for d in documents)


def test_folder_is_taken_whole_without_what_is_hidden(shell: Any, server: Any, tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    (folder / "deep" / ".git").mkdir(parents=True)
    for name in ("one.txt", "deep/two.txt", "deep/.hidden", "deep/.git/config"):
        (folder / name).write_text(name)
    (folder / "deep" / "pipe").symlink_to("/dev/null")
    # Named twice, sent once.
    result = shell("upload", "--no-wait", str(folder), str(folder / "one.txt"))
    assert result.exit_code == 0
    assert sorted(server.uploads) == [b"deep/two.txt", b"one.txt"]
    assert "Skipped: 2 hidden (.git, .hidden), 1 no regular file (pipe)." in result.stderr


def test_missing_file_is_a_usage_error_before_anything_is_sent(shell: Any, server: Any, tmp_path: Path) -> None:
    (tmp_path / "there.txt").write_text("x")
    result = shell("upload", str(tmp_path / "there.txt"), str(tmp_path / "not-there.txt"))
    assert result.exit_code == 2
    assert server.uploads == []


def test_token_that_ends_before_the_upload_does_not_lose_bytes(shell: Any, server: Any, tmp_path: Path) -> None:
    assert shell("whoami").exit_code == 0
    server.valid.clear()
    content = b"0123456789" * 100_000
    (tmp_path / "report.pdf").write_bytes(content)
    assert shell("upload", "--no-wait", str(tmp_path / "report.pdf")).exit_code == 0
    assert server.uploads == [content]


@pytest.mark.parametrize("trouble", [503, 429, 409])
def test_upload_that_the_server_cannot_take_at_the_moment_is_sent_again(
    shell: Any, server: Any, tmp_path: Path, trouble: int
) -> None:
    (tmp_path / "report.pdf").write_bytes(content := b"0123456789" * 50_000)
    server.upload_troubles = [trouble]
    result = shell("upload", "--no-wait", str(tmp_path / "report.pdf"))
    if trouble == 409:  # a conflict does not pass by itself
        assert (result.exit_code, len(server.upload_keys)) == (1, 1)
    else:
        assert (result.exit_code, server.uploads) == (0, [content])
        assert server.upload_keys[0] == server.upload_keys[1] is not None


def test_upload_whose_answer_was_lost_is_sent_again_under_the_same_key(shell: Any, server: Any, tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(b"%PDF")
    server.upload_troubles = [0]
    result = shell("upload", str(tmp_path / "report.pdf"))
    assert (result.exit_code, result.stdout.startswith("✓ report.pdf: 9 pages")) == (0, True)
    assert server.uploads == [b"%PDF"]
    assert len(server.upload_keys) == 2
    assert len(set(server.upload_keys)) == 1


def test_file_named_as_a_version_goes_to_its_document(shell: Any, server: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "b.txt").write_text("second")
    shell("upload", str(tmp_path / "a.txt"))
    result = shell("upload", "--no-wait", "--version-of", "a.txt", str(tmp_path / "b.txt"))
    assert (result.exit_code, result.stdout.startswith("✓ a.txt: version 2, accepted (queued)")) == (0, True)
    assert server.requests[-1][1].endswith("/versions")
    assert shell("upload", "--version-of", "a.txt", str(tmp_path)).exit_code == 2


def test_many_files_are_sent_once_each_and_summed_up(shell: Any, server: Any, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.txt").write_text(f"text {number}")
    server.becomes["07.txt"] = {"status": "failed", "reason": "It is empty."}
    result = shell("upload", *(str(tmp_path / f"{number:02}.txt") for number in range(20)))
    assert result.exit_code == 1
    assert len(server.uploads) == 20
    assert result.stdout.splitlines()[-1] == "✗ 07.txt: It is empty."
    assert result.stderr.startswith("19 of 20 files ready, 1 failed; 171 pages, 513 passages in ")


def test_nothing_to_upload_is_a_usage_error_that_says_what_was_skipped(shell: Any, server: Any, tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    assert shell("upload", str(tmp_path / "papers")).exit_code == 2
    (tmp_path / "papers" / ".hidden").write_text("x")
    result = shell("upload", str(tmp_path / "papers"))
    assert (result.exit_code, "1 hidden (.hidden)" in result.stderr) == (2, True)
    # A hidden file that is named is meant.
    assert shell("upload", "--no-wait", str(tmp_path / "papers" / ".hidden")).exit_code == 0


def test_server_that_is_too_busy_to_show_a_document_is_asked_again(shell: Any, server: Any, tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(b"%PDF")
    server.busy_looks = 1
    result = shell("upload", str(tmp_path / "report.pdf"))
    assert (result.exit_code, result.stdout.startswith("✓ report.pdf: 9 pages")) == (0, True)
