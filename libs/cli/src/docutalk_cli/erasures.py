"""A deletion for good, from outside: who has erased what, until nothing is left."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli.bars import Bars
from docutalk_cli.client import Api, Json
from docutalk_cli.follow import persistently
from docutalk_cli.output import Exit, Output, time_text

NoWait = Annotated[bool, typer.Option("--no-wait", help="Return at once; docutalk erasure tells what becomes of it.")]

_LOOK_SECONDS = 0.5


async def told(api: Api, output: Output, what: str, erasure: Json, *, wait: bool) -> Exit:
    """Says that something is deleted, and with `wait` what each service has removed of it, once all have."""
    if not output.as_json:
        output.line(f"{what} is deleted. What becomes of it everywhere: docutalk erasure {erasure['id']}")
    if wait:
        erasure = await follow_erasure(api, output, erasure)
    if output.as_json:
        output.json(erasure)
    elif wait:
        await show_erasure(api, output, erasure)
    return Exit.OK


async def erasure_of(api: Api, erasure_id: str) -> Json:
    """How far it is. Whoever deleted their account has no sign-in, so none is used."""
    return await api.public("GET", f"/erasures/{erasure_id}")


async def follow_erasure(api: Api, output: Output, erasure: Json) -> Json:
    """Shows how far it is until it is complete; returns it as it is then."""
    erasure_id: str = erasure["id"]
    try:
        with Bars(output) as bars:
            task = bars.add_task("erasing", what="")
            while erasure["status"] == "pending":
                waiting = erasure["waiting_for"]
                done = len({receipt["service"] for receipt in erasure["receipts"]} - set(waiting))
                what = f"waiting for {', '.join(waiting)}" if waiting else "clearing the log"
                bars.update(task, completed=done, total=done + len(waiting) + 1, what=what)
                await asyncio.sleep(_LOOK_SECONDS)
                erasure = await persistently(lambda: erasure_of(api, erasure_id))
    except asyncio.CancelledError:
        output.note(f"Interrupted. The erasure goes on without this command: docutalk erasure {erasure_id} --wait")
        raise
    return erasure


async def show_erasure(api: Api, output: Output, erasure: Json) -> None:
    """What each service has removed, of the workspaces that went along, too."""
    ended = erasure["completed_at"]
    status = Text(f"complete since {time_text(ended)}", style="green") if ended else Text("pending", style="yellow")
    output.line(Text.assemble((f"Erasure {erasure['id']}", "bold"), " of a ", erasure["kind"], ": ", status))
    removed = {receipt["service"]: _counts(receipt["removed"]) for receipt in erasure["receipts"]}
    output.fields(removed | {service: Text("not done yet", style="yellow") for service in erasure["waiting_for"]})
    for child in erasure["children"]:
        await show_erasure(api, output, await erasure_of(api, child))


def _counts(removed: dict[str, int]) -> str:
    return ", ".join(f"{kind.replace('_', ' ')} {number:,}" for kind, number in removed.items() if number) or "nothing was there"
