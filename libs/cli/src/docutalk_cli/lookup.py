"""What a person names on the command line, found: by id, by the beginning of an id, or by what it is called."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable

from docutalk_cli.client import Api, ClientError, Json, Refused, every

_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_START_OF_ID = re.compile(r"[0-9a-fA-F][0-9a-fA-F-]{3,35}")


def is_id(name: str) -> bool:
    """Whether it is a whole id."""
    return _ID.fullmatch(name) is not None


def one_of(items: Iterable[Json], name: str, *fields: str, noun: str, hint: str, key: str = "id") -> Json:
    """The item that is called so by one of its fields, else the one with this id, or whose id begins so.

    Raises `ClientError` for none, with `hint` at its end, and for more than one.
    """
    found = list(items)
    matches = [item for item in found if any(item[field] == name for field in fields)]
    if not matches and _START_OF_ID.fullmatch(name):
        matches = [item for item in found if item[key].startswith(name.lower())]
    if len(matches) == 1:
        return matches[0]
    if matches:
        ids = ", ".join(item[key] for item in matches)
        raise ClientError(f"{name!r} may be any of {len(matches)} {noun}s. Give the id: {ids}")
    raise ClientError(f"There is no {noun} {name!r}. {hint}")


async def workspace_of(api: Api, name: str | None) -> str:
    """The id of a workspace given by id or name; of the caller's default workspace without one.

    An id is taken as it is: who comes by a share link may not list workspaces.
    """
    if name is None:
        default: str | None = (await api.get("/users/me"))["default_workspace_id"]
        if default is None:
            raise ClientError(
                "You have no default workspace. Say which one with --workspace, make one with docutalk workspaces create NAME, or"
                " follow an invitation with docutalk join LINK."
            )
        return default
    if is_id(name):
        return name.lower()
    return str((await named_workspace(api, name))["id"])


async def named_workspace(api: Api, name: str) -> Json:
    """One of the caller's workspaces, given by id, by the beginning of its id, or by its name."""
    if is_id(name):
        return await api.get(f"/workspaces/{name}")
    workspaces = [item async for item in every(api, "/workspaces")]
    names = ", ".join(item["name"] for item in workspaces)
    return one_of(workspaces, name, "name", noun="workspace", hint=f"There are: {names}")


async def document_of(api: Api, workspace: str, name: str) -> Json:
    """A document given by id, by the beginning of its id, or by its filename."""
    path = f"/workspaces/{workspace}/documents"
    if is_id(name):
        with contextlib.suppress(Refused):
            return await api.get(f"{path}/{name}")
    matches = [item async for item in every(api, path, q=name[:200]) if item["filename"] == name]
    if not matches and _START_OF_ID.fullmatch(name):
        matches = [item async for item in every(api, path)]
    return one_of(matches, name, "filename", noun="document", hint="docutalk status lists them.")


async def source_of(api: Api, workspace: str, name: str) -> Json:
    """A source given by id, by the beginning of its id, or by its name."""
    sources = [item async for item in every(api, f"/workspaces/{workspace}/sources")]
    return one_of(sources, name, "name", noun="source", hint="docutalk sources list shows them.")


async def session_of(api: Api, workspace: str, name: str) -> Json:
    """A conversation given by id, by the beginning of its id, or by its title; `last` is the one that was used last."""
    path = f"/workspaces/{workspace}/chat/sessions"
    if name == "last":
        found: list[Json] = (await api.get(path, per_page=1))["items"]
        if not found:
            raise ClientError("There is no conversation yet. Begin one: docutalk ask QUESTION")
        return found[0]
    if is_id(name):
        with contextlib.suppress(Refused):
            return await api.get(f"{path}/{name}")
    sessions = [item async for item in every(api, path)]
    return one_of(sessions, name, "title", noun="conversation", hint="docutalk sessions list shows them.")
