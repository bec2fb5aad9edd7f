"""`docutalk audit-log`: who signed in, let somebody in, took something along or deleted it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli import moments
from docutalk_cli.client import Api, Json, every
from docutalk_cli.commands.members import member_of
from docutalk_cli.commands.users import user_of
from docutalk_cli.lookup import is_id, workspace_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, run_connected
from docutalk_cli.output import Exit, Output, time_text

_COLUMNS = ("at", "who", "what", "from", "workspace")


def audit_log(
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Of the whole installation, with sign-ins. For administrators.")
    ] = False,
    action: Annotated[str | None, typer.Option("--action", metavar="share.opened", help="Only this.")] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="WHO", help="Only what this person did: address or id.")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="7d", help="From then on: a day, or 36h, 7d, 2w ago.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="2026-01-31", help="Until then, that day included.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the newest first.")] = 50,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show who did what in a workspace, newest first. Owners only; administrators see --all."""
    output = Output(as_json=as_json)
    now = datetime.now(UTC)
    wanted: dict[str, str | int | None] = {
        "action": action,
        "since": moments.past(since, now, option="--since") if since else None,
        "until": moments.past(until, now, option="--until", whole_day=True) if until else None,
    }

    async def work(api: Api) -> Exit:
        inside = None if everything else await workspace_of(api, workspace)
        actor = None if by is None else await _actor(api, inside, by)
        path = "/admin/audit-log" if inside is None else f"/workspaces/{inside}/audit-log"
        found: list[Json] = []
        async for item in every(api, path, **wanted, actor_id=actor):
            found.append(item)
            if len(found) == limit:
                break
        if as_json:
            output.json({"entries": found})
            return Exit.OK
        columns = _COLUMNS if everything else _COLUMNS[:3]
        output.table(columns, [_row(item)[: len(columns)] for item in found], wide="what", optional=columns[3:])
        return Exit.OK

    run_connected(output, url, home, work)


async def _actor(api: Api, workspace: str | None, name: str) -> str:
    """The id of whoever is meant. An id is taken as it is: they may be gone."""
    if is_id(name):
        return name
    found = await user_of(api, name) if workspace is None else await member_of(api, workspace, name)
    return str(found["id"] if workspace is None else found["user_id"])


def _row(entry: Json) -> list[str | Text]:
    what = Text(entry["action"], style="red" if entry["action"].endswith((".failed", ".refused", ".throttled")) else "")
    details = [f"{name} {value}" for name, value in entry["details"].items() if value is not None]
    if entry["target_id"]:
        details.append(entry["target_id"])
    if details:
        what.append(f" ({', '.join(details)})", style="dim")
    who = Text(entry["actor_name"] or entry["actor_id"] or "–")
    if entry["actor"] not in ("user", "nobody"):
        who = Text(entry["actor"]) if entry["actor"] == "system" else who.append(f" ({entry['actor']})", style="dim")
    return [time_text(entry["at"]), who, what, entry.get("address") or "–", entry["workspace_id"] or "–"]
