"""What visitors of a share link do is written down, for those who shared it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

from docutalk_common.db import Cause, Database
from docutalk_common.errors import DocuTalkError

from docutalk_gateway.adapters import share_repository
from docutalk_gateway.adapters.audit_log import Actor
from docutalk_gateway.domain import NotSignedIn
from docutalk_gateway.use_cases.find_share import add_access
from docutalk_gateway.use_cases.identify_caller import Credentials


@contextlib.asynccontextmanager
async def visit_logged(
    db: Database, cause: Cause, actor: Actor, credentials: Credentials, *, operation: str, document_id: UUID | None
) -> AsyncIterator[None]:
    """Decides in the block whether a request is let in, and logs it either way if it is a visitor's: `reason` is then the code of
    the error. Before it is answered: what cannot be logged is not shown. Raises `NotSignedIn` when the link was deleted a moment
    ago, with its log."""
    if credentials.grant is None:
        yield
        return
    reason: str | None = None
    try:
        yield
    except DocuTalkError as error:
        reason = error.code
        raise
    finally:
        async with db.transaction(cause) as tx:
            if not await share_repository.hold_share(tx.session, credentials.grant.share_id):
                raise NotSignedIn("What was shared here is not shared any more. Open the link again, or ask for a new one.")
            add_access(
                tx.session,
                actor,
                credentials.grant.share_id,
                operation,
                visit_id=credentials.user_id,
                document_id=document_id,
                reason=reason,
            )
