"""`docutalk members`: who may come into a workspace, and as what."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli import invitations, prompts
from docutalk_cli.client import Api, Json, every
from docutalk_cli.lookup import one_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, Yes, run_in_workspace
from docutalk_cli.output import Exit, Output, time_text

app = typer.Typer(name="members", help="Who may come into a workspace, and as what.", no_args_is_help=True, add_completion=False)


class Role(StrEnum):
    """What somebody may do in a workspace: everything; add and change documents; read and ask."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"


Named = Annotated[str, typer.Argument(metavar="MEMBER", help="E-mail address, name, id, or the beginning of that.")]
_COLUMNS = ("member", "name", "role", "since", "id")


@app.command("list")
def list_members(workspace: Workspace = None, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List the members of a workspace, oldest first."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        found = [item async for item in every(api, f"/workspaces/{workspace_id}/members")]
        if as_json:
            output.json({"members": found})
        else:
            output.table(_COLUMNS, [_row(member) for member in found], wide="member", optional=("id", "since", "name"))
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@app.command("invite")
def invite(
    email: invitations.Email = None,
    *,
    role: Annotated[Role, typer.Option("--role", help="What they may do.")] = Role.VIEWER,
    expires: invitations.Expires = None,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make a link by which one person becomes a member, with or without an account. Owners only. It is printed this once."""
    output = Output(as_json=as_json)
    body = invitations.wanted(email, expires) | {"role": role.value}

    async def work(api: Api, workspace_id: str) -> Exit:
        return await invitations.invite(api, output, f"/workspaces/{workspace_id}/invitations", body)

    run_in_workspace(output, workspace, url, home, work)


@app.command("invitations")
def list_invitations(workspace: Workspace = None, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List the invitations that wait to be used, newest first."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        return await invitations.list_invitations(api, output, f"/workspaces/{workspace_id}/invitations")

    run_in_workspace(output, workspace, url, home, work)


@app.command("withdraw")
def withdraw(
    invitation: invitations.Named,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Take back an invitation that was not used yet."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        path = f"/workspaces/{workspace_id}/invitations"
        return await invitations.withdraw(api, output, path, invitation, "docutalk members invitations")

    run_in_workspace(output, workspace, url, home, work)


@app.command("role")
def change_role(
    member: Named,
    role: Annotated[Role, typer.Argument(help="What they may do from now on.")],
    *,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Give a member another role."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        found = await member_of(api, workspace_id, member)
        path = f"/workspaces/{workspace_id}/members/{found['user_id']}"
        changed = await api.patch(path, {"role": role.value})
        if as_json:
            output.json(changed)
        else:
            output.line(f"{changed['email']} is {a_role(changed['role'])} now.")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@app.command("remove")
def remove(
    member: Named,
    *,
    yes: Yes = False,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Remove a member. The workspace is closed to them at once, and so are the share links that they made."""
    output = Output(as_json=as_json)
    if not yes:
        typer.confirm(f"Remove {member}, with the share links that they made?", abort=True, err=True)

    async def work(api: Api, workspace_id: str) -> Exit:
        found = await member_of(api, workspace_id, member)
        await api.delete(f"/workspaces/{workspace_id}/members/{found['user_id']}")
        if as_json:
            output.json({"user_id": found["user_id"]})
        else:
            output.line(f"{found['email']} is no member any more.")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@app.command("leave")
def leave(
    *, yes: Yes = False, workspace: Workspace = None, url: Url = None, home: HomeFolder = None, as_json: AsJson = False
) -> None:
    """Leave a workspace. Its only owner cannot: see docutalk members transfer."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        name = (await api.get(f"/workspaces/{workspace_id}"))["name"]
        if not yes:
            prompts.confirm(f"Leave {name}, and end the share links that you made?")
        me = await api.get("/users/me")
        await api.delete(f"/workspaces/{workspace_id}/members/{me['id']}")
        if as_json:
            output.json({"workspace_id": workspace_id})
        else:
            output.line(f"You are no member of {name} any more.")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@app.command("transfer")
def transfer(
    member: Named,
    *,
    yes: Yes = False,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make a member the owner in your place. You are an editor then."""
    output = Output(as_json=as_json)
    if not yes:
        typer.confirm(f"Make {member} the owner in your place?", abort=True, err=True)

    async def work(api: Api, workspace_id: str) -> Exit:
        found = await member_of(api, workspace_id, member)
        changed = await api.post(f"/workspaces/{workspace_id}/owner", {"user_id": found["user_id"]})
        if as_json:
            output.json(changed)
        else:
            output.line(f"{found['email']} owns {changed['name']} now, and you are {a_role(changed['role'])} of it.")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


async def member_of(api: Api, workspace: str, name: str) -> Json:
    """A member given by e-mail address, name, id, or the beginning of that."""
    members = [item async for item in every(api, f"/workspaces/{workspace}/members")]
    hint = "docutalk members list shows them."
    return one_of(members, name, "email", "display_name", noun="member", hint=hint, key="user_id")


def a_role(role: str) -> str:
    """`a viewer`, `an owner`."""
    return f"a {role}" if role == Role.VIEWER else f"an {role}"


def _row(member: Json) -> list[str | Text]:
    return [
        member["email"],
        member["display_name"] or "–",
        member["role"],
        time_text(member["created_at"]),
        member["user_id"],
    ]
