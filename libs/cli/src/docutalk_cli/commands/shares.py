"""`docutalk shares`: links that need no account, and what came of them."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli import moments, prompts
from docutalk_cli.account import Account, TokenStore
from docutalk_cli.client import Api, Json, Refused, every
from docutalk_cli.links import Kind, read
from docutalk_cli.lookup import document_of, one_of, session_of, source_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, Yes, run, run_in_workspace
from docutalk_cli.output import Exit, Output, count, time_text

app = typer.Typer(name="shares", help="Links that need no account.", no_args_is_help=True, add_completion=False)


class Permission(StrEnum):
    """What a link lets do."""

    VIEW = "view"
    SEARCH = "search"
    CHAT = "chat"
    COMMENT = "comment"
    COPY = "copy"


class Part(StrEnum):
    """What a link can do without."""

    NAME = "name"
    EXPIRES = "expires"
    USES = "uses"
    PASSWORD = "password"  # noqa: S105  what it is called


_FIELDS = {Part.NAME: "name", Part.EXPIRES: "expires_at", Part.USES: "max_uses", Part.PASSWORD: "password"}
_COLUMNS = ("link", "of", "allows", "state", "uses", "expires", "id")
_LOG_COLUMNS = ("at", "what", "document", "visit", "from")
_PASSWORD, _VARIABLE = "Password of the link", "DOCUTALK_SHARE_PASSWORD"
_STYLES = {"active": "green", "revoked": "red", "expired": "yellow", "used_up": "yellow"}
_PLACES = {"document": ("documents", "filename"), "source": ("sources", "name"), "session": ("chat/sessions", "title")}
_DO = {Permission.VIEW: "docutalk status", Permission.SEARCH: "docutalk search WORDS", Permission.CHAT: "docutalk ask QUESTION"}

Named = Annotated[str, typer.Argument(metavar="SHARE", help="Name, beginning of the link's token, id, or the beginning of that.")]
Name = Annotated[str | None, typer.Option("--name", help="What it is for, or for whom.")]
Expires = Annotated[str | None, typer.Option("--expires", metavar="7d", help="When it ends: 36h, 7d, 4w, or a day.")]
Uses = Annotated[int | None, typer.Option("--uses", min=1, help="How often it can be opened.")]
WithPassword = Annotated[
    bool, typer.Option("--password", help="Ask for a password that it shall have, or take DOCUTALK_SHARE_PASSWORD.")
]
Allow = Annotated[
    str | None,
    typer.Option("--allow", metavar="view,search", help="Some of view, search, chat, comment, copy. \\[default: view]"),
]


@app.command("create")
def create(
    *,
    document: Annotated[str | None, typer.Option("--document", "-d", help="Only this document.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Only what this source brought.")] = None,
    session: Annotated[str | None, typer.Option("--session", "-s", help="Only this conversation of yours.")] = None,
    allow: Allow = None,
    name: Name = None,
    expires: Expires = None,
    uses: Uses = None,
    password: WithPassword = False,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make a link to a document, a source, a conversation, or the whole workspace. It is printed this once."""
    output = Output(as_json=as_json)
    if sum(given is not None for given in (document, source, session)) > 1:
        raise typer.BadParameter("a link is of one thing", param_hint="--document")
    body = _wanted(allow or "view", name, expires, uses, secret=password)

    async def work(api: Api, workspace_id: str) -> Exit:
        target: Json = {"kind": "workspace"}
        if document is not None:
            target = {"kind": "document", "id": (await document_of(api, workspace_id, document))["id"]}
        elif source is not None:
            target = {"kind": "source", "id": (await source_of(api, workspace_id, source))["id"]}
        elif session is not None:
            target = {"kind": "session", "id": (await session_of(api, workspace_id, session))["id"]}
        made = await api.post(f"/workspaces/{workspace_id}/shares", body | {"target": target})
        if as_json:
            output.json(made)
            return Exit.OK
        # The link alone on standard output, for `LINK=$(docutalk shares create)`.
        output.raw(f"{made['link']}\n")
        output.note("\nKeep it now: it is not shown again. Whoever has it needs no account:")
        output.note(f"  {_terms(made)}")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@app.command("list")
def list_shares(workspace: Workspace = None, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """List the links into a workspace, newest first, also those that have ended."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        found = [item async for item in every(api, f"/workspaces/{workspace_id}/shares")]
        if as_json:
            output.json({"shares": found})
        elif found or not output.interactive:
            rows = [_row(share) for share in found]
            output.table(_COLUMNS, rows, wide="link", numeric=("uses",), optional=("id", "expires", "uses", "allows"))
        else:
            output.line("Nothing is shared by a link. Share something: docutalk shares create --document NAME")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@app.command("show")
def show(share: Named, workspace: Workspace = None, url: Url = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Show one link."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        return await _show(api, output, workspace_id, await _share_of(api, workspace_id, share))

    run_in_workspace(output, workspace, url, home, work)


@app.command("change")
def change(
    share: Named,
    *,
    allow: Annotated[
        str | None, typer.Option("--allow", metavar="view,search", help="Some of view, search, chat, comment, copy.")
    ] = None,
    name: Name = None,
    expires: Expires = None,
    uses: Uses = None,
    password: WithPassword = False,
    without: Annotated[list[Part] | None, typer.Option("--without", help="Take this away; may be repeated.")] = None,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Change a link, also for those who have opened it. What it leads to stays."""
    output = Output(as_json=as_json)
    changes = _wanted(allow, name, expires, uses, secret=password)
    for part in without or []:
        if _FIELDS[part] in changes:
            raise typer.BadParameter(f"give either --{part.value} or --without {part.value}", param_hint="--without")
        changes[_FIELDS[part]] = None
    if not changes:
        raise typer.BadParameter("say what to change", param_hint="SHARE")

    async def work(api: Api, workspace_id: str) -> Exit:
        found = await _share_of(api, workspace_id, share)
        changed = await api.patch(f"/workspaces/{workspace_id}/shares/{found['id']}", changes)
        return await _show(api, output, workspace_id, changed)

    run_in_workspace(output, workspace, url, home, work)


@app.command("revoke")
def revoke(
    share: Named,
    *,
    yes: Yes = False,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """End a link for good, also for those who have opened it."""
    output = Output(as_json=as_json)
    if not yes:
        typer.confirm(f"Revoke the link {share}?", abort=True, err=True)

    async def work(api: Api, workspace_id: str) -> Exit:
        found = await _share_of(api, workspace_id, share)
        await api.delete(f"/workspaces/{workspace_id}/shares/{found['id']}")
        if as_json:
            output.json({"id": found["id"]})
        else:
            output.line(f"The link {found['name'] or found['hint']} is revoked.")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@app.command("log")
def log(
    share: Named,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the newest first.")] = 50,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show who opened a link, or was refused, and what they did, newest first."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        found: list[Json] = []
        path = f"/workspaces/{workspace_id}/shares/{(await _share_of(api, workspace_id, share))['id']}/accesses"
        async for item in every(api, path):
            found.append(item)
            if len(found) == limit:
                break
        if as_json:
            output.json({"accesses": found})
            return Exit.OK
        output.table(_LOG_COLUMNS, [_log_row(item) for item in found], wide="what", optional=("from", "document", "visit"))
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


@app.command("open")
def open_link(
    link: Annotated[str, typer.Argument(metavar="LINK", help="The link, or only its token for the server that commands go to.")],
    *,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Open a link that somebody gave you, which is a use of it, so that other commands see what it shares.

    In a shell: eval "$(docutalk shares open LINK)". Its password is asked for, or taken from DOCUTALK_SHARE_PASSWORD.
    """
    output = Output(as_json=as_json)
    shared = read(link, Kind.SHARE)

    async def work() -> Exit:
        place = Account(shared.place(url, home).url)
        async with Api(place, TokenStore()) as api:
            found = await api.public("GET", f"/shared/{shared.token}")
            body = {"password": prompts.password(_PASSWORD, variable=_VARIABLE)} if found["needs_password"] else {}
            visit = await api.public("POST", f"/shared/{shared.token}/open", body)
        if as_json:
            output.json({"url": place.url, **visit})
        else:
            _show_visit(output, place.url, found["target"]["name"], visit)
        return Exit.OK

    run(output, work)


def _wanted(allow: str | None, name: str | None, expires: str | None, uses: int | None, *, secret: bool) -> Json:
    """What was given of a link, as the API takes it. Raises `BadParameter`."""
    wanted: Json = {}
    if allow is not None:
        wanted["permissions"] = _permissions(allow)
    if name is not None:
        wanted["name"] = name
    if expires is not None:
        wanted["expires_at"] = moments.future(expires, datetime.now(UTC), option="--expires")
    if uses is not None:
        wanted["max_uses"] = uses
    if secret:
        wanted["password"] = prompts.new_password(_PASSWORD, variable=_VARIABLE)
    return wanted


def _permissions(text: str) -> list[str]:
    given = [word.strip().lower() for word in text.split(",")]
    known = [permission.value for permission in Permission]
    if not set(given) <= set(known):
        raise typer.BadParameter(f"{text!r} is none of {', '.join(known)}, separated by commas", param_hint="--allow")
    return [permission for permission in known if permission in given]


async def _share_of(api: Api, workspace: str, name: str) -> Json:
    shares = [item async for item in every(api, f"/workspaces/{workspace}/shares")]
    return one_of(shares, name, "name", "hint", noun="link", hint="docutalk shares list shows them.")


async def _show(api: Api, output: Output, workspace: str, share: Json) -> Exit:
    if output.as_json:
        output.json(share)
        return Exit.OK
    output.fields(
        {
            "link": f"{share['hint']}…",
            "name": share["name"] or "–",
            "of": await _target(api, workspace, share["target"]),
            "allows": ", ".join(share["permissions"]),
            "state": _state(share),
            "uses": _uses(share),
            "expires": time_text(share["expires_at"]) if share["expires_at"] else "never",
            "password": "yes" if share["has_password"] else "no",
            "made": time_text(share["created_at"]),
            "id": share["id"],
        }
    )
    return Exit.OK


async def _target(api: Api, workspace: str, target: Json) -> str:
    kind: str = target["kind"]
    if kind not in _PLACES:
        return "the whole workspace"
    path, field = _PLACES[kind]
    try:
        name = (await api.get(f"/workspaces/{workspace}/{path}/{target['id']}"))[field]
    except Refused:
        # Deleted, or somebody else's conversation.
        return f"{kind} {target['id']}"
    return f"{kind} {name} ({target['id']})"


def _state(share: Json) -> Text:
    return Text(share["state"].replace("_", " "), style=_STYLES[share["state"]])


def _uses(share: Json) -> str:
    return f"{share['uses']:,}" if share["max_uses"] is None else f"{share['uses']:,} of {share['max_uses']:,}"


def _terms(share: Json) -> str:
    """What a new link is good for, in a line."""
    what = "the whole workspace" if share["target"]["kind"] == "workspace" else f"one {share['target']['kind']}"
    until = f"until {time_text(share['expires_at'])}" if share["expires_at"] else "until it is revoked"
    parts = [f"{what}: {', '.join(share['permissions'])}", until]
    if share["max_uses"] is not None:
        parts.append(f"opened {count(share['max_uses'], 'time')} at most")
    if share["has_password"]:
        parts.append("with its password, which is told by another way")
    return "; ".join(parts)


def _row(share: Json) -> list[str | Text]:
    target = share["target"]
    return [
        share["name"] or f"{share['hint']}…",
        "workspace" if target["kind"] == "workspace" else f"{target['kind']} {target['id']}",
        ", ".join(share["permissions"]),
        _state(share),
        _uses(share),
        time_text(share["expires_at"]) if share["expires_at"] else "never",
        share["id"],
    ]


def _log_row(access: Json) -> list[str | Text]:
    what = Text(access["action"])
    if access["reason"]:
        what.append(f": {access['reason']}", style="red")
    return [
        time_text(access["at"]),
        what,
        access["document_id"] or "–",
        access["visit_id"] or "–",
        access["address"] or "–",
    ]


def _show_visit(output: Output, url: str, name: str | None, visit: Json) -> None:
    """The variables alone on standard output, for `eval`."""
    variables = {"DOCUTALK_URL": url, "DOCUTALK_TOKEN": visit["access_token"], "DOCUTALK_WORKSPACE": visit["workspace_id"]}
    output.raw("".join(f"export {variable}={shlex.quote(value)}\n" for variable, value in variables.items()))
    kind, target_id = visit["target"]["kind"], visit["target"]["id"]
    until = (datetime.now(UTC) + timedelta(seconds=visit["expires_in"])).isoformat()
    what = f"The {kind}" if name is None else f"The {kind} {name}"
    output.note(f"\n{what} is open until {time_text(until)}: {', '.join(visit['permissions'])}. With these variables try")
    commands = (
        [f"docutalk sessions show {target_id}"] if kind == "session" else [_DO[p] for p in visit["permissions"] if p in _DO]
    )
    for command in commands:
        output.note(f"  {command}")
