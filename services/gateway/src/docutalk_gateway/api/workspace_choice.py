"""Which workspace a client means that speaks a protocol without workspaces: it gives an id, a name, or nothing."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import repository
from docutalk_gateway.api.context import Access, Caller, access_of
from docutalk_gateway.api.permissions import Rule
from docutalk_gateway.domain import is_text

NAMED_MAX = 20


class UnknownWorkspace(NotFound):
    """Neither the id nor the name, of one only, of a workspace of the caller."""


async def choose_workspace(caller: Caller, wanted: str, rule: Rule) -> Access:
    """The caller's workspace with this id, or the only one with this name, whatever its case, to do there what `rule` is of.
    Raises `UnknownWorkspace`, which names those there are, and what `access_of` raises."""
    workspace_id = _id(wanted)
    if workspace_id is not None:
        try:
            return await access_of(caller, workspace_id, rule)
        except NotFound:
            raise UnknownWorkspace(f"You have no workspace {workspace_id}. {await _there_are(caller)}") from None
    found = []
    if is_text(wanted):  # what comes in an address may be none
        async with caller.gateway.db.read() as session:
            found = await repository.workspaces_named(session, caller.user_id, wanted, limit=2)
    if len(found) == 1:
        return await access_of(caller, found[0], rule)
    reason = f"Several of your workspaces are called {wanted[:200]!r}" if found else f"You have no workspace {wanted[:200]!r}"
    raise UnknownWorkspace(f"{reason}. {await _there_are(caller)}")


async def default_workspace(caller: Caller, rule: Rule) -> Access:
    """The caller's own. Raises `UnknownWorkspace` when it was deleted."""
    async with caller.gateway.db.read() as session:
        user = await repository.user_by_id(session, caller.user_id)
    try:
        if user is not None and user.default_workspace_id is not None:
            return await access_of(caller, user.default_workspace_id, rule)
    except NotFound:
        pass
    raise UnknownWorkspace(f"Your default workspace does not exist any more: name one. {await _there_are(caller)}")


def _id(wanted: str) -> UUID | None:
    try:
        return UUID(wanted)
    except ValueError:
        return None


async def _there_are(caller: Caller) -> str:
    async with caller.gateway.db.read() as session:
        mine, total = await repository.workspaces_of(session, caller.user_id, offset=0, limit=NAMED_MAX)
    if not mine:
        return "You are a member of none."
    names = ", ".join(f"{workspace.name} ({workspace.id})" for workspace, _ in mine)
    return f"There are: {names}" + (f", and {total - len(mine)} more." if total > len(mine) else ".")
