"""Where on the page does this quote stand?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import Boxes, GetBoxes
from docutalk_common.db import Cause, Database

from docutalk_ingest.adapters.page_viewer import PageViewer
from docutalk_ingest.use_cases.get_boxes import get_boxes


def request_page_boxes(db: Database, viewer: PageViewer) -> Callable[[GetBoxes, Cause], Awaitable[Boxes]]:
    """The answerer of `rpc.ingest.v1.page.boxes`."""

    async def answer(request: GetBoxes, _cause: Cause) -> Boxes:
        return await get_boxes(request, db, viewer)

    return answer
