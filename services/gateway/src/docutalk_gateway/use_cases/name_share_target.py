"""What a share link leads to is called something, if it is there."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.contracts.chat import GetSession, Session
from docutalk_common.contracts.ingest import GetSource, Source
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound
from docutalk_common.messaging.requests import RequestClient

from docutalk_gateway.adapters import repository
from docutalk_gateway.domain import ShareTarget
from docutalk_gateway.use_cases.read_documents import get_document


async def name_share_target(
    db: Database,
    requests: RequestClient,
    cause: Cause,
    *,
    workspace_id: UUID,
    user_id: UUID,
    target: ShareTarget,
    target_id: UUID,
) -> str:
    """The workspace's or the source's name, the document's filename, the title of the conversation, which has to be this user's.
    Raises `NotFound`, and `RequestFailed` while the service that knows is away."""
    match target:
        case ShareTarget.WORKSPACE:
            async with db.read() as session:
                workspace = await repository.workspace_by_id(session, target_id) if target_id == workspace_id else None
            if workspace is None:
                raise NotFound("There is no such workspace.")
            return workspace.name
        case ShareTarget.DOCUMENT:
            return (await get_document(db, requests, cause, workspace_id, target_id)).filename
        case ShareTarget.SOURCE:
            wanted = GetSource(workspace_id=workspace_id, source_id=target_id)
            return (await requests.ask("rpc.ingest.v1.source.get", wanted, Source, cause=cause)).name
        case ShareTarget.SESSION:
            question = GetSession(workspace_id=workspace_id, user_id=user_id, session_id=target_id)
            return (await requests.ask("rpc.chat.v1.session.get", question, Session, cause=cause)).title
