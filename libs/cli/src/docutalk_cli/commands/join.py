"""`docutalk join`, `register` and `reset-password`: what is done with a link that somebody handed over."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from docutalk_cli import prompts
from docutalk_cli.account import Account, TokenStore, find_account, place_only
from docutalk_cli.client import Api, Json
from docutalk_cli.commands.members import a_role
from docutalk_cli.links import Kind, Link, read
from docutalk_cli.options import AsJson, HomeFolder, Url, run
from docutalk_cli.output import Exit, Output

_LINK = "The link, or only its token for the server that commands go to."


def join(
    link: Annotated[str, typer.Argument(metavar="LINK", help=_LINK)],
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Follow an invitation into a workspace, with the account that you have."""
    output = Output(as_json=as_json)
    invitation = read(link, Kind.INVITATION)

    async def work() -> Exit:
        async with Api(invitation.account(url, home), TokenStore()) as api:
            joined = await api.post(f"/invited/{invitation.token}/accept", {})
        if as_json:
            output.json(joined)
        else:
            output.line(f"You are {a_role(joined['role'])} of {joined['name']} now: docutalk status -w {joined['id']}")
        return Exit.OK

    run(output, work)


def register(
    *,
    invitation: Annotated[str | None, typer.Option("--invitation", "-i", metavar="LINK", help=_LINK)] = None,
    email: Annotated[str | None, typer.Option("--email", help="Your address; asked for when not given.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="What you are called; asked for when not given.")] = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make an account, with an invitation where registration is closed, and sign in.

    The password is asked for, or taken from DOCUTALK_NEW_PASSWORD.
    """
    output = Output(as_json=as_json)
    link = None if invitation is None else read(invitation, Kind.INVITATION)

    async def work() -> Exit:
        account = link.place(url, home) if link is not None else find_account(url, home, place_only(os.environ), TokenStore())
        store = TokenStore()
        async with Api(Account(account.url), store) as api:
            suggested = await _invited(api, output, link) if link is not None else None
            who = email or prompts.ask("E-mail", suggested)
            called = name if name is not None else prompts.ask("Your name", "")
            secret = prompts.new_password("Password")
            body = {"email": who, "password": secret}
            body |= {"display_name": called} if called.strip() else {}
            body |= {"invitation": link.token} if link is not None else {}
            made = await api.public("POST", "/auth/register", body)
            tokens = await api.sign_in(made["email"], secret)
        with store.locked():
            store.put(account.url, tokens)
        if as_json:
            output.json({"url": account.url, **made})
        else:
            output.line(f"Your account is there. Signed in at {account.url} as {made['email']}.")
        return Exit.OK

    run(output, work)


async def _invited(api: Api, output: Output, link: Link) -> str | None:
    """Says what the invitation is. Returns the only address that it works for."""
    found: Json = await api.public("GET", f"/invited/{link.token}")
    by = found["invited_by"] or "Somebody"
    where = f"as {a_role(found['role'])} of {found['workspace']}" if found["workspace"] else f"to {api.account.url}"
    output.note(f"{by} invites you {where}.")
    email: str | None = found["email"]
    return email


def reset_password(
    link: Annotated[str, typer.Argument(metavar="LINK", help=_LINK)],
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Set a new password with the link of an administrator. It ends all of your sign-ins.

    The password is asked for, or taken from DOCUTALK_NEW_PASSWORD.
    """
    output = Output(as_json=as_json)
    reset = read(link, Kind.RESET)

    async def work() -> Exit:
        secret = prompts.new_password()
        place = Account(reset.place(url, home).url)
        async with Api(place, TokenStore()) as api:
            await api.public("POST", "/auth/reset", {"token": reset.token, "new_password": secret})
        if as_json:
            output.json({"url": place.url})
        else:
            output.line(f"The new password is set. Sign in with docutalk login --url {place.url}")
        return Exit.OK

    run(output, work)
