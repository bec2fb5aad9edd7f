"""`docutalk erasure`: what became of a deletion for good."""

from __future__ import annotations

from typing import Annotated

import typer

from docutalk_cli.client import Api
from docutalk_cli.erasures import erasure_of, follow_erasure, show_erasure
from docutalk_cli.options import AsJson, HomeFolder, Url, run_connected
from docutalk_cli.output import Exit, Output


def erasure(
    erasure_id: Annotated[str, typer.Argument(metavar="ID", help="As it was told when something was deleted.")],
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is complete.")] = False,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show what each service has removed of a workspace or an account that was deleted. No sign-in is needed."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = await erasure_of(api, erasure_id)
        if wait:
            found = await follow_erasure(api, output, found)
        if as_json:
            output.json(found)
        else:
            await show_erasure(api, output, found)
        return Exit.OK

    run_connected(output, url, home, work)
