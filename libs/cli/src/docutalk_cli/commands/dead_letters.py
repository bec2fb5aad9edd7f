"""`docutalk dead-letters`: messages that a service gave up on. For administrators."""

from __future__ import annotations

import base64
import json
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli.client import Json, every
from docutalk_cli.options import AsJson, HomeFolder, Url, connected, run
from docutalk_cli.output import Exit, Output

app = typer.Typer(
    name="dead-letters",
    help="Messages that a service gave up on, and why. For administrators.",
    no_args_is_help=True,
    add_completion=False,
)

_COLUMNS = ("seq", "failed at", "consumer", "tries", "code", "reason")


@app.command("list")
def list_letters(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the newest first.")] = 50,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first."""
    output = Output(as_json=as_json)

    async def work() -> Exit:
        found: list[Json] = []
        async with connected(url, home) as api:
            async for letter in every(api, "/admin/dead-letters"):
                found.append(letter)
                if len(found) == limit:
                    break
        if as_json:
            output.json({"dead_letters": found})
        elif found or not output.interactive:
            rows = [_row(letter) for letter in found]
            output.table(_COLUMNS, rows, wide="reason", numeric=("seq", "tries"), optional=("failed at", "tries", "code"))
        else:
            output.line("There are no dead letters.")
        return Exit.OK

    run(output, work)


@app.command("show")
def show(
    sequence: Annotated[int, typer.Argument(min=1, metavar="SEQ", help="The number in the list.")],
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter with its message."""
    output = Output(as_json=as_json)

    async def work() -> Exit:
        async with connected(url, home) as api:
            letter = await api.get(f"/admin/dead-letters/{sequence}")
        message = base64.b64decode(letter["payload"])
        if as_json:
            output.json(letter)
            return Exit.OK
        for name, value in letter.items():
            if name not in ("payload", "headers") and value is not None:
                output.line(Text.assemble((f"{name:<14}", "bold"), str(value)))
        for name, value in letter["headers"].items():
            output.line(Text.assemble((f"{name:<14}", "dim"), value))
        output.line("")
        output.line(_readable(message))
        return Exit.OK

    run(output, work)


def _row(letter: Json) -> list[str | Text]:
    return [
        str(letter["sequence"]),
        letter["failed_at"][:19].replace("T", " "),
        letter["durable"],
        str(letter["attempts"]),
        Text(letter["code"], style="red"),
        letter["reason"],
    ]


def _readable(message: bytes) -> str:
    try:
        return json.dumps(json.loads(message), ensure_ascii=False, indent=2)
    except ValueError:
        return message.decode("utf-8", "backslashreplace")
