"""Where a command goes and as whom, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from docutalk_cli.account import TokenStore

EMAIL, PASSWORD = "admin@example.com", "correct horse"


def _tokens_file(shell: Any) -> Path:
    return Path(shell.environment["XDG_CONFIG_HOME"]) / "docutalk" / "tokens.json"


def test_beside_a_running_docutalk_no_login_is_needed_and_the_password_is_sent_once(shell: Any, server: Any) -> None:
    for _ in range(3):
        result = shell("whoami")
        assert result.exit_code == 0
        assert result.stdout == f"{EMAIL} at {server.url}\n"
    assert server.logins == 1
    assert stat.S_IMODE(_tokens_file(shell).stat().st_mode) == 0o600


def test_expired_access_token_is_renewed_with_the_refresh_token(shell: Any, server: Any) -> None:
    server.expires_in = 30  # within the margin: no command may use it
    assert shell("whoami").exit_code == 0
    assert shell("whoami").exit_code == 0
    assert (server.logins, server.refreshes) == (1, 1)


def test_token_that_the_server_no_longer_knows_is_replaced_by_a_new_sign_in(shell: Any, server: Any) -> None:
    assert shell("whoami").exit_code == 0
    server.valid.clear()
    assert shell("whoami").exit_code == 0
    assert server.logins == 2


def test_login_is_used_by_later_commands_and_ends_with_logout(shell: Any, server: Any) -> None:
    (shell.folder / ".docutalk" / "cli.json").unlink()
    result = shell("login", "--url", server.url, input=f"{EMAIL}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert result.stdout.endswith(f"Signed in at {server.url} as {EMAIL}.\n")
    assert PASSWORD not in result.output
    assert shell("whoami").stdout == f"{EMAIL} at {server.url}\n"
    assert shell("logout").exit_code == 0
    assert "refresh-1" not in server.valid
    assert shell("whoami", "--url", server.url).exit_code == 3


def test_login_with_a_wrong_password_says_so(shell: Any, server: Any) -> None:
    result = shell("login", "--email", EMAIL, "--password", "wrong")
    assert result.exit_code == 3
    assert result.stderr == "Error: The e-mail address or the password is wrong.\n"


def test_ended_sign_in_says_how_to_sign_in_again(shell: Any, server: Any) -> None:
    (shell.folder / ".docutalk" / "cli.json").unlink()
    shell("login", "--url", server.url, "--email", EMAIL, "--password", PASSWORD)
    server.valid.clear()
    result = shell("whoami")
    assert result.exit_code == 3
    assert f"Sign in again with docutalk login --url {server.url}" in result.stderr


def test_token_from_the_environment_is_used_as_it_is(shell: Any, server: Any) -> None:
    shell.environment |= {"DOCUTALK_TOKEN": "from-elsewhere", "DOCUTALK_URL": server.url}
    result = shell("whoami")
    assert (result.exit_code, "does not accept the token in DOCUTALK_TOKEN" in result.stderr) == (3, True)
    server.valid.add("from-elsewhere")
    assert shell("whoami").exit_code == 0
    assert server.logins == 0
    assert not _tokens_file(shell).exists()


def test_unreachable_server_is_one_sentence_that_says_what_to_do(shell: Any) -> None:
    result = shell("status", "--url", "http://127.0.0.1:9")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr == (
        "Error: Nothing answers at http://127.0.0.1:9. Start it with docutalk up, or say where DocuTalk is with --url or"
        " DOCUTALK_URL.\n"
    )


@pytest.mark.parametrize("address", ["http://[::1", "http://host:99999", "host", "http://", "ftp://host"])
def test_address_that_is_none_is_told_as_a_wrong_command_line(shell: Any, address: str) -> None:
    result = shell("status", "--url", address)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {address.rstrip('/')!r} is not an address")


def test_sign_in_that_cannot_be_kept_is_told_in_one_sentence(shell: Any, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file where the folder should be")
    result = shell("status")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: Not a directory: {tmp_path / 'config' / 'docutalk'}\n"


def test_two_commands_at_once_use_a_refresh_token_only_once(shell: Any, server: Any) -> None:
    # The server ends a whole family of tokens when an old one comes back, so a race would sign the person out.
    assert shell("whoami").exit_code == 0
    store = _tokens_file(shell)
    entries = json.loads(store.read_text())
    for entry in entries.values():
        entry["expires_at"] = 0
    store.write_text(json.dumps(entries))
    command = [sys.executable, "-m", "docutalk_cli", "whoami"]
    environment = os.environ | shell.environment
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    outcomes = [(process.communicate(timeout=60), process.returncode) for process in running]
    assert [code for _, code in outcomes] == [0, 0, 0], outcomes
    assert (server.logins, server.refreshes) == (1, 1)


def test_broken_token_file_is_the_same_as_none(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    (tmp_path / "tokens.json").write_text("{")
    assert store.get("http://example.com") is None
    assert store.last_login() is None


def test_workspace_is_found_by_name(shell: Any, server: Any) -> None:
    assert shell("status", "--workspace", "Team").exit_code == 0
    assert server.requests[-1][1].startswith("workspaces/01890000-0000-7000-8000-000000000002/")
    result = shell("status", "--workspace", "Nobody's")
    assert (result.exit_code, result.stderr) == (1, 'Error: There is no workspace "Nobody\'s". There are: Mine, Team\n')


@pytest.mark.parametrize("wait", ["0", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_rate_limit_is_waited_for(shell: Any, server: Any, wait: str) -> None:
    server.problem = (429, {"detail": "Too many requests."}, {"Retry-After": wait})
    assert shell("status").exit_code == 0


def test_refused_request_is_one_sentence_with_the_fields_that_are_wrong(shell: Any, server: Any) -> None:
    errors = [
        {"location": ["body", "limit"], "message": "too big", "type": "x"},
        {"location": ["body"], "message": "odd", "type": "x"},
    ]
    server.problem = (422, {"detail": "limit: too big", "errors": errors}, {})
    result = shell("search", "x")
    assert (result.exit_code, result.stderr) == (1, "Error: limit: too big; request: odd\n")


def test_error_of_the_server_carries_its_trace_id(shell: Any, server: Any) -> None:
    server.problem = (503, {"detail": "the embed service is not running; try again in a moment", "trace_id": "abc"}, {})
    result = shell("search", "x")
    expected = "Error: the embed service is not running; try again in a moment (trace id abc)\n"
    assert (result.exit_code, result.stderr) == (1, expected)


def test_server_that_is_something_else_is_told_from_docutalk(shell: Any, server: Any) -> None:
    server.problem = (200, [], {})  # type: ignore[assignment]
    result = shell("status")
    assert result.exit_code == 1
    assert "is not DocuTalk's API" in result.stderr
