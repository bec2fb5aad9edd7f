"""What others are told when a document's counts have moved on."""

from __future__ import annotations

from docutalk_common.contracts.ingest import Document, DocumentProgressed


def progress_of(document: Document) -> DocumentProgressed:
    """The document's counts as an event. Callers keep to one a second, and one for each change of status."""
    return DocumentProgressed(
        workspace_id=document.workspace_id,
        document_id=document.document_id,
        version=document.version,
        status=document.status,
        page_count=document.page_count,
        pages_done=document.pages_done,
        chunk_count=document.chunk_count,
        chunks_done=document.chunks_done,
    )
