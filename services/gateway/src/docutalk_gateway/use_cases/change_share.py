"""A share link grants something else from now on, also to who has opened it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound

from docutalk_gateway.adapters import share_repository
from docutalk_gateway.adapters.audit_log import Action, Actor, note
from docutalk_gateway.adapters.models import Share
from docutalk_gateway.adapters.passwords import Passwords
from docutalk_gateway.domain import Conflict
from docutalk_gateway.use_cases.create_share import as_stored, check_expiry


async def change_share(
    db: Database,
    passwords: Passwords,
    cause: Cause,
    actor: Actor,
    *,
    workspace_id: UUID,
    share_id: UUID,
    changes: Mapping[str, Any],
) -> Share:
    """Sets `name`, `permissions`, `expires_at`, `max_uses` or `password`; a new password ends the visits that another one opened.
    Raises `NotFound`, `Conflict` for a revoked link and for fewer uses than there were, `RequestFailed("invalid")` for a past
    moment."""
    check_expiry(changes.get("expires_at"))
    values = {name: value for name, value in changes.items() if name != "password"}
    if "permissions" in values:
        values["permissions"] = as_stored(values["permissions"])
    password = changes.get("password")
    if "password" in changes:
        values["password_hash"] = None if password is None else await passwords.hash(password)
    async with db.transaction(cause) as tx:
        share = await share_repository.lock_share(tx.session, workspace_id, share_id)
        if share is None:
            raise NotFound("There is no such share link.")
        if share.revoked_at is not None:
            raise Conflict("This link was revoked and stays so. Make a new one.")
        most = values.get("max_uses")
        if most is not None and most < share.uses:
            raise Conflict(f"This link was opened {share.uses} times already; max_uses cannot be less. Revoke it to end it.")
        for field, value in values.items():
            setattr(share, field, value)
        if password is not None:
            await share_repository.end_visits(tx.session, share_id, datetime.now(UTC))
        told = {"changed": " ".join(sorted(changes)), "permissions": " ".join(share.permissions)}
        note(tx.session, Action.SHARE_CHANGED, actor, workspace_id=workspace_id, target_id=share_id, **told)
        return share
