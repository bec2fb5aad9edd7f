"""`docutalk sign-ins`: where one is signed in, and the end of it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli.client import Api, Json, every
from docutalk_cli.lookup import one_of
from docutalk_cli.options import AsJson, HomeFolder, Url, run_connected
from docutalk_cli.output import Exit, Output, time_text

app = typer.Typer(name="sign-ins", help="Where you are signed in.", no_args_is_help=True, add_completion=False)

SIGN_INS = "/users/me/sessions"
_COLUMNS = ("device", "address", "by", "last used", "ends", "id")


@app.command("list")
def list_sign_ins(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List where you are signed in, last used first."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = [item async for item in every(api, SIGN_INS)]
        if as_json:
            output.json({"sign_ins": found})
        else:
            output.table(_COLUMNS, [_row(item) for item in found], wide="device", optional=("ends", "by", "id", "address"))
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("end")
def end(
    sign_in: Annotated[str, typer.Argument(metavar="SIGN-IN", help="Device, id, or the beginning of that.")],
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """End a sign-in: whoever has it is refused from now on."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = [item async for item in every(api, SIGN_INS)]
        ended = one_of(found, sign_in, "device", noun="sign-in", hint="docutalk sign-ins list shows them.")
        await api.delete(f"{SIGN_INS}/{ended['id']}")
        if as_json:
            output.json({"id": ended["id"]})
        else:
            output.line(f"The sign-in of {_where(ended)} has ended.")
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("end-others")
def end_others(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """End all sign-ins but this one."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        await api.delete(SIGN_INS)
        if as_json:
            output.json({"url": api.account.url})
        else:
            output.line("All other sign-ins have ended.")
        return Exit.OK

    run_connected(output, url, home, work)


def _where(sign_in: Json) -> str:
    return f"{sign_in['device']} at {sign_in['address']}" if sign_in["address"] else str(sign_in["device"])


def _row(sign_in: Json) -> list[str | Text]:
    device = Text(sign_in["device"])
    if sign_in["current"]:
        device.append(" (this one)", style="green")
    return [
        device,
        sign_in["address"] or "–",
        sign_in["method"],
        time_text(sign_in["last_used_at"]),
        time_text(sign_in["expires_at"]),
        sign_in["id"],
    ]
