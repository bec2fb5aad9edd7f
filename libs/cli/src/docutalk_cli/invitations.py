"""Invitations, into a workspace or to an account: made, listed and withdrawn in the same way."""

from __future__ import annotations

from typing import Annotated

import typer

from docutalk_cli import moments
from docutalk_cli.client import Api, Json, every
from docutalk_cli.lookup import one_of
from docutalk_cli.output import Exit, Output, time_text

Email = Annotated[
    str | None, typer.Argument(metavar="EMAIL", help="For this address only. \\[default: for whoever has the link]")
]
Expires = Annotated[
    str | None, typer.Option("--expires", metavar="7d", help="For how long it works: 36h, 7d, 4w. \\[default: a week]")
]
Named = Annotated[str, typer.Argument(metavar="INVITATION", help="Its e-mail address, its id, or the beginning of that.")]
_COLUMNS = ("for", "role", "made", "expires", "id")


def wanted(email: str | None, expires: str | None) -> Json:
    """What to ask the API for. Raises `BadParameter`."""
    hours = None if expires is None else moments.hours(expires, option="--expires")
    return {name: value for name, value in {"email": email, "expires_in_hours": hours}.items() if value is not None}


async def invite(api: Api, output: Output, path: str, body: Json) -> Exit:
    """Makes one. The link alone goes to standard output, for `LINK=$(docutalk members invite)`."""
    made = await api.post(path, body)
    if output.as_json:
        output.json(made)
        return Exit.OK
    output.raw(f"{made['link']}\n")
    whom = made["email"] or "whom you invite"
    output.note(f"\nHand it to {whom}: nothing is sent, and it is not shown again. It works once, until {_end(made)}.")
    if made["role"] is not None:
        output.note("  Who has an account  docutalk join LINK")
    output.note("  Who has none        docutalk register --invitation LINK")
    return Exit.OK


async def list_invitations(api: Api, output: Output, path: str) -> Exit:
    """Shows those that can still be used."""
    found = [item async for item in every(api, path)]
    if output.as_json:
        output.json({"invitations": found})
    elif found or not output.interactive:
        rows = [
            [item["email"] or "anybody", item["role"] or "–", time_text(item["created_at"]), _end(item), item["id"]]
            for item in found
        ]
        output.table(_COLUMNS, rows, wide="for", optional=("made", "id"))
    else:
        output.line("There are no invitations that wait to be used.")
    return Exit.OK


async def withdraw(api: Api, output: Output, path: str, name: str, listed_by: str) -> Exit:
    """Makes one unusable."""
    waiting = [item async for item in every(api, path)]
    found = one_of(waiting, name, "email", noun="invitation", hint=f"{listed_by} shows those that wait to be used.")
    await api.delete(f"{path}/{found['id']}")
    if output.as_json:
        output.json({"id": found["id"]})
    else:
        output.line(f"The invitation for {found['email'] or 'anybody'} is withdrawn.")
    return Exit.OK


def _end(invitation: Json) -> str:
    return time_text(invitation["expires_at"])
