"""Documents: list, get, rename, delete, bytes, versions, pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from docutalk_common.contracts.ingest import DocumentStatus, GetPages, PageRef, Pages
from docutalk_common.contracts.ingest import Page as PageText
from docutalk_common.errors import NotFound
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from docutalk_gateway.api import shapes
from docutalk_gateway.api.byte_range import ByteRange, parse_range
from docutalk_gateway.api.context import Access, Member, Page
from docutalk_gateway.api.visitors import told_document, told_version, wanted_documents
from docutalk_gateway.use_cases.delete_document import delete_document
from docutalk_gateway.use_cases.read_documents import Wanted, find_content, get_document, list_documents, list_versions
from docutalk_gateway.use_cases.rename_document import rename_document

router = APIRouter(tags=["documents"])

# Below the message server's limit of 2 MiB, whatever script the text is in.
PAGE_PIECE = 200_000
_BYTES = {"schema": {"type": "string", "format": "binary"}}

OneVersion = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="A version of the document")]


def filters(
    status: DocumentStatus | None = None,
    q: Annotated[str | None, Query(max_length=200, pattern="^[^\\x00]*$", description="A part of the filename")] = None,
    content_type: Annotated[str | None, Query(max_length=200, pattern="^[^\\x00]*$")] = None,
    type: Annotated[str | None, Query(max_length=200, pattern="^[^\\x00]*$", description="The same as `content_type`")] = None,
    source_id: UUID | None = None,
) -> Wanted:
    """Which documents of a list."""
    return Wanted(status=status, q=q, content_type=content_type or type, source_id=source_id)


@router.get("/workspaces/{workspace_id}/documents")
async def get_documents(
    access: Member, page: Page, wanted: Annotated[Wanted, Depends(filters)]
) -> shapes.Listing[shapes.Document]:
    """Documents, newest first."""
    gateway = access.gateway
    found, total = await list_documents(
        gateway.db,
        gateway.broker.requests,
        access.cause,
        access.workspace_id,
        wanted_documents(access.grant, wanted),
        page=page.page,
        per_page=page.per_page,
    )
    items = [told_document(access.grant, shapes.Document.of(document)) for document in found]
    return shapes.Listing(items=items, total=total, page=page.page, per_page=page.per_page)


@router.get("/workspaces/{workspace_id}/documents/{document_id}")
async def get_one_document(access: Member, document_id: UUID) -> shapes.Document:
    """One document with its progress."""
    gateway = access.gateway
    document = await get_document(gateway.db, gateway.broker.requests, access.cause, access.workspace_id, document_id)
    return told_document(access.grant, shapes.Document.of(document))


@router.patch("/workspaces/{workspace_id}/documents/{document_id}")
async def patch_document(access: Member, document_id: UUID, body: shapes.DocumentChanges) -> shapes.Document:
    """Renames a document. A version that is superseded keeps the name that its file had."""
    gateway = access.gateway
    renamed = await rename_document(
        gateway.db,
        gateway.broker.requests,
        access.cause,
        workspace_id=access.workspace_id,
        document_id=document_id,
        user_id=access.user_id,
        filename=body.filename,
    )
    return shapes.Document.of(renamed)


@router.delete("/workspaces/{workspace_id}/documents/{document_id}", status_code=204, response_class=Response)
async def remove_document(access: Member, document_id: UUID) -> None:
    """Deletes a document with its pages, passages and bytes."""
    gateway = access.gateway
    await delete_document(
        gateway.db,
        gateway.broker.requests,
        access.cause,
        workspace_id=access.workspace_id,
        document_id=document_id,
        user_id=access.user_id,
    )


@router.get(
    "/workspaces/{workspace_id}/documents/{document_id}/content",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/octet-stream": _BYTES, "*/*": _BYTES}},
        206: {"content": {"*/*": _BYTES}, "description": "A range of the bytes"},
        304: {"description": "The client has these bytes"},
    },
)
async def get_content(request: Request, access: Member, document_id: UUID, version: OneVersion = None) -> Response:
    """The bytes as they were uploaded, of the newest version unless another one is named. Takes `Range` (one range) and
    `If-None-Match`."""
    gateway = access.gateway
    found = await find_content(
        gateway.db, gateway.broker.requests, access.cause, access.workspace_id, document_id, version=version
    )
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": f'"{found.sha256}"',
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.filename, safe='')}",
        # Somebody's HTML must not run with the rights of this origin, even if a browser ignores the disposition.
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    wanted = parse_range(request.headers.get("range"), found.size)
    if request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        wanted = ByteRange(0, found.size, whole=True)
    headers["Content-Length"] = str(wanted.length)
    if not wanted.whole:
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.start + wanted.length - 1}/{found.size}"
    if wanted.length == 0:
        return Response(status_code=200, headers=headers, media_type=found.content_type)
    chunks = access.gateway.storage.iterate(found.object_key, offset=wanted.start, length=wanted.length)
    # The first bytes before the status line: an absent object store is then still a 503.
    first = await anext(chunks, b"")

    async def body() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return StreamingResponse(body(), 200 if wanted.whole else 206, headers=headers, media_type=found.content_type)


@router.get("/workspaces/{workspace_id}/documents/{document_id}/versions")
async def get_versions(access: Member, document_id: UUID) -> shapes.Versions:
    """The versions of a document's file that are kept, newest first."""
    gateway = access.gateway
    found = await list_versions(gateway.db, gateway.broker.requests, access.cause, access.workspace_id, document_id)
    items = [told_version(access.grant, shapes.Version.of(item)) for item in found.items]
    return shapes.Versions(items=items, served_version=found.served_version)


@router.get("/workspaces/{workspace_id}/documents/{document_id}/pages/{number}", response_model=shapes.Page)
async def get_page(
    access: Member, document_id: UUID, number: Annotated[int, Path(ge=1, le=2**31 - 1)], version: OneVersion = None
) -> Response:
    """The text of a page, from 1, of the version that is served unless another one is named. A format without pages is one
    page."""
    first = await _piece(access, document_id, number, 0, version)
    if first is None:
        raise NotFound("There is no such page.")
    if len(first.text) < PAGE_PIECE:
        return Response(_page(first).model_dump_json(), media_type="application/json")
    # A page may be of any length: it is passed on in pieces and never held whole.
    return StreamingResponse(_long_page(access, document_id, first), media_type="application/json")


def _page(first: PageText) -> shapes.Page:
    return shapes.Page(number=first.number, label=first.label, kind=first.kind, version=first.version, text=first.text)


async def _piece(access: Access, document_id: UUID, number: int, start: int, version: int | None) -> PageText | None:
    wanted = PageRef(document_id=document_id, version=version, number=number, start=start, end=start + PAGE_PIECE)
    question = GetPages(workspace_id=access.workspace_id, pages=[wanted])
    found = await access.gateway.broker.requests.ask("rpc.ingest.v1.page.get", question, Pages, cause=access.cause)
    return found.pages[0] if found.pages else None


async def _long_page(access: Access, document_id: UUID, first: PageText) -> AsyncIterator[bytes]:
    head = _page(first.model_copy(update={"text": ""})).model_dump_json().encode()
    yield head.removesuffix(b'"}')
    # All of one version, whatever becomes ready meanwhile.
    piece: PageText | None = first
    start = 0
    while piece is not None and piece.text:
        yield to_json(piece.text)[1:-1]
        start += len(piece.text)
        whole = len(piece.text) == PAGE_PIECE
        piece = await _piece(access, document_id, first.number, start, first.version) if whole else None
    yield b'"}'
