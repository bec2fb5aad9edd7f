"""`docutalk signing-keys`: what access tokens are signed with. For administrators."""

from __future__ import annotations

from typing import Annotated

import typer

from docutalk_cli.client import Api, every
from docutalk_cli.options import AsJson, HomeFolder, Url, run_connected
from docutalk_cli.output import Exit, Output, time_text

app = typer.Typer(
    name="signing-keys",
    help="What access tokens are signed with. For administrators.",
    no_args_is_help=True,
    add_completion=False,
)

KEYS = "/admin/signing-keys"
_COLUMNS = ("key", "made", "accepted until")


@app.command("list")
def list_keys(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List the keys whose signatures are accepted, newest first. The newest one signs."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = [item async for item in every(api, KEYS)]
        if as_json:
            output.json({"signing_keys": found})
            return Exit.OK
        rows = [
            [f"{key['id']} *" if key is found[0] else key["id"], time_text(key["created_at"]), time_text(key["retires_at"])]
            for key in found
        ]
        output.table(_COLUMNS, rows, wide="key", optional=("made",))
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("rotate")
def rotate(
    *,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Refuse what other keys have signed from now on: after one was lost.")
    ] = False,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make a new key, which signs from now on. Nobody has to sign in again."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        made = await api.post(KEYS, {"at_once": at_once})
        if as_json:
            output.json(made)
        else:
            before = "are refused; everybody fetches new ones" if at_once else "stay valid until their own end"
            output.line(f"{made['id']} signs from now on. Tokens of the keys before {before}.")
        return Exit.OK

    run_connected(output, url, home, work)
