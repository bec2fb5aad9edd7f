"""Answers that nobody can come back for are not made to their end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from docutalk_common.errors import RequestFailed
from docutalk_common.telemetry import get_logger

from docutalk_gateway.adapters.models import PostedMessage
from docutalk_gateway.api import answers
from docutalk_gateway.api.context import Access

log = get_logger(__name__)


@contextlib.contextmanager
def stopped_when_left(access: Access, posted: PostedMessage) -> Iterator[None]:
    """Stops the answer, in the background, when the block is left before its end: by a client that went away, or because the
    process stops. An answer that failed has ended."""
    try:
        yield
    except RequestFailed:
        raise
    except BaseException:
        stopping = asyncio.create_task(_stop(access, posted), name=f"stop answer {posted.answer_id}")
        access.gateway.stopping.add(stopping)
        stopping.add_done_callback(access.gateway.stopping.discard)
        raise


async def _stop(access: Access, posted: PostedMessage) -> None:
    try:
        await answers.stop(access, posted)
    except Exception as error:  # whatever it is: nobody waits for this, and the answer only goes on
        log.warning("an answer that nobody waits for goes on", answer_id=str(posted.answer_id), reason=str(error))
