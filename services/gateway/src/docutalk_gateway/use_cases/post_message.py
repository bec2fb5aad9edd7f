"""A person's message goes into the log; chat answers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from docutalk_common.contracts.chat import OpenSession, SessionOpened, Turn
from docutalk_common.contracts.embed import SearchFilters
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.db import Cause, Database, Transaction
from docutalk_common.messaging.requests import RequestClient

from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import PostedMessage
from docutalk_gateway.adapters.rate_limits import take
from docutalk_gateway.domain import NO_LIMITS, KeyReused, Limits, TooManyMessages, TooManyRequests
from docutalk_gateway.use_cases.keep_quota import hold_open, limit_questions

MINUTE_SECONDS = 60.0
HOUR_SECONDS = 3600
# It is not asked twice, and chat may be busy with hundreds of answers. When it is away, that is known at once.
OPEN_SECONDS = 10.0


@dataclass(frozen=True)
class NewMessage:
    """What is asked, of which documents, and in which conversation.

    Without `session_id` a conversation begins. `message_id` names a question of it that is to be answered again. With `turns`
    the client keeps the conversation itself: no session shows it. `instructions` come behind the workspace's own.
    """

    text: str
    session_id: UUID | None = None
    message_id: UUID | None = None
    selected_text: str | None = None
    document_ids: Sequence[UUID] = ()
    filters: SearchFilters = field(default_factory=SearchFilters)
    turns: Sequence[Turn] | None = None
    instructions: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True)
class ShareLimit:
    """How many questions the visitors of a link may ask together: who gives it away does not give their purse away."""

    share_id: UUID
    per_hour: int


@dataclass(frozen=True)
class Poster:
    """Who posts, and how many messages a minute they may, in all workspaces and by all gateways together. `share` says what the
    visitors of a link may together, and `general_limits` what may be asked in a workspace that has no limit of its own."""

    workspace_id: UUID
    user_id: UUID
    per_minute: int
    share: ShareLimit | None = None
    general_limits: Limits = NO_LIMITS


async def post_message(
    db: Database,
    requests: RequestClient,
    cause: Cause,
    poster: Poster,
    message: NewMessage,
    *,
    idempotency_key: str | None,
    fingerprint: bytes,
) -> PostedMessage:
    """Emits `MessagePosted` and returns what names its answer. A repeated `idempotency_key` returns the first message, whose
    answer can be followed again. Raises `NotFound` (no such session), `KeyReused`, `TooManyMessages`, `TooManyRequests`,
    `QuestionsUsedUp`, `WorkspaceArchived`, `RequestFailed("unavailable")`."""
    workspace_id, user_id = poster.workspace_id, poster.user_id
    if idempotency_key is not None:
        async with db.read() as session:
            first = await repository.posted_message_by_key(session, workspace_id, user_id, idempotency_key)
        if first is not None:
            return _same(first, fingerprint)
    opened = await requests.ask(
        "rpc.chat.v1.session.open",
        OpenSession(
            workspace_id=workspace_id,
            user_id=user_id,
            session_id=message.session_id,
            transient=message.turns is not None,
        ),
        SessionOpened,
        cause=cause,
        timeout=OPEN_SECONDS,
    )
    posted = PostedMessage(
        answer_id=uuid7(),
        message_id=message.message_id or uuid7(),
        session_id=opened.session_id,
        workspace_id=workspace_id,
        user_id=user_id,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
    )
    async with db.transaction(cause) as tx:
        workspace = await hold_open(tx.session, workspace_id, user_id)
        if not await repository.add_posted_message(tx.session, posted):
            assert idempotency_key is not None
            first = await repository.posted_message_by_key(tx.session, workspace_id, user_id, idempotency_key)
            assert first is not None
            return _same(first, fingerprint)
        await _limit(tx, poster)
        await limit_questions(tx.session, workspace, poster.general_limits)
        instructions = [text for text in (workspace.system_prompt, message.instructions) if text]
        tx.emit(
            MessagePosted(
                workspace_id=workspace_id,
                message_id=posted.message_id,
                answer_id=posted.answer_id,
                session_id=posted.session_id,
                user_id=user_id,
                text=message.text,
                selected_text=message.selected_text,
                document_ids=list(message.document_ids),
                system_prompt="\n\n".join(instructions) or None,
                filters=message.filters,
                turns=None if message.turns is None else list(message.turns),
                temperature=message.temperature,
                max_tokens=message.max_tokens,
            )
        )
    return posted


async def _limit(tx: Transaction, poster: Poster) -> None:
    """Raises `TooManyMessages` and `TooManyRequests`; the message, which counts too, is then not stored."""
    now = datetime.now(UTC)
    earliest = await repository.earliest_message_over(tx.session, poster.user_id, poster.per_minute, seconds=MINUTE_SECONDS)
    if earliest is not None:
        raise TooManyMessages(poster.per_minute, max(1.0, MINUTE_SECONDS - (now - earliest).total_seconds()))
    if poster.share is not None:
        most = poster.share.per_hour
        wait = await take(tx.session, f"share:questions:{poster.share.share_id}", most=most, seconds=HOUR_SECONDS)
        if wait is not None:
            reason = f"{most} questions an hour may be asked with this link. Ask again in {wait / 60:.0f} minutes."
            raise TooManyRequests(reason, wait)


def _same(first: PostedMessage, fingerprint: bytes) -> PostedMessage:
    if first.fingerprint != fingerprint:
        raise KeyReused
    return first
