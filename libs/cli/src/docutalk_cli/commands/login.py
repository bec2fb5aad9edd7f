"""`docutalk login` and `logout`: a sign-in that later commands use."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from docutalk_cli import prompts
from docutalk_cli.account import Account, Tokens, TokenStore, find_account, place_only
from docutalk_cli.client import Api
from docutalk_cli.openid import openid_tokens
from docutalk_cli.options import AsJson, HomeFolder, Url, run
from docutalk_cli.output import Exit, Output


def login(
    *,
    email: Annotated[str | None, typer.Option(envvar="DOCUTALK_EMAIL", help="Who signs in; asked for when not given.")] = None,
    password: Annotated[
        str | None,
        typer.Option(envvar="DOCUTALK_PASSWORD", help="Better asked for, or given by the variable: command lines can be seen."),
    ] = None,
    openid: Annotated[
        bool, typer.Option("--openid", help="In a browser on this machine, at the OpenID provider of the server.")
    ] = False,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Sign in, so that later commands need no password. Tokens are kept in your configuration folder."""
    output = Output(as_json=as_json)
    store = TokenStore()
    address = find_account(url, home, place_only(os.environ), store).url

    async def work() -> Exit:
        async with Api(Account(address), store) as api:
            tokens = await _by_openid(api, output) if openid else await _by_password(api, email, password)
        with store.locked():
            store.put(address, tokens)
        if as_json:
            output.json({"url": address, "email": tokens.email})
        else:
            output.line(f"Signed in at {address} as {tokens.email}.")
        return Exit.OK

    run(output, work)


async def _by_password(api: Api, email: str | None, password: str | None) -> Tokens:
    return await api.sign_in(email or prompts.ask("E-mail"), password or prompts.password())


async def _by_openid(api: Api, output: Output) -> Tokens:
    answer = await openid_tokens(api, output)
    # Who it is only the provider knew.
    async with Api(Account(api.account.url, token=answer["access_token"]), TokenStore()) as signed_in:
        return Tokens.answered((await signed_in.get("/users/me"))["email"], answer)


def logout(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Forget the sign-in and end it on the server."""
    output = Output(as_json=as_json)
    store = TokenStore()
    account = find_account(url, home, place_only(os.environ), store)

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
