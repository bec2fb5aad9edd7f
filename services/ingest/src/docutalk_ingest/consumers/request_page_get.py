"""What stands on these pages?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import GetPages, Pages
from docutalk_common.db import Cause, Database

from docutalk_ingest.use_cases.get_pages import get_pages


def request_page_get(db: Database) -> Callable[[GetPages, Cause], Awaitable[Pages]]:
    """The answerer of `rpc.ingest.v1.page.get`."""

    async def answer(request: GetPages, _cause: Cause) -> Pages:
        return await get_pages(request, db)

    return answer
