"""`gateway.message.posted`: somebody asked something."""

from __future__ import annotations

from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.messaging.consumer import Delivery

from docutalk_chat.domain.answers import without_nul
from docutalk_chat.use_cases.answer_message import AnswerMessage


def register(broker: MessageBroker, answer_message: AnswerMessage) -> None:
    """Durable `chat-message-posted`."""

    async def handle(posted: MessagePosted, delivery: Delivery) -> None:
        text, selected = without_nul(posted.text), posted.selected_text and without_nul(posted.selected_text)
        await answer_message(posted.model_copy(update={"text": text, "selected_text": selected}), delivery)

    broker.consume("chat-message-posted", handle)
