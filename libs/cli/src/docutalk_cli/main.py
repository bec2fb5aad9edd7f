"""The `docutalk` command: the table of its commands."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from dotenv import load_dotenv
from typer.core import TyperGroup

# Name → `module:function`, or `module:app` for a group. A module is loaded when its command is run: those that start
# servers take a second to import, and nobody should wait for them to read a status.
COMMANDS: Mapping[str, str] = {
    "up": "up:up",
    "check": "check:check",
    "provision": "provision:provision",
    "upload": "upload:upload",
    "status": "status:status",
    "retry": "documents:retry",
    "cancel": "documents:cancel",
    "rename": "documents:rename",
    "delete": "documents:delete",
    "versions": "documents:versions",
    "sources": "sources:app",
    "search": "search:search",
    "search-settings": "search_settings:search_settings",
    "similar": "similar:similar",
    "places": "places:places",
    "ask": "ask:ask",
    "sessions": "sessions:app",
    "chat-settings": "chat_settings:chat_settings",
    "events": "events:events",
    "dead-letters": "dead_letters:app",
    "models": "models:app",
    "shares": "shares:app",
    "workspaces": "workspaces:app",
    "members": "members:app",
    "join": "join:join",
    "export": "archive:export",
    "import": "archive:import_",
    "imports": "archive:imports",
    "login": "login:login",
    "logout": "login:logout",
    "whoami": "login:whoami",
    "register": "join:register",
    "reset-password": "join:reset_password",
    "account": "account:app",
    "sign-ins": "sign_ins:app",
    "keys": "keys:app",
    "users": "users:app",
    "quota": "quota:app",
    "audit-log": "audit_log:audit_log",
    "signing-keys": "signing_keys:app",
    "erasure": "erasure:erasure",
}


class _Commands(TyperGroup):
    """Finds a command in the table when it is asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Names only: what lists the commands and what suggests one for a misspelt name looks here.
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Loads the command; None when there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(f"docutalk_cli.commands.{module}"), attribute)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)
        single = typer.Typer(add_completion=False)
        single.command(cmd_name)(found)
        return typer.main.get_command(single)


app = typer.Typer(
    name="docutalk",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def settings() -> None:
    """Self-hosted document intelligence: answers that point at the exact page and words.

    Settings come from the environment, and from a file `.env` in the current folder for those that are not set.

    Exit codes: 0 done, 1 failed, 2 wrong command line, 3 not reachable or not signed in, 130 interrupted.
    """
    load_dotenv(".env")


def main() -> None:
    """The entry point of the installed command."""
    app()
