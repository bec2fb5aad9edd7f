"""`docutalk account`: oneself."""

from __future__ import annotations

from typing import Annotated

import typer

from docutalk_cli import prompts
from docutalk_cli.account import TokenStore
from docutalk_cli.client import Api, ClientError, Json
from docutalk_cli.erasures import NoWait, told
from docutalk_cli.options import AsJson, HomeFolder, Url, Yes, run_connected
from docutalk_cli.output import Exit, Output, time_text

app = typer.Typer(name="account", help="Your own account.", no_args_is_help=True, add_completion=False)

ME = "/users/me"


@app.command("show")
def show(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Show your account."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        me = await api.get(ME)
        if as_json:
            output.json(me)
            return Exit.OK
        default = me["default_workspace_id"]
        output.fields(
            {
                "e-mail": me["email"],
                "name": me["display_name"] or "–",
                "administrator": "yes" if me["is_admin"] else "no",
                "workspace": (await api.get(f"/workspaces/{default}"))["name"] if default else "–",
                "since": time_text(me["created_at"]),
                "id": me["id"],
            }
        )
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("rename")
def rename(
    name: Annotated[str, typer.Argument(help="What you are called.")],
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Change what others see of you as your name."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        return _changed(output, await api.patch(ME, {"display_name": name}))

    run_connected(output, url, home, work)


@app.command("email")
def change_email(
    email: Annotated[str, typer.Argument(help="The address with which you sign in from now on.")],
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Change the address that you sign in with. Takes your password, which is asked for, or taken from DOCUTALK_PASSWORD."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        body = {"email": email, "current_password": prompts.password()}
        return _changed(output, await api.patch(ME, body))

    run_connected(output, url, home, work)


@app.command("password")
def change_password(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Set another password. It ends all other sign-ins.

    Both are asked for, or taken from DOCUTALK_PASSWORD and DOCUTALK_NEW_PASSWORD.
    """
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        current, secret = prompts.password(prompts.CURRENT, may_be_empty=True), prompts.new_password()
        given = {"current_password": current} if current else {}
        await api.post(f"{ME}/password", given | {"new_password": secret})
        if as_json:
            output.json({"url": api.account.url})
        else:
            output.line("The new password is set. All other sign-ins have ended.")
        if api.account.password is not None:
            output.note("Commands still sign in with the one before: change it in DOCUTALK_PASSWORD, or run docutalk login.")
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("delete")
def delete(
    *, yes: Yes = False, no_wait: NoWait = False, url: Url = None, home: HomeFolder = None, as_json: AsJson = False
) -> None:
    """Delete your account for good, with your conversations and the workspaces that are yours alone.

    Takes your password, which is asked for, or taken from DOCUTALK_PASSWORD.
    """
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        me = await api.get(ME)
        if not yes:
            output.note("Your conversations go, and the workspaces that you are the only member of. This cannot be undone.")
            typed = prompts.ask("Type your e-mail address to delete your account")
            if typed.lower() != me["email"].lower():
                raise ClientError("That is not the address of your account. Nothing was deleted.")
        secret = prompts.password(prompts.CURRENT, may_be_empty=True)
        erasure = await api.delete(ME, {"password": secret} if secret else {})
        _forget(api)
        return await told(api, output, f"The account of {me['email']}", erasure, wait=not no_wait)

    run_connected(output, url, home, work)


def _forget(api: Api) -> None:
    store = TokenStore()
    with store.locked():
        store.put(api.account.url if api.account.login is not None else api.account.cache_key, None)


def _changed(output: Output, me: Json) -> Exit:
    if output.as_json:
        output.json(me)
    else:
        output.line(f"You are {me['display_name'] or 'without a name'}, and sign in as {me['email']}.")
    return Exit.OK
