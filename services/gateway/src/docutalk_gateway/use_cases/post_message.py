"""A person's message goes into the log; chat answers it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from docutalk_common.contracts.chat import OpenSession, SessionOpened
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.db import Cause, Database
from docutalk_common.messaging.requests import RequestClient

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import PostedMessage
from docutalk_gateway.domain import KeyReused


async def post_message(
    db: Database,
    requests: RequestClient,
    cause: Cause,
    *,
    workspace_id: UUID,
    user_id: UUID,
    text: str,
    session_id: UUID | None,
    selected_text: str | None,
    document_ids: Sequence[UUID],
    topic: str | None,
    idempotency_key: str | None,
    fingerprint: bytes,
) -> PostedMessage:
    """Emits `MessagePosted` and returns what names its answer. A repeated `idempotency_key` returns the first message, whose
    answer can be followed again. Raises `NotFound` (no such session), `KeyReused`, `RequestFailed("unavailable")`."""
    if idempotency_key is not None:
        async with db.read() as session:
            first = await repository.posted_message_by_key(session, workspace_id, user_id, idempotency_key)
        if first is not None:
            return _same(first, fingerprint)
    opened = await requests.ask(
        "rpc.chat.v1.session.open",
        OpenSession(workspace_id=workspace_id, user_id=user_id, session_id=session_id),
        SessionOpened,
        cause=cause,
    )
    async with db.read() as session:
        workspace = await repository.workspace_of(session, workspace_id, user_id)
    posted = PostedMessage(
        answer_id=uuid7(),
        message_id=uuid7(),
        session_id=opened.session_id,
        workspace_id=workspace_id,
        user_id=user_id,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
    )
    async with db.transaction(cause) as tx:
        if not await repository.add_posted_message(tx.session, posted):
            assert idempotency_key is not None
            first = await repository.posted_message_by_key(tx.session, workspace_id, user_id, idempotency_key)
            assert first is not None
            return _same(first, fingerprint)
        tx.emit(
            MessagePosted(
                workspace_id=workspace_id,
                message_id=posted.message_id,
                answer_id=posted.answer_id,
                session_id=posted.session_id,
                user_id=user_id,
                text=text,
                selected_text=selected_text,
                document_ids=list(document_ids),
                topic=topic,
                system_prompt=workspace[0].system_prompt if workspace else None,
            )
        )
    return posted


def _same(first: PostedMessage, fingerprint: bytes) -> PostedMessage:
    if first.fingerprint != fingerprint:
        raise KeyReused
    return first
