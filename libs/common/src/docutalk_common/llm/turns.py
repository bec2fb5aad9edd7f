"""Conversations in the strict form that some models want: a user first, then in turns."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from docutalk_common.llm.model import ModelMessage


def system_of(messages: Sequence[ModelMessage]) -> str:
    """All system messages as one text."""
    return "\n\n".join(message.content for message in messages if message.role == "system")


def alternating(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """The conversation without system messages, in turns that alternate, from the user's first; none of them is empty."""
    turns: list[ModelMessage] = []
    talk = (message for message in messages if message.role != "system" and message.content.strip())
    for role, said in itertools.groupby(talk, key=lambda message: message.role):
        if role == "user" or turns:
            turns.append(ModelMessage(role, "\n\n".join(message.content for message in said)))
    return turns


def strict(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """As `alternating`, with the system messages before the first of them."""
    turns = alternating(messages)
    system = system_of(messages)
    if not system or not turns:
        return turns
    return [ModelMessage("user", f"{system}\n\n{turns[0].content}"), *turns[1:]]
