"""Passages and pages for tests."""

from __future__ import annotations

from uuid import UUID, uuid4

from docutalk_common.contracts.embed import Passage, PassageScores


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
