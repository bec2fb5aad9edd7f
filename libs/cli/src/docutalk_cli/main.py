"""The `docutalk` command: the table of its commands."""

from __future__ import annotations

import typer
from dotenv import load_dotenv

from docutalk_cli.commands import ask, check, dead_letters, events, login, provision, search, status, up, upload

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
app.command("login")(login.login)
app.command("logout")(login.logout)
app.command("whoami")(login.whoami)
app.command("upload")(upload.upload)
app.command("status")(status.status)
app.command("search")(search.search)
app.command("ask")(ask.ask)
app.command("events")(events.events)
app.add_typer(dead_letters.app, name="dead-letters")


def main() -> None:
    """The entry point of the installed command."""
    app()
