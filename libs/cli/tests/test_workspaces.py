"""Workspaces and their members, as text, as JSON and as what the server is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .account_calls import ADA, AT, BOB, LATER, MINE, TEAM, TOKEN, a_workspace, an_erasure, an_invitation


def _last(server: Any) -> tuple[str, str, Any]:
    found: tuple[str, str, Any] = server.requests[-1]
    return found


def test_workspaces_are_listed_with_a_star_at_the_default_one(shell: Any, server: Any) -> None:
    server.accounts.workspaces[1]["archived_at"] = AT
    head, mine, team = shell("workspaces", "list").stdout.splitlines()
    assert head == "workspace\tyour role\tmade\tid"
    assert mine.startswith("Mine *\towner\t")
    assert team.startswith("Team (archived)\tviewer\t")
    assert json.loads(shell("workspaces", "list", "--json").stdout) == {"workspaces": server.accounts.workspaces}


@pytest.mark.parametrize(
    ("arguments", "asked", "said"),
    [
        (("create", "New"), ("POST", "workspaces", {"name": "New"}), "✓ New is there: docutalk upload FILES -w "),
        (("rename", "Team", "Crew"), ("PATCH", f"workspaces/{TEAM}", {"name": "Crew"}), "Team is called Crew now."),
        (("default", "Team"), ("PATCH", "users/me", {"default_workspace_id": TEAM}), "Team is your default workspace now."),
        (("archive", "Team"), ("POST", f"workspaces/{TEAM}/archive", {}), "Team rests now."),
        (("restore", TEAM), ("POST", f"workspaces/{TEAM}/restore", {}), "Team is taken up again."),
    ],
)
def test_workspace_is_changed_as_the_server_is_asked(
    shell: Any, server: Any, arguments: tuple[str, ...], asked: tuple[str, str, Any], said: str
) -> None:
    result = shell("workspaces", *arguments)
    assert (result.exit_code, result.stdout.startswith(said)) == (0, True)
    assert _last(server) == asked
    assert isinstance(json.loads(shell("workspaces", *arguments, "--json").stdout), dict)


def test_deletion_of_a_workspace_is_followed_until_every_service_has_said_what_it_removed(shell: Any, server: Any) -> None:
    pending = {"status": "pending", "completed_at": None}
    receipt = {"service": "gateway", "removed": {"members": 2}}
    server.accounts.erasures = [
        an_erasure(**pending, receipts=[receipt], waiting_for=["ingest"]),
        an_erasure(**pending, receipts=[receipt], waiting_for=[]),
        an_erasure(),
    ]
    refused = shell("workspaces", "delete", "Team", input="n\n")
    assert (refused.exit_code, f"Delete Team ({TEAM}) with all that is in it, for good?" in refused.stderr) == (1, True)
    assert "DELETE" not in {method for method, _, _ in server.requests}
    first, head, *services = shell("workspaces", "delete", "Team", "--yes").stdout.splitlines()
    assert first == f"Team is deleted. What becomes of it everywhere: docutalk erasure {BOB}"
    assert head.startswith(f"Erasure {BOB} of a workspace: complete since ")
    assert services == ["gateway  members 2", "ingest   nothing was there"]


def test_deletion_that_is_not_waited_for_is_looked_at_later_without_a_sign_in(shell: Any, server: Any) -> None:
    pending = an_erasure(status="pending", completed_at=None, receipts=[], waiting_for=["chat"], children=[ADA])
    server.accounts.erasures = [pending]
    server.accounts.children = {ADA: an_erasure(ADA)}
    assert json.loads(shell("workspaces", "delete", "Team", "--yes", "--no-wait", "--json").stdout) == pending
    (shell.folder / ".docutalk" / "cli.json").write_text(json.dumps({"url": server.url}))
    lines = shell("erasure", BOB).stdout.splitlines()
    assert lines[:2] == [f"Erasure {BOB} of a workspace: pending", "chat  not done yet"]
    assert lines[2].startswith(f"Erasure {ADA} of a workspace: complete since ")


def test_usage_stands_beside_what_is_allowed(shell: Any) -> None:
    assert shell("workspaces", "usage", "-w", "Team").stdout.splitlines() == [
        "documents        4 of 5",
        "files            12.0 MB, no limit",
        "pages            1,234",
        "sources          1",
        "questions today  7 of 1,000",
        "members          2",
    ]


def test_without_a_default_workspace_it_is_said_what_to_do(shell: Any, server: Any) -> None:
    server.accounts.me["default_workspace_id"] = None
    result = shell("status")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: You have no default workspace. Say which one with --workspace, make one with")
    assert shell("whoami").exit_code == 0
    assert "workspace      –" in shell("account", "show").stdout
    assert shell("status", "-w", "Team").exit_code == 0


def test_name_of_two_workspaces_asks_for_an_id_and_an_unknown_one_lists_them(shell: Any, server: Any) -> None:
    result = shell("workspaces", "rename", "None", "x")
    assert (result.exit_code, result.stderr) == (1, "Error: There is no workspace 'None'. There are: Mine, Team\n")
    server.accounts.workspaces.append(a_workspace(BOB, "Team"))
    result = shell("workspaces", "rename", "Team", "x")
    assert result.stderr == f"Error: 'Team' may be any of 2 workspaces. Give the id: {TEAM}, {BOB}\n"


def test_members_are_listed_by_address_with_their_roles(shell: Any, server: Any) -> None:
    head, ada, bob = shell("members", "list").stdout.splitlines()
    assert head == "member\tname\trole\tsince\tid"
    assert ada.startswith("ada@example.com\tAda\towner\t")
    assert bob.startswith("bob@example.com\t–\tviewer\t")
    assert json.loads(shell("members", "list", "--json").stdout) == {"members": server.accounts.members}


def test_invitation_is_a_link_alone_on_standard_output(shell: Any, server: Any) -> None:
    result = shell("members", "invite", "bob@example.com", "--role", "editor", "--expires", "2d")
    assert result.stdout == f"{server.url}/api/v1/invited/{TOKEN}\n"
    assert "Hand it to bob@example.com: nothing is sent" in result.stderr
    assert "docutalk register --invitation LINK" in result.stderr
    body = {"email": "bob@example.com", "expires_in_hours": 48, "role": "editor"}
    assert _last(server) == ("POST", f"workspaces/{MINE}/invitations", body)
    assert json.loads(shell("members", "invite", "--json").stdout)["token"] == TOKEN
    assert _last(server)[2] == {"role": "viewer"}


def test_terminal_does_not_break_a_link_into_lines(terminal: Any, server: Any) -> None:
    running = terminal("members", "invite")
    assert running.code() == 0
    assert f"{server.url}/api/v1/invited/{TOKEN}\r\n" in running.screen


@pytest.mark.parametrize("length", ["30m", "soon", "0h", "2026-12-31"])
def test_length_that_an_invitation_cannot_have_is_a_wrong_command_line(shell: Any, server: Any, length: str) -> None:
    result = shell("members", "invite", "--expires", length)
    assert (result.exit_code, "is no length of an hour or more" in result.stderr) == (2, True)
    assert server.requests == []


def test_invitation_is_withdrawn_by_the_address_that_it_is_for(shell: Any, server: Any) -> None:
    server.accounts.invitations = [an_invitation(ADA, email="x@example.com", role="editor"), an_invitation(BOB)]
    head, first, second = shell("members", "invitations").stdout.splitlines()
    assert head == "for\trole\tmade\texpires\tid"
    assert (first.split("\t")[:2], second.split("\t")[:2]) == (["x@example.com", "editor"], ["anybody", "–"])
    result = shell("members", "withdraw", "x@example.com")
    assert result.stdout == "The invitation for x@example.com is withdrawn.\n"
    assert [item["id"] for item in server.accounts.invitations] == [BOB]
    result = shell("users", "withdraw", "x@example.com")
    assert result.stderr.endswith("docutalk users invitations shows those that wait to be used.\n")


def test_member_gets_another_role_and_is_removed_after_a_yes(shell: Any, server: Any) -> None:
    assert shell("members", "role", "bob@example.com", "editor").stdout == "bob@example.com is an editor now.\n"
    assert _last(server) == ("PATCH", f"workspaces/{MINE}/members/{BOB}", {"role": "editor"})
    assert shell("members", "remove", "bob@example.com", input="n\n").exit_code == 1
    assert len(server.accounts.members) == 2
    assert shell("members", "remove", "0190", "--yes").stdout == "bob@example.com is no member any more.\n"
    assert [member["user_id"] for member in server.accounts.members] == [ADA]
    result = shell("members", "role", "bob@example.com", "viewer")
    assert result.stderr == "Error: There is no member 'bob@example.com'. docutalk members list shows them.\n"


def test_oneself_leaves_a_workspace_and_hands_it_over(shell: Any, server: Any) -> None:
    server.accounts.me["id"] = ADA
    result = shell("members", "transfer", "bob@example.com", "-y")
    assert result.stdout == "bob@example.com owns Mine now, and you are an editor of it.\n"
    assert _last(server) == ("POST", f"workspaces/{MINE}/owner", {"user_id": BOB})
    result = shell("members", "leave", input="y\n")
    assert (result.exit_code, "Leave Mine, and end the share links that you made?" in result.stderr) == (0, True)
    assert _last(server)[:2] == ("DELETE", f"workspaces/{MINE}/members/{ADA}")


def test_ctrl_c_at_a_question_leaves_at_once(terminal: Any, server: Any) -> None:
    running = terminal("workspaces", "delete", "Team")
    running.read_until("[y/N]: ")
    running.wait_until_it_reads()
    running.interrupt()
    assert running.code() == 1
    assert "Aborted" in running.screen
    assert "DELETE" not in {method for method, _, _ in server.requests}


def test_ctrl_c_while_an_erasure_is_waited_for_says_that_it_goes_on(terminal: Any, server: Any) -> None:
    server.accounts.erasures = [an_erasure(status="pending", completed_at=None, receipts=[], waiting_for=["chat"])]
    running = terminal("erasure", BOB, "--wait")
    running.read_until("waiting for")
    running.interrupt()
    assert running.code() == 130
    assert "The erasure goes on without" in running.screen
    assert BOB in running.screen


def test_quotas_are_listed_with_the_names_that_one_may_know(shell: Any, server: Any) -> None:
    server.accounts.quotas[1]["archived_at"] = LATER
    head, mine, other = shell("quota", "show").stdout.splitlines()
    assert head == "workspace\tmembers\tdocuments\tfiles\tquestions a day\tmade\tid"
    assert mine.startswith("Mine\t2\t3 of no limit\t4.5 MB of no limit\tno limit\t")
    assert other.startswith("– (archived)\t2\t")
    assert len(shell("quota", "show", "0190").stdout.splitlines()) == 2


def test_quota_of_a_workspace_is_set_and_given_back(shell: Any, server: Any) -> None:
    result = shell("quota", "set", "Mine", "--documents", "10", "--size", "1.5GB", "--questions", "default")
    assert _last(server) == (
        "PATCH",
        f"admin/workspaces/{MINE}",
        {"max_documents": 10, "max_bytes": 1_500_000_000, "max_questions_per_day": None},
    )
    assert result.stdout.splitlines()[1].startswith("Mine\t2\t3 of 10 (own)\t4.5 MB of 1.5 GB (own)\tno limit\t")


@pytest.mark.parametrize("option", [("--documents", "-1"), ("--size", "much"), ("--questions", "x"), ()])
def test_quota_that_makes_no_sense_is_a_wrong_command_line(shell: Any, server: Any, option: tuple[str, ...]) -> None:
    assert shell("quota", "set", "Mine", *option).exit_code == 2
    assert server.requests == []
