"""Which versions of a document are kept?"""

from __future__ import annotations

from docutalk_common.contracts.ingest import ListVersions, VersionList
from docutalk_common.db import Database
from docutalk_common.errors import NotFound

from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.adapters.version_repository import VersionRepository


async def list_versions(request: ListVersions, db: Database) -> VersionList:
    """Newest first. Raises `NotFound`, also for a document of another workspace."""
    async with db.read() as session:
        document = await DocumentRepository(session).get(request.workspace_id, request.document_id)
        if document is None:
            raise NotFound("There is no such document in this workspace.")
        items = await VersionRepository(session).versions(request.document_id)
    return VersionList(items=items, served_version=document.served_version)
