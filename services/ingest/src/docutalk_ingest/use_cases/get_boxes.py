"""Where on the page does this quote stand?"""

from __future__ import annotations

from docutalk_common.contracts.ingest import Boxes, GetBoxes
from docutalk_common.db import Database
from docutalk_common.errors import NotFound, RequestFailed

from docutalk_ingest.adapters.page_repository import PageRepository
from docutalk_ingest.adapters.page_viewer import PageViewer

MAX_QUOTE = 20_000


async def get_boxes(request: GetBoxes, db: Database, viewer: PageViewer) -> Boxes:
    """Raises `NotFound`, and `RequestFailed`: `invalid` for a range that is not on the page or of over 20,000 characters,
    `no_boxes` for a format whose pages have no places.
    """
    async with db.read() as session:
        page = await PageRepository(session).find(request.workspace_id, request.document_id, request.version, request.number)
    if page is None:
        raise NotFound("There is no such page.")
    if not 0 <= request.start < request.end <= len(page.text):
        raise RequestFailed(
            "invalid", f"The page has {len(page.text):,} characters: start and end must lie within, in this order."
        )
    if request.end - request.start > MAX_QUOTE:
        raise RequestFailed("invalid", f"A quote may have {MAX_QUOTE:,} characters.")
    return await viewer.boxes(page, request.start, request.end)
