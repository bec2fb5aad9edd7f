"""A sign-in in a browser, which here is a program that follows redirects."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

EMAIL = "admin@example.com"
_BROWSER = """#!{python}
import sys
import httpx
page = httpx.get(sys.argv[1], follow_redirects=True)
open({page!r}, "w").write(page.text)
"""


@pytest.fixture
def page(shell: Any, tmp_path: Path) -> Path:
    """What the browser shows in the end."""
    shown, browser = tmp_path / "page.html", tmp_path / "browser"
    browser.write_text(_BROWSER.format(python=sys.executable, page=str(shown)))
    browser.chmod(0o755)
    shell.environment |= {"BROWSER": f"{browser} %s"}
    return shown


@pytest.fixture
def waiting(shell: Any, terminal: Any, server: Any) -> Any:
    """A sign-in on a machine without a browser: the address is shown, and waited for whoever opens it elsewhere."""
    server.accounts.openid = "OpenID"
    shell.environment |= {"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    running = terminal("login", "--openid")
    running.read_until("come back ...")
    return running


def test_sign_in_comes_back_from_the_browser_and_is_kept(shell: Any, terminal: Any, server: Any, page: Path) -> None:
    server.accounts.openid = "Company login"
    (shell.folder / ".docutalk" / "cli.json").unlink()
    running = terminal("login", "--openid", "--url", server.url)
    assert running.code() == 0
    assert "Company login" in running.screen
    assert f"as {EMAIL}" in " ".join(running.screen.split())
    assert "close this page" in page.read_text()
    assert "good-code" not in running.screen
    assert shell("whoami").stdout == f"{EMAIL} at {server.url}\n"


def test_refusal_at_the_provider_ends_the_waiting_with_its_reason(waiting: Any) -> None:
    found = re.search(r"return_to=http%3A%2F%2F127\.0\.0\.1%3A(\d+)%2F([\w-]+)&", waiting.screen)
    assert found is not None
    query = {"error": "openid_refused", "error_description": "You have no account on this server."}
    assert httpx.get(f"http://127.0.0.1:{found[1]}/{found[2]}", params=query).status_code == 200
    assert waiting.code() == 3
    assert "You have no account on this server." in " ".join(waiting.screen.split())


def test_address_is_whole_on_a_narrow_terminal_and_only_what_brings_a_code_ends_the_waiting(waiting: Any) -> None:
    found = re.search(r"http://\S+/auth/openid\?return_to=http%3A%2F%2F127\.0\.0\.1%3A(\d+)%2F([\w-]+)&\S+", waiting.screen)
    assert found is not None
    here = f"http://127.0.0.1:{found[1]}"
    assert httpx.get(f"{here}/favicon.ico").status_code == 404
    assert httpx.get(f"{here}/?code=guessed").status_code == 404
    assert httpx.get(f"{here}/{found[2]}").status_code == 404
    assert httpx.post(f"{here}/{found[2]}?code=x").status_code == 404
    came_back = httpx.get(found[0], follow_redirects=True)
    assert (came_back.status_code, came_back.headers["cache-control"]) == (200, "no-store")
    assert waiting.code() == 0
    assert "Signed in at" in waiting.screen


def test_code_that_the_server_does_not_take_signs_nobody_in(waiting: Any) -> None:
    found = re.search(r"return_to=http%3A%2F%2F127\.0\.0\.1%3A(\d+)%2F([\w-]+)", waiting.screen)
    assert found is not None
    httpx.get(f"http://127.0.0.1:{found[1]}/{found[2]}?code=somebody-elses")
    assert waiting.code() == 3
    assert "This code is not valid." in waiting.screen


def test_ctrl_c_ends_the_waiting_for_a_browser(waiting: Any) -> None:
    waiting.interrupt()
    assert waiting.code() == 130


def test_server_without_a_provider_is_told_at_once(shell: Any, server: Any) -> None:
    result = shell("login", "--openid")
    assert (result.exit_code, result.stderr) == (
        1,
        f"Error: {server.url} has no OpenID provider. Sign in with a password: docutalk login\n",
    )
