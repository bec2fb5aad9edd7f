"""Whether a durable has come to the end of what was sent to it."""

from __future__ import annotations

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from docutalk_common.messaging.streams import Durable


async def is_settled(js: JetStreamContext, entry: Durable) -> bool:
    """Nothing waits for this durable and nothing is being worked on."""
    try:
        last = (await js.get_last_msg(entry.stream, entry.filter_subject)).seq or 0
    except NotFoundError:
        last = 0
    info = await js.consumer_info(entry.stream, entry.name)
    # The server counts a message as pending a moment after it has acknowledged its publication.
    is_seen = info.delivered is not None and (info.delivered.stream_seq or 0) >= last
    return is_seen and not info.num_pending and not info.num_ack_pending
