"""`docutalk login` and `logout`: a sign-in that later commands use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated

import typer

from docutalk_cli.account import Account, TokenStore, find_account
from docutalk_cli.client import Api
from docutalk_cli.options import AsJson, HomeFolder, Url, run
from docutalk_cli.output import Exit, Output


def login(
    *,
    email: Annotated[str | None, typer.Option(envvar="DOCUTALK_EMAIL", help="Who signs in; asked for when not given.")] = None,
    password: Annotated[
        str | None,
        typer.Option(envvar="DOCUTALK_PASSWORD", help="Better asked for, or given by the variable: command lines can be seen."),
    ] = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Sign in, so that later commands need no password. Tokens are kept in your configuration folder."""
    output = Output(as_json=as_json)
    store = TokenStore()
    address = find_account(url, home, _place_only(os.environ), store).url
    who = email or typer.prompt("E-mail", err=True)
    secret = password or typer.prompt("Password", hide_input=True, err=True)

    async def work() -> Exit:
        async with Api(Account(address), store) as api:
            tokens = await api.sign_in(who, secret)
        with store.locked():
            store.put(address, tokens)
        if as_json:
            output.json({"url": address, "email": who})
        else:
            output.line(f"Signed in at {address} as {who}.")
        return Exit.OK

    run(output, work)


def logout(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Forget the sign-in and end it on the server."""
    output = Output(as_json=as_json)
    store = TokenStore()
    account = find_account(url, home, _place_only(os.environ), store)

    async def work() -> Exit:
        with store.locked():
            tokens = store.get(account.url)
            store.put(account.url, None)
        if tokens is not None:
            async with Api(account, store) as api:
                await api.sign_out(tokens)
        if as_json:
            output.json({"url": account.url, "signed_out": tokens is not None})
        else:
            output.line(f"Signed out at {account.url}." if tokens else f"There was no sign-in at {account.url}.")
        return Exit.OK

    run(output, work)


def whoami(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Show where commands go, and as whom."""
    output = Output(as_json=as_json)
    store = TokenStore()
    account = find_account(url, home, os.environ, store)

    async def work() -> Exit:
        async with Api(account, store) as api:
            user = await api.get("/users/me")
        if as_json:
            output.json({"url": account.url, **user})
        else:
            output.line(f"{user['email']} at {account.url}")
        return Exit.OK

    run(output, work)


def _place_only(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without who: only where."""
    return {name: value for name, value in environment.items() if name == "DOCUTALK_PORT"}
