"""Share links: made, changed and opened, and what a visitor's commands ask the server."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from .account_calls import ADA, AT, BOB, LATER, MINE, TOKEN, a_share

DOCUMENT = "01890000-0000-7000-8000-0000000000d1"


def _last(server: Any) -> tuple[str, str, Any]:
    found: tuple[str, str, Any] = server.requests[-1]
    return found


def _hold_document(server: Any) -> None:
    progress = {"percent": 100}
    document = {"id": DOCUMENT, "filename": "report.pdf", "status": "ready", "page_count": 1, "chunk_count": 1, "size": 9}
    server.documents = {DOCUMENT: document | {"progress": progress}}


def test_link_is_alone_on_standard_output_and_beside_it_what_it_is_good_for(shell: Any, server: Any) -> None:
    _hold_document(server)
    shell.environment |= {"DOCUTALK_SHARE_PASSWORD": "sesame sesame"}
    arguments = ("--document", "report.pdf", "--allow", "search,view", "--expires", "7d", "--uses", "3", "--name", "for Ada")
    result = shell("shares", "create", *arguments, "--password")
    assert result.stdout == f"{server.url}/api/v1/shared/{TOKEN}\n"
    assert "one document: view, search; until " in result.stderr
    assert "opened 3 times at most; with its password" in result.stderr
    method, path, body = _last(server)
    assert (method, path) == ("POST", f"workspaces/{MINE}/shares")
    left = datetime.fromisoformat(body.pop("expires_at")) - datetime.now(UTC)
    assert timedelta(days=7, minutes=-5) < left <= timedelta(days=7)
    assert body == {
        "target": {"kind": "document", "id": DOCUMENT},
        "permissions": ["view", "search"],
        "name": "for Ada",
        "max_uses": 3,
        "password": "sesame sesame",
    }


def test_link_without_more_lets_see_the_whole_workspace(shell: Any, server: Any) -> None:
    result = shell("shares", "create")
    assert "the whole workspace: view; until it is revoked" in result.stderr
    assert _last(server)[2] == {"target": {"kind": "workspace"}, "permissions": ["view"]}
    assert json.loads(shell("shares", "create", "--json").stdout)["token"] == TOKEN


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "--document", "x", "--session", "last"), "a link is of one thing"),
        (("create", "--allow", "view,fly"), "is none of view, search, chat, comment, copy"),
        (("create", "--expires", "2020-01-01"), "is no time to come"),
        (("create", "--uses", "0"), "greater than or equal to 1"),
        (("change", "x"), "say what to change"),
        (("change", "x", "--uses", "3", "--without", "uses"), "give either --uses or --without uses"),
    ],
)
def test_link_that_makes_no_sense_is_a_wrong_command_line(shell: Any, server: Any, arguments: tuple[str, ...], said: str) -> None:
    result = shell("shares", *arguments)
    assert (result.exit_code, said in " ".join(result.stderr.replace("│", " ").split())) == (2, True)
    assert server.requests == []


def test_links_are_listed_with_their_state_and_shown_with_the_name_of_what_they_lead_to(shell: Any, server: Any) -> None:
    _hold_document(server)
    server.accounts.shares = [
        a_share(ADA, name="for Ada", target={"kind": "document", "id": DOCUMENT}, uses=2, max_uses=3, expires_at=LATER),
        a_share(BOB, state="used_up"),
    ]
    head, first, second = shell("shares", "list").stdout.splitlines()
    assert head == "link\tof\tallows\tstate\tuses\texpires\tid"
    assert first.startswith(f"for Ada\tdocument {DOCUMENT}\tview\tactive\t2 of 3\t2026-02-03 ")
    assert second.startswith("tok-abcd…\tworkspace\tview\tused up\t0\tnever\t")
    assert f"of        document report.pdf ({DOCUMENT})" in shell("shares", "show", "for Ada").stdout
    server.documents.clear()
    assert f"of        document {DOCUMENT}\n" in shell("shares", "show", "for Ada").stdout
    assert json.loads(shell("shares", "show", "for Ada", "--json").stdout) == server.accounts.shares[0]


def test_link_is_changed_and_loses_what_it_can_do_without(shell: Any, server: Any) -> None:
    server.accounts.shares = [a_share(ADA, has_password=True, max_uses=3, expires_at=LATER)]
    arguments = ("--allow", "view,copy", "--without", "password", "--without", "expires", "--without", "uses")
    lines = shell("shares", "change", "tok-abcd", *arguments).stdout.splitlines()
    changes = {"permissions": ["view", "copy"], "password": None, "expires_at": None, "max_uses": None}
    assert _last(server) == ("PATCH", f"workspaces/{MINE}/shares/{ADA}", changes)
    assert {"allows    view, copy", "uses      0", "expires   never", "password  no"} <= set(lines)


def test_link_is_revoked_after_a_yes(shell: Any, server: Any) -> None:
    server.accounts.shares = [a_share(ADA, name="for Ada")]
    assert shell("shares", "revoke", "for Ada", input="n\n").exit_code == 1
    assert len(server.accounts.shares) == 1
    assert shell("shares", "revoke", "for Ada", "--yes").stdout == "The link for Ada is revoked.\n"
    result = shell("shares", "revoke", "for Ada", "--yes")
    assert result.stderr == "Error: There is no link 'for Ada'. docutalk shares list shows them.\n"


def test_log_of_a_link_tells_what_was_done_and_refused(shell: Any, server: Any) -> None:
    server.accounts.shares = [a_share(ADA)]
    access = {"id": ADA, "at": AT, "visit_id": None, "document_id": None, "reason": None, "address": "192.0.2.7"}
    server.accounts.accesses = [
        access | {"action": "get_page", "visit_id": BOB, "document_id": DOCUMENT, "user_agent": None},
        access | {"action": "refused", "reason": "password", "user_agent": None},
    ]
    head, seen, refused = shell("shares", "log", "tok-abcd").stdout.splitlines()
    assert head == "at\twhat\tdocument\tvisit\tfrom"
    assert seen.split("\t")[1:] == ["get_page", DOCUMENT, BOB, "192.0.2.7"]
    assert refused.split("\t")[1:] == ["refused: password", "–", "–", "192.0.2.7"]


def _opened(result: Any) -> dict[str, str]:
    words = [shlex.split(line) for line in result.stdout.splitlines()]
    assert all(word[0] == "export" for word in words)
    return dict(word[1].split("=", 1) for word in words)


def test_opened_link_gives_the_variables_with_which_other_commands_work(shell: Any, server: Any) -> None:
    _hold_document(server)
    (shell.folder / ".docutalk" / "cli.json").unlink()
    result = shell("shares", "open", f"{server.url}/api/v1/shared/{TOKEN}")
    assert "The document report.pdf is open until " in result.stderr
    assert "docutalk search WORDS" in result.stderr
    assert "docutalk ask" not in result.stderr
    variables = _opened(result)
    assert (variables["DOCUTALK_URL"], variables["DOCUTALK_WORKSPACE"]) == (server.url, MINE)
    shell.environment |= variables
    server.requests.clear()
    assert "report.pdf" in shell("status").stdout
    assert shell("status", "report.pdf").exit_code == 0
    assert shell("search", "sales", "-d", "report.pdf").exit_code == 0
    assert shell("versions", "report.pdf").exit_code == 0
    # A visitor may call nothing outside of the workspace.
    assert {path.split("/")[1] for _, path, _ in server.requests} == {MINE}


def test_link_to_a_conversation_says_how_to_read_it(shell: Any, server: Any) -> None:
    server.accounts.visit_target = {"kind": "session", "id": ADA}
    result = shell("shares", "open", TOKEN)
    assert f"docutalk sessions show {ADA}" in result.stderr
    assert "docutalk status" not in result.stderr


def test_password_of_a_link_is_asked_for_when_it_has_one(shell: Any, server: Any) -> None:
    server.accounts.link_password = "sesame sesame"
    refused = shell("shares", "open", TOKEN, input="wrong\n")
    assert (refused.exit_code, refused.stderr.endswith("Error: The password of this link is another one.\n")) == (1, True)
    result = shell("shares", "open", TOKEN, "--json", input="sesame sesame\n")
    assert json.loads(result.stdout[result.stdout.index("{") :])["workspace_id"] == MINE
    shell.environment |= {"DOCUTALK_SHARE_PASSWORD": "sesame sesame"}
    assert "The document is open until " in shell("shares", "open", TOKEN).stderr


def test_link_that_has_ended_is_one_sentence(shell: Any) -> None:
    result = shell("shares", "open", "tok-of-nobody-at-all")
    assert (result.exit_code, result.stderr) == (1, "Error: There is no such link, or it has ended.\n")


def test_visit_that_has_ended_says_so(shell: Any, server: Any) -> None:
    shell.environment |= _opened(shell("shares", "open", TOKEN))
    server.valid.clear()
    result = shell("status")
    assert result.exit_code == 3
    assert result.stderr == (
        f"Error: {server.url} does not accept the token in DOCUTALK_TOKEN. This needs an access token. Sign in first.\n"
    )
