"""`docutalk users`: the accounts of an installation. For administrators."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli import invitations, prompts
from docutalk_cli.client import Api, Json, every
from docutalk_cli.erasures import NoWait, told
from docutalk_cli.lookup import is_id, one_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Yes, run_connected
from docutalk_cli.output import Exit, Output, time_text

app = typer.Typer(
    name="users", help="The accounts of the installation. For administrators.", no_args_is_help=True, add_completion=False
)

USERS = "/admin/users"
INVITATIONS = "/admin/invitations"
Named = Annotated[str, typer.Argument(metavar="USER", help="E-mail address, id, or the beginning of that.")]
_COLUMNS = ("user", "name", "is", "since", "id")


@app.command("list")
def list_users(
    *,
    search: Annotated[str | None, typer.Option("--search", metavar="TEXT", help="Only those with it in address or name.")] = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """List accounts, newest first."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = [item async for item in every(api, USERS, q=search)]
        if as_json:
            output.json({"users": found})
        else:
            output.table(_COLUMNS, [_row(user) for user in found], wide="user", optional=("id", "since", "name"))
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("invite")
def invite(
    email: invitations.Email = None,
    *,
    expires: invitations.Expires = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make a link by which one person makes an account, also while registration is closed. It is printed this once."""
    output = Output(as_json=as_json)
    body = invitations.wanted(email, expires)

    async def work(api: Api) -> Exit:
        return await invitations.invite(api, output, INVITATIONS, body)

    run_connected(output, url, home, work)


@app.command("invitations")
def list_invitations(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List the invitations to an account that wait to be used, newest first."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        return await invitations.list_invitations(api, output, INVITATIONS)

    run_connected(output, url, home, work)


@app.command("withdraw")
def withdraw(invitation: invitations.Named, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Take back an invitation that was not used yet."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        return await invitations.withdraw(api, output, INVITATIONS, invitation, "docutalk users invitations")

    run_connected(output, url, home, work)


@app.command("disable")
def disable(user: Named, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Keep an account out: its sign-ins and keys are refused from now on. Nothing is deleted."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        return await _change(api, output, user, {"disabled": True}, "is kept out from now on.")

    run_connected(output, url, home, work)


@app.command("enable")
def enable(user: Named, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Let an account in again."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        return await _change(api, output, user, {"disabled": False}, "is let in again.")

    run_connected(output, url, home, work)


@app.command("admin")
def admin(
    user: Named,
    *,
    revoke: Annotated[bool, typer.Option("--revoke", help="Make an administrator none any more.")] = False,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make somebody an administrator."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        said = "is no administrator any more." if revoke else "is an administrator now."
        return await _change(api, output, user, {"is_admin": not revoke}, said)

    run_connected(output, url, home, work)


@app.command("vouch")
def vouch(user: Named, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Say that an account's address is its owner's: the OpenID provider's word for that address then opens it."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        return await _change(api, output, user, {"email_vouched": True}, "may sign in at the OpenID provider.")

    run_connected(output, url, home, work)


@app.command("unlink")
def unlink(user: Named, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Take from an account whom it belongs to at the OpenID provider, for example when its address was given to somebody new."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = await user_of(api, user)
        await api.delete(f"{USERS}/{found['id']}/openid")
        if as_json:
            output.json({"user_id": found["id"]})
        else:
            output.line(f"{found['email']} belongs to nobody at the OpenID provider now, and is signed out.")
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("reset-password")
def reset_password(user: Named, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Make a link with which somebody sets a new password. It is printed this once."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = await user_of(api, user)
        made = await api.post(f"{USERS}/{found['id']}/password-reset", {})
        if as_json:
            output.json(made)
            return Exit.OK
        output.raw(f"{made['link']}\n")
        until = time_text(made["expires_at"])
        output.note(f"\nHand it to {found['email']}: nothing is sent, and it is not shown again. It works once, until {until}.")
        output.note("  docutalk reset-password LINK")
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("delete")
def delete(
    user: Named,
    *,
    yes: Yes = False,
    no_wait: NoWait = False,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Delete an account for good, with its conversations and the workspaces that are its alone."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = await user_of(api, user)
        if not yes:
            what = "with the conversations, and the workspaces that are theirs alone"
            prompts.confirm(f"Delete the account of {found['email']} for good, {what}?")
        erasure = await api.delete(f"{USERS}/{found['id']}")
        return await told(api, output, f"The account of {found['email']}", erasure, wait=not no_wait)

    run_connected(output, url, home, work)


async def user_of(api: Api, name: str) -> Json:
    """An account given by e-mail address, id, or the beginning of that."""
    words = name if "@" in name and not is_id(name) else None
    users = [item async for item in every(api, USERS, q=words)]
    return one_of(users, name, "email", noun="account", hint="docutalk users list shows them.")


async def _change(api: Api, output: Output, name: str, changes: Json, said: str) -> Exit:
    found = await user_of(api, name)
    changed = await api.patch(f"{USERS}/{found['id']}", changes)
    if output.as_json:
        output.json(changed)
    else:
        output.line(f"{changed['email']} {said}")
    return Exit.OK


def _row(user: Json) -> list[str | Text]:
    is_ = Text(", ".join(["administrator"] * user["is_admin"] + ["disabled"] * user["disabled"]) or "–")
    if user["disabled"]:
        is_.stylize("red")
    return [user["email"], user["display_name"] or "–", is_, time_text(user["created_at"]), user["id"]]
