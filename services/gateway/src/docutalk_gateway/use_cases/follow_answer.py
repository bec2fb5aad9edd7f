"""The frames of an answer, each once and in order, whatever got lost on the way."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from uuid import UUID

from docutalk_common.contracts.chat import AnswerState, Frame, FrameKind, GetAnswer
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.messaging import event_log
from docutalk_common.messaging.event_log import Stored
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.messaging.streams import TOKENS
from nats.aio.client import Client

from docutalk_gateway.adapters.live_feed import follow

IDLE_SECONDS = 2.0


@dataclass(frozen=True)
class AnswerRef:
    """Which answer, and for whom."""

    workspace_id: UUID
    user_id: UUID
    answer_id: UUID


@dataclass(frozen=True)
class AnswerFrame:
    """A frame with its sequence, None for one that comes from the stored answer."""

    sequence: int | None
    frame: Frame


async def follow_answer(
    nc: Client, requests: RequestClient, answer: AnswerRef, *, after: int | None = None, patience: float
) -> AsyncGenerator[AnswerFrame]:
    """Frames above the sequence `after`, up to and with the `done` or `error` that ends them.

    When frames stay away for two seconds, chat is asked for the stored answer, which is there before `done` is sent: so an
    answer whose frames have expired, or died with the message server, still arrives. After `patience` seconds without any
    news an `error` frame `timeout` ends it.
    """
    subject = f"tok.{answer.workspace_id}.{answer.answer_id}"
    expected: int | None = 0 if after is None else None
    last = after or 0
    news = time.monotonic()
    async for stored in follow(nc, TOKENS, subject, after=last, when_ahead="restart", idle=IDLE_SECONDS):
        if stored is None:
            final = await _stored_answer(requests, answer, expected or 0)
            if final is None and time.monotonic() - news > patience:
                final = _error(answer, expected or 0, "timeout", f"There was no news of the answer for {patience:g} s.")
            if final is not None:
                yield final
                return
            continue
        news = time.monotonic()
        for item in await _with_missing(nc, subject, stored, expected, last):
            frame = Frame.model_validate_json(item.data)
            # A `start` counts anew: after a restart of the message server the indexes begin at 0 again.
            if expected is not None and frame.index < expected and frame.kind is not FrameKind.START:
                continue
            expected, last = frame.index + 1, item.sequence
            yield AnswerFrame(item.sequence, frame)
            if frame.kind in {FrameKind.DONE, FrameKind.ERROR}:
                return


async def _with_missing(nc: Client, subject: str, stored: Stored, expected: int | None, last: int) -> list[Stored]:
    """The frame, after those before it that got lost: an index above the expected one tells."""
    if expected is None or Frame.model_validate_json(stored.data).index <= expected:
        return [stored]
    between = await event_log.read(nc, TOKENS, subject, after=last)
    return [item for item in between if item.sequence < stored.sequence] + [stored]


async def _stored_answer(requests: RequestClient, answer: AnswerRef, index: int) -> AnswerFrame | None:
    question = GetAnswer(workspace_id=answer.workspace_id, user_id=answer.user_id, answer_id=answer.answer_id)
    try:
        state = await requests.ask("rpc.chat.v1.answer.get", question, AnswerState)
    except NotFound:
        return None  # chat has not taken the message up yet
    except RequestFailed as error:
        if error.code in {"unavailable", "timeout"}:
            return None  # chat is down for the moment; the message waits in the log
        raise
    if state.answer is not None:
        return AnswerFrame(
            None,
            Frame(
                answer_id=answer.answer_id,
                index=index,
                kind=FrameKind.DONE,
                session_id=state.answer.session_id,
                answer=state.answer,
            ),
        )
    if state.code is not None:
        return _error(answer, index, state.code, state.reason or "The answer could not be made.")
    return None


def _error(answer: AnswerRef, index: int, code: str, reason: str) -> AnswerFrame:
    return AnswerFrame(None, Frame(answer_id=answer.answer_id, index=index, kind=FrameKind.ERROR, code=code, reason=reason))
