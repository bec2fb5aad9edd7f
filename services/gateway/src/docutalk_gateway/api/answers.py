"""From a question to its answer, for every protocol that asks: post it, follow its frames, wait for the whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from docutalk_common.contracts import chat
from docutalk_common.contracts.chat import FrameKind
from docutalk_common.errors import RequestFailed
from docutalk_common.process import cancel_all

from docutalk_gateway.adapters.models import PostedMessage
from docutalk_gateway.api.context import Access, Gateway
from docutalk_gateway.domain import ServerStops
from docutalk_gateway.use_cases.follow_answer import AnswerFrame, AnswerRef, follow_answer
from docutalk_gateway.use_cases.post_message import NewMessage, Poster, ShareLimit, post_message

LAST_SECONDS = 5.0
"""For which a process that stops still waits for whole answers; the server would end their requests without a word later."""


async def post(access: Access, message: NewMessage, *, idempotency_key: str | None = None, body: bytes = b"") -> PostedMessage:
    """Posts a message in the caller's name; see `post_message`. `body` is what a repeated key must come with again."""
    gateway, grant = access.gateway, access.grant
    share = ShareLimit(grant.share_id, gateway.settings.share_questions_per_hour) if grant is not None else None
    async with gateway.question_slots:
        return await post_message(
            gateway.db,
            gateway.broker.requests,
            access.cause,
            Poster(
                access.workspace_id, access.user_id, gateway.settings.chat_messages_per_minute, share, gateway.settings.limits
            ),
            message,
            idempotency_key=idempotency_key,
            fingerprint=gateway.fingerprint(body),
        )


def frames(access: Access, posted: PostedMessage, *, after: int | None = None) -> AsyncGenerator[AnswerFrame]:
    """The frames of an answer above the sequence `after`, up to the `done` or `error` that ends them."""
    gateway = access.gateway
    return follow_answer(
        gateway.broker.nc,
        gateway.broker.requests,
        AnswerRef(posted.workspace_id, posted.user_id, posted.answer_id),
        after=after,
        patience=gateway.settings.answer_timeout_seconds,
    )


async def whole_answer(access: Access, posted: PostedMessage) -> chat.Answer:
    """Waits for the end. Raises `RequestFailed` with the code of an `error` frame, and `ServerStops`."""
    waiting = asyncio.ensure_future(_until_its_end(access, posted))
    stopping = asyncio.create_task(_about_to_stop(access.gateway))
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise ServerStops
        return waiting.result()
    finally:
        await cancel_all([waiting, stopping])


async def _about_to_stop(gateway: Gateway) -> None:
    await gateway.closing.wait()
    await asyncio.sleep(LAST_SECONDS)


async def _until_its_end(access: Access, posted: PostedMessage) -> chat.Answer:
    following = frames(access, posted)
    try:
        async for item in following:
            if item.frame.kind is FrameKind.DONE and item.frame.answer is not None:
                return item.frame.answer
            if item.frame.kind is FrameKind.ERROR:
                raise RequestFailed(item.frame.code or "internal", item.frame.reason or "The answer could not be made.")
    finally:
        await following.aclose()
    raise RequestFailed("timeout", "The answer did not end.")


async def stop(access: Access, posted: PostedMessage) -> None:
    """Ends an answer that nobody wants any more, as far as chat knows of it."""
    question = chat.StopAnswer(
        workspace_id=posted.workspace_id, user_id=posted.user_id, session_id=posted.session_id, answer_id=posted.answer_id
    )
    await access.gateway.broker.requests.ask("rpc.chat.v1.answer.stop", question, chat.AnswerState, cause=access.cause)
