"""`docutalk keys`: keys with which other programs sign in."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli import moments
from docutalk_cli.client import Api, Json, every
from docutalk_cli.lookup import one_of
from docutalk_cli.options import AsJson, HomeFolder, Url, run_connected
from docutalk_cli.output import Exit, Output, time_text

app = typer.Typer(
    name="keys",
    help="Keys for other programs, which may then do what you may. Not with a key: sign in with your password.",
    no_args_is_help=True,
    add_completion=False,
)

KEYS = "/users/me/api-keys"
_COLUMNS = ("name", "key", "may", "created", "expires", "last used", "id")


class Scope(StrEnum):
    """What a key may do; never more than its owner."""

    DOCUMENTS_READ = "documents:read"
    DOCUMENTS_WRITE = "documents:write"
    SEARCH = "search"
    CHAT = "chat"
    WORKSPACES_READ = "workspaces:read"
    WORKSPACES_MANAGE = "workspaces:manage"


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    *,
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            "--scope", help="What it may do; may be repeated. \\[default: all but workspaces:manage]", show_default=False
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="90d", help="When it ends, which it never does without: 36h, 90d, 12w, or a day."),
    ] = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is printed this once."""
    output = Output(as_json=as_json)
    body: Json = {"name": name} | ({"scopes": [item.value for item in scope]} if scope else {})
    if expires is not None:
        body["expires_at"] = moments.future(expires, datetime.now(UTC), option="--expires")

    async def work(api: Api) -> Exit:
        created = await api.post(KEYS, body)
        addresses = {"openai": f"{api.account.url}/v1", "mcp": f"{api.account.url}/mcp"}
        if as_json:
            output.json(created | {"urls": addresses})
            return Exit.OK
        # The key alone on standard output, for `KEY=$(docutalk keys create ci)`.
        output.line(created["key"])
        output.note(f"\nKeep it now: it is not shown again. It may: {', '.join(created['scopes'])}.")
        output.note("Other programs sign in with it at")
        output.note(f"  OpenAI's API  {addresses['openai']}")
        output.note(f"  MCP           {addresses['mcp']}")
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("list")
def list_keys(url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List your keys, newest first."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        found = [item async for item in every(api, KEYS)]
        if as_json:
            output.json({"api_keys": found})
        elif found or not output.interactive:
            rows = [_row(key) for key in found]
            output.table(_COLUMNS, rows, wide="name", optional=("id", "created", "may"))
        else:
            output.line("There are no keys. Make one: docutalk keys create NAME")
        return Exit.OK

    run_connected(output, url, home, work)


@app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its name, its id, the beginning of it, or how the key begins.")],
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Delete a key: what signs in with it is refused from now on."""
    output = Output(as_json=as_json)

    async def work(api: Api) -> Exit:
        keys = [item async for item in every(api, KEYS)]
        found = one_of(keys, key, "name", "hint", noun="key", hint="docutalk keys list shows them.")
        await api.delete(f"{KEYS}/{found['id']}")
        if as_json:
            output.json({"id": found["id"]})
        else:
            output.line(f"{found['name']} is revoked.")
        return Exit.OK

    run_connected(output, url, home, work)


def _row(key: Json) -> list[str | Text]:
    expires = Text(time_text(key["expires_at"]) if key["expires_at"] else "never")
    if key["expires_at"] and datetime.fromisoformat(key["expires_at"]) <= datetime.now(UTC):
        expires = Text(f"expired {expires}", style="red")
    return [
        key["name"],
        key["hint"],
        ", ".join(key["scopes"]),
        time_text(key["created_at"]),
        expires,
        time_text(key["last_used_at"]) if key["last_used_at"] else "never",
        key["id"],
    ]
