"""How does this page look?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.ingest import RenderedPage, RenderPage
from docutalk_common.db import Cause, Database
from docutalk_common.storage import ObjectStorage

from docutalk_ingest.adapters.page_viewer import PageViewer
from docutalk_ingest.use_cases.render_page import render_page


def request_page_render(
    db: Database, storage: ObjectStorage, viewer: PageViewer
) -> Callable[[RenderPage, Cause], Awaitable[RenderedPage]]:
    """The answerer of `rpc.ingest.v1.page.render`."""

    async def answer(request: RenderPage, cause: Cause) -> RenderedPage:
        return await render_page(request, cause, db, storage, viewer)

    return answer
