"""Some consumer has given up on a message."""

from __future__ import annotations

from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.db import Database
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.messaging.consumer import Delivery

from docutalk_chat.use_cases.give_up_answer import give_up_answer


def register(broker: MessageBroker, db: Database) -> None:
    """Durable `chat-dead-letter`."""

    async def handle(letter: DeadLetter, delivery: Delivery) -> None:
        await give_up_answer(letter, delivery, db, lambda: broker.js)

    broker.consume("chat-dead-letter", handle)
