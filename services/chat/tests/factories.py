"""Passages, and citations that are stored, for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

from docutalk_chat.adapters.repository import begin_answer, complete_answer
from docutalk_chat.adapters.session_repository import create_session
from docutalk_common.contracts.chat import Answer, Citation
from docutalk_common.contracts.embed import Passage, PassageScores
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.db import Cause, Database


def passage(
    text: str, *, page: int = 1, start: int = 0, document_id: UUID | None = None, filename: str = "report.pdf", score: float = 0.5
) -> Passage:
    """A passage that stands at `start` on its page."""
    return Passage(
        chunk_id=uuid4(),
        document_id=document_id or uuid4(),
        filename=filename,
        page=page,
        start=start,
        end=start + len(text),
        text=text,
        score=score,
        scores=PassageScores(),
    )


async def stored_citation(db: Database) -> tuple[UUID, UUID]:
    """The workspace and the document of a citation of a first version, in an answer that is stored."""
    cited = Citation(marker=1, document_id=uuid7(), filename="report.pdf", page=1, start=0, end=3, quote="The")
    workspace_id, user_id = uuid7(), uuid7()
    async with db.transaction(Cause.new()) as transaction:
        posted = MessagePosted(
            workspace_id=workspace_id,
            message_id=uuid7(),
            answer_id=uuid7(),
            session_id=await create_session(transaction.session, workspace_id, user_id),
            user_id=user_id,
            text="Which?",
        )
        await begin_answer(transaction.session, posted)
        answer = Answer(
            answer_id=posted.answer_id,
            session_id=posted.session_id,
            message_id=posted.message_id,
            response="The [1]",
            supported=True,
            citations=[cited],
            created_at=datetime.now(UTC),
        )
        await complete_answer(transaction.session, answer)
    return workspace_id, cited.document_id
