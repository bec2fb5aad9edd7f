"""Erases all that a person said whose account was deleted, in every workspace."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from docutalk_common.contracts.chat import DataErased
from docutalk_common.contracts.gateway import NO_WORKSPACE, MessagePosted, UserDeleted
from docutalk_common.db import Transaction
from docutalk_common.messaging.consumer import Delivery

from docutalk_chat.adapters import erasure_repository
from docutalk_chat.adapters.models import sessions

SUBJECTS_AT_ONCE = 5_000
"""In one receipt: some 360 kB. A message may have 1 MiB."""


async def erase_user(event: UserDeleted, delivery: Delivery) -> None:
    """Emits the receipt once, in as many parts as it takes: the log holds the words of each question.

    All in one transaction: the questions are known only as long as they are there, and of one that went without being told its
    words would stay in the log.
    """
    counts: Counter[str] = Counter()
    questions: list[UUID] = []
    async with delivery.transaction() as transaction:
        if not await erasure_repository.begin_erasure(transaction.session, event.user_id):
            return
        while (went := await erasure_repository.erase_sessions(transaction.session, sessions.c.user_id == event.user_id)).counts[
            "sessions"
        ]:
            counts.update(went.counts)
            questions += went.questions
        await erasure_repository.end_erasure(transaction.session, event.user_id)
        _emit(transaction, event.erasure_id, counts, questions)


def _emit(transaction: Transaction, erasure_id: UUID, counts: Counter[str], questions: list[UUID]) -> None:
    everywhere = MessagePosted.subject_filter().removesuffix("*")
    subjects = [f"{everywhere}{message_id}" for message_id in questions]
    parts = [subjects[first : first + SUBJECTS_AT_ONCE] for first in range(0, len(subjects), SUBJECTS_AT_ONCE)] or [[]]
    for number, part in enumerate(parts, start=1):
        transaction.emit(
            DataErased(
                workspace_id=NO_WORKSPACE,
                erasure_id=erasure_id,
                removed=dict(counts) if number == 1 else {},
                subjects=part,
                part=number,
                parts=len(parts),
            )
        )
