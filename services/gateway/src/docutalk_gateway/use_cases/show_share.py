"""What a share link is of, for somebody who has not opened it."""

from __future__ import annotations

from dataclasses import dataclass

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound
from docutalk_common.messaging.requests import RequestClient

from docutalk_gateway.adapters.audit_log import Actor
from docutalk_gateway.adapters.models import Share
from docutalk_gateway.domain import ShareTarget
from docutalk_gateway.use_cases.find_share import find_share, gone
from docutalk_gateway.use_cases.name_share_target import name_share_target


@dataclass(frozen=True)
class Shown:
    """A link, and what it leads to is called; None while a password hides that."""

    share: Share
    name: str | None


async def show_share(db: Database, requests: RequestClient, cause: Cause, actor: Actor, *, token: str) -> Shown:
    """Is no use of it: programs look at each link that passes through them. Raises `NotFound`, also when the target was deleted
    since, and `RequestFailed`."""
    share = await find_share(db, cause, actor, token)
    if share.password_hash is not None:
        return Shown(share, None)
    target = ShareTarget(share.target)
    try:
        name = await name_share_target(
            db,
            requests,
            cause,
            workspace_id=share.workspace_id,
            user_id=share.created_by,
            target=target,
            target_id=share.target_id,
        )
    except NotFound:
        raise gone() from None
    return Shown(share, name)
