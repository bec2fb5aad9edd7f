"""A posted message was given up on: its answer fails, and whoever waits for it is told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from docutalk_common.contracts.chat import AnswerFailed
from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.contracts.envelope import Envelope
from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.db import Database
from docutalk_common.messaging.consumer import Delivery
from nats.js import JetStreamContext
from pydantic import ValidationError

from docutalk_chat.adapters import repository
from docutalk_chat.adapters.frames import FrameWriter
from docutalk_chat.adapters.repository import Begun
from docutalk_chat.domain.answers import without_nul


async def give_up_answer(letter: DeadLetter, delivery: Delivery, db: Database, js: Callable[[], JetStreamContext]) -> None:
    """An answer that has come to its end already stays as it is. A message that cannot be read names no answer to fail."""
    posted = _posted(letter)
    if posted is None:
        return
    reason = f"The answer was given up: {without_nul(letter.reason)}"
    begun = await _fail(posted, letter.code, reason, delivery, db)
    if begun is None or begun.state.answer is not None:
        return
    frames = FrameWriter(
        js,
        workspace_id=posted.workspace_id,
        answer_id=posted.answer_id,
        session_id=posted.session_id,
    )
    async with frames:
        await frames.skip_stored()
        # Said again when this message comes again: the first time may have ended between storing and telling.
        frames.error(begun.state.code or letter.code, begun.state.reason or reason)


def _posted(letter: DeadLetter) -> MessagePosted | None:
    if letter.durable != "chat-message-posted":
        return None
    with contextlib.suppress(ValidationError):
        posted = MessagePosted.model_validate(Envelope.model_validate_json(letter.body()).data)
        # It may have been given up on for what its text holds.
        return posted.model_copy(update={"text": without_nul(posted.text), "selected_text": None})
    return None


async def _fail(posted: MessagePosted, code: str, reason: str, delivery: Delivery, db: Database) -> Begun | None:
    """How the answer stood before; it is made when it never began, so that it can be asked for. None without a session."""
    async with db.transaction(delivery.cause) as transaction:
        begun = await repository.begin_answer(transaction.session, posted)
        if begun is not None and await repository.fail_answer(transaction.session, posted.answer_id, code, reason):
            transaction.emit(
                AnswerFailed(
                    workspace_id=posted.workspace_id,
                    answer_id=posted.answer_id,
                    message_id=posted.message_id,
                    session_id=posted.session_id,
                    code=code,
                    reason=reason,
                )
            )
    return begun
