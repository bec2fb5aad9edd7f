"""Some consumer has given up on a message."""

from __future__ import annotations

from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.messaging.consumer import Delivery

from docutalk_ingest.use_cases.fail_document import fail_document
from docutalk_ingest.use_cases.fail_run import COLLECT, fail_run


async def dead_letter_received(letter: DeadLetter, delivery: Delivery) -> None:
    """The handler of `ingest-dead-letter`."""
    if letter.durable == COLLECT:
        await fail_run(letter, delivery)
    else:
        await fail_document(letter, delivery)
