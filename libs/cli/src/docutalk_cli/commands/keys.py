"""`docutalk keys`: keys with which other programs sign in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli import moments
from docutalk_cli.client import Api, ClientError, Json, every
from docutalk_cli.options import AsJson, HomeFolder, Url, run_connected
from docutalk_cli.output import Exit, Output, time_text

app = typer.Typer(
    name="keys",
    help="Keys for other programs, which may then do what you may. Not with a key: sign in with your password.",
    no_args_is_help=True,
    add_completion=False,
)

KEYS = "/users/me/api-keys"
_COLUMNS = ("name", "key", "created", "expires", "last used", "id")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    *,
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
    body = {"name": name}
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
        output.note("\nKeep it now: it is not shown again. Other programs sign in with it at")
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
            output.table(_COLUMNS, rows, wide="name", optional=("id", "created"))
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
        found = await _key_of(api, key)
        await api.delete(f"{KEYS}/{found['id']}")
        if as_json:
            output.json({"id": found["id"]})
        else:
            output.line(f"{found['name']} is revoked.")
        return Exit.OK

    run_connected(output, url, home, work)


async def _key_of(api: Api, name: str) -> Json:
    keys = [item async for item in every(api, KEYS)]
    matches = [item for item in keys if name in (item["name"], item["hint"])]
    matches = matches or [item for item in keys if name and item["id"].startswith(name.lower())]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ClientError(f"{name!r} may be any of {len(matches)} keys. Give the id: {', '.join(k['id'] for k in matches)}")
    raise ClientError(f"There is no key {name!r}. docutalk keys list shows them.")


def _row(key: Json) -> list[str | Text]:
    expires = Text(time_text(key["expires_at"]) if key["expires_at"] else "never")
    if key["expires_at"] and datetime.fromisoformat(key["expires_at"]) <= datetime.now(UTC):
        expires = Text(f"expired {expires}", style="red")
    return [
        key["name"],
        key["hint"],
        time_text(key["created_at"]),
        expires,
        time_text(key["last_used_at"]) if key["last_used_at"] else "never",
        key["id"],
    ]
