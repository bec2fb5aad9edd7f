"""What stands on these pages?"""

from __future__ import annotations

from docutalk_common.contracts.ingest import GetPages, Pages
from docutalk_common.db import Database
from docutalk_common.errors import RequestFailed

from docutalk_ingest.adapters.page_repository import PageRepository

MAX_PAGES_ASKED = 64
MAX_ANSWER_BYTES = 1_500_000
"""The message server takes up to 2 MiB; JSON escapes need the rest."""


async def get_pages(request: GetPages, db: Database) -> Pages:
    """Raises `RequestFailed`: `invalid` for more than 64 pages, `too_large` for more text than a message holds."""
    if len(request.pages) > MAX_PAGES_ASKED:
        raise RequestFailed("invalid", f"at most {MAX_PAGES_ASKED} pages can be asked for at once")
    async with db.read() as session:
        found = await PageRepository(session).pages(request.workspace_id, request.pages)
    if sum(len(page.text.encode()) for page in found) > MAX_ANSWER_BYTES:
        raise RequestFailed("too_large", "these pages are too large for one answer; ask for ranges of them")
    return Pages(pages=found)
