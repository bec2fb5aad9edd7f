"""The `docutalk` command: the table of its commands."""

from __future__ import annotations

import typer
from dotenv import load_dotenv

from docutalk_cli.commands import check, provision, up

app = typer.Typer(name="docutalk", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def settings() -> None:
    """Self-hosted document intelligence: answers that point at the exact page and words.

    Settings come from the environment, and from a file `.env` in the current folder for those that are not set.
    """
    load_dotenv(".env")


app.command("up")(up.up)
app.command("check")(check.check)
app.command("provision")(provision.provision)


def main() -> None:
    """The entry point of the installed command."""
    app()
