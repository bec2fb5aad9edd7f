"""How does this page look?"""

from __future__ import annotations

from docutalk_common.contracts.ingest import RenderedPage, RenderPage
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.storage import ObjectStorage

from docutalk_ingest.adapters.isolated_parser import RENDERED
from docutalk_ingest.adapters.page_repository import PageRepository
from docutalk_ingest.adapters.page_viewer import PageViewer
from docutalk_ingest.domain import pictures_of

MIN_WIDTH = 64
MAX_WIDTH = 2_400


async def render_page(
    request: RenderPage, cause: Cause, db: Database, storage: ObjectStorage, viewer: PageViewer
) -> RenderedPage:
    """Made when it is asked for the first time. Raises `NotFound`, and `RequestFailed`: `invalid` for a width out of bounds,
    `no_image` for a format whose pages have no looks.
    """
    if not MIN_WIDTH <= request.width <= MAX_WIDTH:
        raise RequestFailed("invalid", f"The width must be {MIN_WIDTH} to {MAX_WIDTH:,} pixels.")
    async with db.read() as session:
        repository = PageRepository(session)
        page = await repository.find(request.workspace_id, request.document_id, request.version, request.number)
        if page is None:
            raise NotFound("There is no such page.")
        name = f"{pictures_of(page.version)}{page.number}-{request.width}.{RENDERED[0]}"
        key = f"{page.workspace_id}/{page.document_id}/{name}"
        if (before := await repository.rendering(key)) is not None:
            return before
    rendered = await viewer.render(page, request.width, key)
    async with db.transaction(cause) as transaction:
        kept = await PageRepository(transaction.session).keep_rendering(page, rendered)
    if not kept:
        await storage.delete([key])
        raise NotFound("There is no such page any more.")
    return rendered
