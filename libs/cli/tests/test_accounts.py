"""Oneself, and the accounts of an installation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .account_calls import ADA, AT, BOB, LATER, MINE, TEAM, TOKEN, an_account, an_erasure

EMAIL, PASSWORD = "admin@example.com", "correct horse"


def _last(server: Any) -> tuple[str, str, Any]:
    found: tuple[str, str, Any] = server.requests[-1]
    return found


def _away(shell: Any) -> None:
    """In a folder where no DocuTalk runs."""
    (shell.folder / ".docutalk" / "cli.json").unlink()


# Links -----------------------------------------------------------------------------------------------------------


def test_invitation_is_followed_by_its_link_or_by_its_token(shell: Any, server: Any) -> None:
    for given in (f"{server.url}/api/v1/invited/{TOKEN}", TOKEN):
        assert shell("join", given).stdout == f"You are an editor of Team now: docutalk status -w {TEAM}\n"
        assert _last(server) == ("POST", f"invited/{TOKEN}/accept", {})
    assert json.loads(shell("join", TOKEN, "--json").stdout)["role"] == "editor"


@pytest.mark.parametrize(
    "given", ["https://example.com/somewhere", "short", "ftp://host/api/v1/invited/tok-abcdefgh", "a b c d e f"]
)
def test_link_that_is_none_is_a_wrong_command_line(shell: Any, server: Any, given: str) -> None:
    result = shell("join", given)
    assert (result.exit_code, "is no link to an invitation" in " ".join(result.stderr.replace("│", " ").split())) == (2, True)
    assert server.requests == []


def test_link_to_another_server_gets_nothing_that_is_for_this_one(shell: Any, server: Any) -> None:
    shell.environment |= {"DOCUTALK_TOKEN": "a-secret"}
    result = shell("join", f"http://127.0.0.1:9/api/v1/invited/{TOKEN}")
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: The link leads to http://127.0.0.1:9, and this command goes to {server.url}. Sign in there with docutalk login"
        " --url http://127.0.0.1:9\n"
    )
    result = shell("shares", "open", f"http://127.0.0.1:9/api/v1/shared/{TOKEN}", "--url", server.url)
    assert (result.exit_code, "give only the link's token" in result.stderr) == (2, True)


def test_link_is_followed_with_the_sign_in_that_is_stored_for_its_server(shell: Any, server: Any) -> None:
    shell("login", "--url", server.url, "--email", EMAIL, "--password", PASSWORD)
    (shell.folder / ".docutalk" / "cli.json").write_text(json.dumps({"url": "http://127.0.0.1:9", "email": "x", "password": "y"}))
    assert shell("join", f"{server.url}/api/v1/invited/{TOKEN}").exit_code == 0


def test_account_is_made_with_an_invitation_and_signed_in(shell: Any, server: Any) -> None:
    _away(shell)
    link = f"{server.url}/api/v1/invited/{TOKEN}"
    answers = f"\nBob\n{PASSWORD}\n{PASSWORD}\n"
    server.accounts.invited["email"] = EMAIL
    result = shell("register", "--invitation", link, input=answers)
    assert (result.exit_code, "Ada invites you as an editor of Team." in result.stderr) == (0, True)
    assert result.stdout.endswith(f"Your account is there. Signed in at {server.url} as {EMAIL}.\n")
    assert PASSWORD not in result.output
    body = {"email": EMAIL, "display_name": "Bob", "password": PASSWORD, "invitation": TOKEN}
    assert ("POST", "auth/register", body) in server.requests
    assert shell("whoami").stdout == f"{EMAIL} at {server.url}\n"


def test_two_passwords_that_differ_are_asked_for_again(shell: Any, server: Any) -> None:
    answers = f"{PASSWORD}\nother horse\n{PASSWORD}\n{PASSWORD}\n"
    result = shell("register", "--email", EMAIL, "--name", "", input=answers)
    assert result.exit_code == 0
    assert ("POST", "auth/register", {"email": EMAIL, "password": PASSWORD}) in server.requests


def test_script_without_input_need_not_say_a_name(shell: Any, server: Any) -> None:
    shell.environment["DOCUTALK_NEW_PASSWORD"] = PASSWORD
    result = shell("register", "--email", EMAIL, input="")
    assert result.exit_code == 0, result.output
    assert ("POST", "auth/register", {"email": EMAIL, "password": PASSWORD}) in server.requests


def test_invitation_that_is_over_is_told_before_anything_is_asked(shell: Any, server: Any) -> None:
    result = shell("register", "-i", "tok-of-nobody-at-all", input="")
    assert (result.exit_code, result.stderr) == (1, "Error: This invitation is not valid (any more).\n")


def test_password_is_set_anew_with_a_link(shell: Any, server: Any) -> None:
    result = shell("users", "reset-password", "bob@example.com")
    assert result.stdout == f"{server.url}/api/v1/auth/reset#token={TOKEN}\n"
    assert "Hand it to bob@example.com: nothing is sent" in result.stderr
    shell.environment |= {"DOCUTALK_NEW_PASSWORD": "new horse battery"}
    reset = shell("reset-password", result.stdout.strip())
    assert reset.stdout == f"The new password is set. Sign in with docutalk login --url {server.url}\n"
    assert _last(server) == ("POST", "auth/reset", {"token": TOKEN, "new_password": "new horse battery"})


# Oneself ---------------------------------------------------------------------------------------------------------


def test_account_is_shown_and_changed(shell: Any, server: Any) -> None:
    lines = shell("account", "show").stdout.splitlines()
    assert lines[:4] == ["e-mail         admin@example.com", "name           Ada", "administrator  yes", "workspace      Mine"]
    assert shell("account", "rename", "Lovelace").stdout == "You are Lovelace, and sign in as admin@example.com.\n"
    result = shell("account", "email", "ada@example.com", input=f"{PASSWORD}\n")
    assert result.stdout.endswith("You are Lovelace, and sign in as ada@example.com.\n")
    assert _last(server)[2] == {"email": "ada@example.com", "current_password": PASSWORD}


def test_new_password_is_asked_for_twice_and_the_current_one_once(shell: Any, server: Any) -> None:
    result = shell("account", "password", input=f"{PASSWORD}\nnew horse\nnew horse\n")
    assert result.stdout.endswith("The new password is set. All other sign-ins have ended.\n")
    assert "change it in DOCUTALK_PASSWORD" in result.stderr
    assert _last(server)[2] == {"current_password": PASSWORD, "new_password": "new horse"}
    shell("account", "password", input="\nnew horse\nnew horse\n")
    assert _last(server)[2] == {"new_password": "new horse"}


def test_account_is_deleted_when_its_address_was_typed_and_its_sign_in_is_forgotten(shell: Any, server: Any) -> None:
    _away(shell)
    shell("login", "--url", server.url, "--email", EMAIL, "--password", PASSWORD)
    refused = shell("account", "delete", input="somebody@example.com\n")
    assert (refused.exit_code, "Nothing was deleted." in refused.stderr) == (1, True)
    assert "DELETE" not in {method for method, _, _ in server.requests}
    server.accounts.erasures = [an_erasure(kind="user", status="pending", completed_at=None), an_erasure(kind="user")]
    result = shell("account", "delete", input=f"{EMAIL.upper()}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert f"The account of {EMAIL} is deleted. What becomes of it everywhere: docutalk erasure {BOB}" in result.stdout
    assert ("DELETE", "users/me", {"password": PASSWORD}) in server.requests
    tokens = Path(shell.environment["XDG_CONFIG_HOME"]) / "docutalk" / "tokens.json"
    assert json.loads(tokens.read_text()) == {}


def test_account_without_a_password_is_deleted_without_one(shell: Any, server: Any) -> None:
    result = shell("account", "delete", "--yes", "--no-wait", "--json", input="\n")
    assert json.loads(result.stdout[result.stdout.index("{") :]) == server.accounts.erasures[0]
    assert _last(server) == ("DELETE", "users/me", {})


def test_sign_ins_are_listed_with_a_mark_at_this_one_and_ended(shell: Any, server: Any) -> None:
    head, this, other = shell("sign-ins", "list").stdout.splitlines()
    assert head == "device\taddress\tby\tlast used\tends\tid"
    assert this.startswith("docutalk-cli (this one)\t192.0.2.7\tpassword\t")
    assert other.startswith("Firefox on Linux\t–\t")
    assert shell("sign-ins", "end", "Firefox on Linux").stdout == "The sign-in of Firefox on Linux has ended.\n"
    assert _last(server)[:2] == ("DELETE", f"users/me/sessions/{BOB}")
    assert shell("sign-ins", "end-others").stdout == "All other sign-ins have ended.\n"
    assert _last(server)[:2] == ("DELETE", "users/me/sessions")


def test_narrow_terminal_tells_the_sign_ins_apart(terminal: Any) -> None:
    running = terminal("sign-ins", "list")
    assert running.code() == 0
    assert "(this" in running.screen
    assert "Firefox" in running.screen


def test_key_is_made_with_the_scopes_that_were_named(shell: Any, server: Any) -> None:
    result = shell("keys", "create", "ci", "--scope", "search", "--scope", "workspaces:manage")
    assert "It may: search, workspaces:manage." in result.stderr
    assert _last(server)[2] == {"name": "ci", "scopes": ["search", "workspaces:manage"]}
    assert shell("keys", "create", "ci", "--scope", "everything").exit_code == 2


# The installation ------------------------------------------------------------------------------------------------


def test_accounts_are_listed_with_what_they_are(shell: Any, server: Any) -> None:
    head, ada, bob = shell("users", "list", "--search", "example").stdout.splitlines()
    assert head == "user\tname\tis\tsince\tid"
    assert ada.startswith("ada@example.com\tAda\tadministrator\t")
    assert bob.startswith("bob@example.com\t–\tdisabled\t")
    assert server.accounts.queries[-1]["q"] == "example"
    assert json.loads(shell("users", "list", "--json").stdout) == {"users": server.accounts.users}


@pytest.mark.parametrize(
    ("arguments", "changes", "said"),
    [
        (("disable", "ada@example.com"), {"disabled": True}, "ada@example.com is kept out from now on.\n"),
        (("enable", ADA), {"disabled": False}, "ada@example.com is let in again.\n"),
        (("vouch", ADA), {"email_vouched": True}, "ada@example.com may sign in at the OpenID provider.\n"),
        (("admin", "ada@example.com"), {"is_admin": True}, "ada@example.com is an administrator now.\n"),
        (("admin", "ada@example.com", "--revoke"), {"is_admin": False}, "ada@example.com is no administrator any more.\n"),
    ],
)
def test_account_is_changed(shell: Any, server: Any, arguments: tuple[str, ...], changes: Any, said: str) -> None:
    assert shell("users", *arguments).stdout == said
    assert _last(server) == ("PATCH", f"admin/users/{ADA}", changes)


def test_account_of_somebody_is_deleted_after_a_yes(shell: Any, server: Any) -> None:
    refused = shell("users", "delete", "bob@example.com", input="n\n")
    assert (refused.exit_code, "Delete the account of bob@example.com for good" in refused.stderr) == (1, True)
    assert "DELETE" not in {method for method, _, _ in server.requests}
    result = shell("users", "delete", "bob@example.com", "-y")
    assert result.stdout.startswith("The account of bob@example.com is deleted.")
    assert ("DELETE", f"admin/users/{BOB}", {}) in server.requests


def test_account_that_is_meant_must_be_one(shell: Any, server: Any) -> None:
    server.accounts.users.append(an_account(ADA[:-1] + "9", "eve@example.com"))
    result = shell("users", "disable", ADA[:-2])
    assert (result.exit_code, "may be any of 2 accounts. Give the id: " in result.stderr) == (1, True)
    result = shell("users", "disable", "none@example.com")
    assert result.stderr == "Error: There is no account 'none@example.com'. docutalk users list shows them.\n"


def test_invitation_to_an_account_says_only_how_to_make_one(shell: Any, server: Any) -> None:
    result = shell("users", "invite")
    assert result.stdout == f"{server.url}/api/v1/invited/{TOKEN}\n"
    assert "docutalk join" not in result.stderr
    assert _last(server) == ("POST", "admin/invitations", {})
    assert shell("users", "invitations").stdout.splitlines()[1].startswith("anybody\t–\t")


def test_signing_key_is_rotated(shell: Any, server: Any) -> None:
    assert shell("signing-keys", "rotate").stdout == (
        "k3 signs from now on. Tokens of the keys before stay valid until their own end.\n"
    )
    server.accounts.signing_keys[1]["retires_at"] = LATER
    _, new, old = shell("signing-keys", "list").stdout.splitlines()
    assert (new.split("\t")[0], new.split("\t")[2], old.split("\t")[0]) == ("k3 *", "–", "k2")
    assert "are refused" in shell("signing-keys", "rotate", "--at-once").stdout
    assert _last(server)[2] == {"at_once": True}


def _entry(**changes: Any) -> dict[str, Any]:
    entry = {"id": ADA, "at": AT, "action": "share.opened", "actor": "visitor", "actor_id": BOB, "actor_name": None}
    return entry | {"workspace_id": MINE, "target_id": None, "details": {}} | changes


def test_audit_log_tells_who_did_what_in_a_workspace(shell: Any, server: Any) -> None:
    server.accounts.entries = [
        _entry(),
        _entry(action="member.changed", actor="key", actor_name="Ada", target_id=BOB, details={"role": "viewer", "was": None}),
        _entry(action="erasure.completed", actor="system", actor_id=None),
    ]
    head, opened, changed, erased = shell("audit-log").stdout.splitlines()
    assert head == "at\twho\twhat"
    assert opened.split("\t")[1:] == [f"{BOB} (visitor)", "share.opened"]
    assert changed.split("\t")[1:] == ["Ada (key)", f"member.changed (role viewer, {BOB})"]
    assert erased.split("\t")[1:] == ["system", "erasure.completed"]
    assert json.loads(shell("audit-log", "-n", "1", "--json").stdout) == {"entries": server.accounts.entries[:1]}


def test_audit_log_of_the_installation_is_narrowed_by_people_actions_and_times(shell: Any, server: Any) -> None:
    server.accounts.entries = [_entry()]
    arguments = ("--all", "--by", "bob@example.com", "--action", "share.opened", "--since", "2026-01-01", "--until", "2026-01-02")
    head, line = shell("audit-log", *arguments).stdout.splitlines()
    assert head == "at\twho\twhat\tfrom\tworkspace"
    assert line.split("\t")[3:] == ["192.0.2.7", MINE]
    asked = server.accounts.queries[-1]
    assert (asked["actor_id"], asked["action"]) == (BOB, "share.opened")
    assert asked["since"].startswith("2026-01-01T00:00:00")
    assert asked["until"].startswith("2026-01-03T00:00:00")
    assert _last(server)[1] == "admin/audit-log"
    shell("audit-log", "--by", "Ada")
    assert server.accounts.queries[-1]["actor_id"] == ADA


# What a terminal would obey --------------------------------------------------------------------------------------


def test_terminal_does_not_obey_what_others_call_themselves(shell: Any, server: Any) -> None:
    hostile = "x\x1b]0;PWNED\x07"
    server.accounts.members[0]["display_name"] = hostile
    server.accounts.users[0]["display_name"] = hostile
    server.accounts.workspaces[0]["name"] = hostile
    server.accounts.invited["invited_by"] = hostile
    outputs = [shell(*command).output for command in (("members", "list"), ("users", "list"), ("workspaces", "list"))]
    outputs.append(shell("register", "-i", TOKEN, "--email", "x", "--name", "", input="").output)
    for output in outputs:
        assert "\ufffd]0;PWNED" in output
        assert "\x1b" not in output
