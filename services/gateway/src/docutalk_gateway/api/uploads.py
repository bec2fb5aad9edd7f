"""Files come in, streamed from the socket into the object store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from docutalk_common.contracts.ingest import DocumentStatus
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import Access, Member
from docutalk_gateway.api.idempotency import HEADER_PARAMETER, key_of, replay, to_remember
from docutalk_gateway.api.multipart import read_parts
from docutalk_gateway.domain import KeyReused, MalformedUpload, clean_filename
from docutalk_gateway.use_cases.accept_upload import Accepted, UploadRequest, fingerprint_parts
from docutalk_gateway.use_cases.keep_quota import StorageQuota
from docutalk_gateway.use_cases.read_documents import expect_uploaded, get_document, status_of
from docutalk_gateway.use_cases.remember_request import Remembered, RequestKey, claim, release, remember

router = APIRouter(tags=["documents"])


def _form(*, several: bool) -> dict[str, Any]:
    """What OpenAPI cannot derive: the body is read here and not by the framework."""
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    if several:
        file = {"type": "array", "items": file, "description": "One file or more, each in a field of this name."}
    properties = {"file": file, "auto_classify": {"type": "boolean", "default": True}}
    schema = {"type": "object", "required": ["file"], "properties": properties}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


@router.post(
    "/workspaces/{workspace_id}/documents",
    status_code=202,
    response_model=shapes.Uploaded,
    openapi_extra={"requestBody": _form(several=True), "parameters": [HEADER_PARAMETER]},
)
async def upload_documents(request: Request, access: Member) -> Response:
    """Accepts one file or more. `202` means that they are stored for good and will be processed, also when the service that
    does it is down at the moment. All files of a request are accepted, or none."""

    async def accept(upload: UploadRequest) -> tuple[Response, bool]:
        auto_classify = await _receive(request, access, upload)
        accepted = await upload.commit(access.cause, uploaded_by=access.user_id, auto_classify=auto_classify)
        return await _answer(access, accepted), auto_classify

    return await _once(request, access, accept)


@router.post(
    "/workspaces/{workspace_id}/documents/{document_id}/versions",
    status_code=202,
    response_model=shapes.NewVersion,
    openapi_extra={"requestBody": _form(several=False), "parameters": [HEADER_PARAMETER]},
)
async def upload_version(request: Request, access: Member, document_id: UUID) -> Response:
    """Accepts a new file for a document, as its next version. Until that is ready the version before it is found and read; if
    it fails, that stays so. The bytes of the newest version once more change nothing (`unchanged`)."""
    gateway = access.gateway
    await expect_uploaded(gateway.db, gateway.broker.requests, access.cause, access.workspace_id, document_id)

    async def accept(upload: UploadRequest) -> tuple[Response, bool]:
        auto_classify = await _receive(request, access, upload, document_id=document_id)
        accepted = await upload.commit_version(access.cause, uploaded_by=access.user_id, auto_classify=auto_classify)
        document = await get_document(gateway.db, gateway.broker.requests, access.cause, access.workspace_id, document_id)
        shown = shapes.NewVersion.of(document).model_copy(update={"unchanged": accepted.unchanged})
        headers = {"Location": f"/api/v1/workspaces/{access.workspace_id}/documents/{document_id}"}
        return JSONResponse(shown.model_dump(mode="json"), 202, headers=headers), auto_classify

    return await _once(request, access, accept)


async def _once(
    request: Request, access: Access, accept: Callable[[UploadRequest], Awaitable[tuple[Response, bool]]]
) -> Response:
    """Accepts an upload, with an `Idempotency-Key` once. `accept` also tells whether to classify."""
    key = key_of(request)
    if key is None:
        return (await _accepted(access, accept))[0]
    db, cause = access.gateway.db, access.cause
    named = RequestKey(access.user_id, f"POST {request.url.path}", key)
    earlier = await claim(db, cause, named, None)
    if earlier is not None:
        return await _repeat(request, access, earlier)
    answer: Remembered | None = None
    try:
        response, fingerprint = await _accepted(access, accept)
        answer = to_remember(response, fingerprint)
    finally:
        if answer is None:
            await release(db, cause, named)
    await remember(db, cause, named, answer)
    return response


async def _accepted(
    access: Access, accept: Callable[[UploadRequest], Awaitable[tuple[Response, bool]]]
) -> tuple[Response, bytes]:
    gateway = access.gateway
    upload = UploadRequest(
        gateway.storage,
        gateway.db,
        workspace_id=access.workspace_id,
        max_bytes=gateway.settings.max_upload_bytes,
        quota=StorageQuota(gateway.db, gateway.broker.requests, gateway.settings.limits, access.cause),
    )
    try:
        response, auto_classify = await accept(upload)
    finally:
        await asyncio.shield(asyncio.ensure_future(upload.discard()))
    return response, gateway.fingerprint(*fingerprint_parts([(f.filename, f.sha256) for f in upload.files], auto_classify))


async def _receive(request: Request, access: Access, upload: UploadRequest, *, document_id: UUID | None = None) -> bool:
    """Stores the files of a form, one only for a document that is named; whether to classify them."""
    gateway = access.gateway
    most = gateway.settings.max_files_per_upload if document_id is None else 1
    auto_classify = True
    async for part in read_parts(request.stream(), request.headers.get("content-type")):
        if part.name == "auto_classify":
            auto_classify = _boolean(await part.text())
        elif part.filename is not None and part.name in {"file", "files"}:
            if len(upload.files) == most:
                raise MalformedUpload("A version is one file." if document_id else f"More than {most} files in one request.")
            async with gateway.upload_slots:
                await upload.add(clean_filename(part.filename), part.chunks(), document_id=document_id)
    if not upload.files:
        raise MalformedUpload("The form holds no file. Send files in fields named 'file'.")
    return auto_classify


async def _answer(access: Access, accepted: list[Accepted]) -> Response:
    documents = [
        shapes.UploadedDocument(
            id=item.id,
            filename=item.filename,
            status=await _status(access, item),
            duplicate_of=item.duplicate_of,
        )
        for item in accepted
    ]
    headers = {}
    if len(documents) == 1:
        headers["Location"] = f"/api/v1/workspaces/{access.workspace_id}/documents/{documents[0].id}"
    content = shapes.Uploaded(documents=documents).model_dump(mode="json", exclude_none=True)
    return JSONResponse(content, 202, headers=headers)


async def _status(access: Access, item: Accepted) -> DocumentStatus:
    if item.duplicate_of is None:
        return DocumentStatus.QUEUED
    gateway = access.gateway
    return await status_of(gateway.db, gateway.broker.requests, access.cause, access.workspace_id, item.id)


async def _repeat(request: Request, access: Access, earlier: Remembered) -> Response:
    """Reads the repeated upload to see that it is the same one, and answers as before. Nothing is stored."""
    files: list[tuple[str, str]] = []
    auto_classify = True
    async for part in read_parts(request.stream(), request.headers.get("content-type")):
        if part.name == "auto_classify":
            auto_classify = _boolean(await part.text())
        elif part.filename is not None and part.name in {"file", "files"}:
            digest = hashlib.sha256()
            async for chunk in part.chunks():
                digest.update(chunk)
            files.append((clean_filename(part.filename), digest.hexdigest()))
    if access.gateway.fingerprint(*fingerprint_parts(files, auto_classify)) != earlier.fingerprint:
        raise KeyReused
    return replay(earlier)


def _boolean(text: str) -> bool:
    value = text.strip().lower()
    if value in {"true", "1", "yes", "on"}:
        return True
    if value in {"false", "0", "no", "off"}:
        return False
    raise MalformedUpload("auto_classify is true or false.")
