"""List the places that the documents of a workspace, or one of them, name."""

from __future__ import annotations

from docutalk_common.contracts.embed import ListPlaces, Places
from docutalk_common.db import Database
from docutalk_common.errors import NotFound

from docutalk_embed.adapters.place_repository import PlaceRepository
from docutalk_embed.domain.places import check_box, check_stretch


async def list_places(request: ListPlaces, db: Database) -> Places:
    """Most mentioned first. Raises `InvalidArea`, and `NotFound` for a document that has no passages here."""
    check_stretch(request.limit, request.offset)
    box = check_box(request.box) if request.box is not None else None
    async with db.read() as session:
        named = PlaceRepository(session, request.workspace_id)
        if request.document_id is not None and not await named.has_document(request.document_id):
            raise NotFound(f"document {request.document_id} is not in this workspace, or none of its passages is stored yet")
        return await named.list(request.document_id, box, limit=request.limit, offset=request.offset)
