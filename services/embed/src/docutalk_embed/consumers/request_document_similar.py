"""Which documents are like this one?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.embed import FindSimilar, SimilarDocuments
from docutalk_common.db import Cause, Database

from docutalk_embed.use_cases.find_similar import find_similar


def request_document_similar(db: Database) -> Callable[[FindSimilar, Cause], Awaitable[SimilarDocuments]]:
    """The answerer of `rpc.embed.v1.document.similar`."""

    async def answer(request: FindSimilar, _cause: Cause) -> SimilarDocuments:
        return await find_similar(request, db)

    return answer
