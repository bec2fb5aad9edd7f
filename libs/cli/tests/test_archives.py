"""A workspace as an archive: received whole or not at all, sent in pieces, and followed until it is a workspace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .account_calls import ADA, BOB, TEAM, an_archive, an_import


def test_archive_is_there_when_it_is_whole(shell: Any, server: Any) -> None:
    result = shell("export", "-o", "mine.zip")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("Mine is in mine.zip now: 1 document, 1 file, 0 sources, 2 conversations, 1 KB.")
    assert (shell.folder / "mine.zip").read_bytes() == server.accounts.archive
    assert server.accounts.queries[-1] == {"include_files": "true", "include_sessions": "true"}
    told = json.loads(shell("export", "-o", "mine.zip", "--no-files", "--no-sessions", "--json").stdout)
    assert (told["path"], told["size"]) == ("mine.zip", len(server.accounts.archive))
    assert server.accounts.queries[-1] == {"include_files": "false", "include_sessions": "false"}


def test_archive_is_called_as_the_workspace_is_and_lands_in_this_folder(shell: Any) -> None:
    assert shell("export").exit_code == 0
    assert [path.name for path in shell.folder.glob("*.zip*")] == ["Mine_.. ü.zip"]
    again = shell("export")
    assert (again.exit_code, "is there already. Say where the archive goes with -o FILE." in again.stderr) == (1, True)


def test_archive_that_breaks_off_leaves_no_file(shell: Any, server: Any) -> None:
    server.accounts.archive_ends_at = 900
    result = shell("export", "-o", "mine.zip")
    assert result.exit_code == 3
    assert result.stderr.startswith(f"Error: The connection to {server.url} broke off")
    assert list(shell.folder.glob("mine.zip*")) == []


@pytest.mark.parametrize("left", [900, 0])
def test_archive_that_ends_early_without_a_word_is_an_error_and_keeps_the_file_before(shell: Any, server: Any, left: int) -> None:
    (shell.folder / "mine.zip").write_bytes(b"before")
    server.accounts.archive = server.accounts.archive[:left]
    result = shell("export", "-o", "mine.zip")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: The archive broke off: it has no manifest. Nothing was kept; export it again.\n",
    )
    assert [path.read_bytes() for path in shell.folder.glob("mine.zip*")] == [b"before"]


def test_archive_goes_to_standard_output(shell: Any, server: Any) -> None:
    result = shell("export", "-o", "-")
    assert result.exit_code == 0
    assert result.stdout_bytes == server.accounts.archive
    server.accounts.archive_ends_at = 900
    assert shell("export", "-o", "-").exit_code == 3
    assert shell("export", "-o", "-", "--json").exit_code == 2


def test_terminal_gets_no_archive_but_a_bar(terminal: Any, server: Any) -> None:
    refused = terminal("export", "-o", "-")
    assert refused.code() == 2
    server.accounts.archive = an_archive(files=2000)
    running = terminal("export", "-o", "mine.zip")
    assert running.code() == 0
    assert "1 file" in running.screen
    assert "━" in running.screen


def test_import_is_followed_until_the_workspace_is_there(shell: Any, server: Any) -> None:
    (shell.folder / "mine.zip").write_bytes(an_archive())
    server.accounts.imports = [
        an_import(),
        an_import(status="checking", progress={"done": 0, "total": 7}),
        an_import(status="importing", progress={"done": 3, "total": 7}),
        an_import(status="done", progress={"done": 7, "total": 7}, workspace_id=TEAM, remapped=8),
    ]
    result = shell("import", "mine.zip", "--name", "Copy")
    assert (result.exit_code, result.stdout) == (0, f"✓ Team is there ({TEAM}): 7 records.\n")
    assert "8 ids were taken here, and are others now." in result.stderr
    assert server.accounts.imported == [an_archive()]
    assert {"name": "Copy"} in server.accounts.queries


def test_import_that_fails_tells_why(shell: Any, server: Any) -> None:
    (shell.folder / "mine.zip").write_bytes(an_archive())
    server.accounts.imports = [an_import(status="failed", reason="manifest.json is missing.")]
    result = shell("import", "mine.zip")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: The import failed, and nothing of it is left: manifest.json is missing.\n"
    assert json.loads(shell("import", "mine.zip", "--json").stdout) == server.accounts.imports[0]
    assert shell("imports", "0190").exit_code == 1
    assert shell("imports").stdout.splitlines()[1].startswith("failed\t–: manifest.json is missing.\t–\t")


def test_archive_that_the_server_cannot_take_at_the_moment_is_sent_again_from_its_beginning(shell: Any, server: Any) -> None:
    (shell.folder / "mine.zip").write_bytes(an_archive(files=300))
    server.accounts.import_troubles = [503]
    assert shell("import", "mine.zip", "--no-wait").stdout == (
        f"mine.zip is accepted. How far it is: docutalk imports {BOB} --wait\n"
    )
    assert server.accounts.imported == [an_archive(files=300)] * 2


def test_token_that_ends_before_an_import_does_not_lose_bytes(shell: Any, server: Any) -> None:
    (shell.folder / "mine.zip").write_bytes(an_archive())
    assert shell("whoami").exit_code == 0
    server.valid.clear()
    assert shell("import", "mine.zip", "--no-wait").exit_code == 0
    assert server.accounts.imported == [an_archive()]


def test_file_that_is_no_archive_is_not_sent(shell: Any, server: Any) -> None:
    (shell.folder / "mine.zip").write_text("text")
    result = shell("import", "mine.zip")
    assert (result.exit_code, "is no ZIP archive" in result.stderr) == (2, True)
    assert shell("import", "none.zip").exit_code == 2
    assert server.requests == []


def test_ctrl_c_during_an_import_says_that_it_goes_on(terminal: Any, shell: Any, server: Any, tmp_path: Path) -> None:
    (shell.folder / "mine.zip").write_bytes(an_archive())
    server.accounts.imports = [an_import(status="importing", progress={"done": 3, "total": 7})]
    running = terminal("import", "mine.zip")
    running.read_until("3 of 7 records")
    running.interrupt()
    assert running.code() == 130
    assert "The import goes on" in running.screen


def test_import_is_waited_for_later(shell: Any, server: Any) -> None:
    server.accounts.imports = [an_import(status="importing", progress={"done": 3, "total": 7})]
    assert shell("imports", BOB).stdout == f"importing, 3 of 7 records. Wait for it with docutalk imports {BOB} --wait\n"
    server.accounts.imports.append(an_import(status="done", progress={"done": 7, "total": 7}, workspace_id=TEAM, remapped=0))
    assert shell("imports", BOB, "--wait").stdout == f"✓ Team is there ({TEAM}): 7 records.\n"
    assert shell("imports", "--wait").exit_code == 2
    assert shell("imports", ADA).stderr == f"Error: There is no import '{ADA}'. docutalk imports lists them.\n"
