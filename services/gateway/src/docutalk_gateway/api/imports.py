"""Archives come in and become workspaces."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from docutalk_common.errors import NotFound
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from docutalk_gateway.adapters import import_repository, models
from docutalk_gateway.api.context import Caller, Page, SignedIn
from docutalk_gateway.api.idempotency import HEADER_PARAMETER, key_of, replay, to_remember
from docutalk_gateway.api.shapes import Line, Listing
from docutalk_gateway.domain import ImportStatus, KeyReused, MalformedUpload
from docutalk_gateway.use_cases.accept_import import MEDIA_TYPE, accept_import
from docutalk_gateway.use_cases.remember_request import Remembered, RequestKey, claim, release, remember

router = APIRouter(tags=["workspaces"])

_BODY: dict[str, Any] = {
    "required": True,
    "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
}
NewName = Annotated[
    Line | None, Query(description="What the workspace is to be called, instead of as it was", pattern="^[^\\x00]*$")
]


class ImportProgress(BaseModel):
    """In documents, sources, conversations and messages; `total` is known when the archive has been looked at."""

    done: int
    total: int | None


class Import(BaseModel):
    """An archive on its way to become a workspace. Until its status is `importing` nothing has been changed, and nothing is left
    of one that is `failed`: `reason` says why. Of one that is `done` it says what could not be taken over.

    `workspace_id` is known when it is `done`; `remapped` is how many ids are not those of the archive, because they were taken
    here: none or all of them.
    """

    id: UUID
    status: ImportStatus
    name: str | None
    size: int
    progress: ImportProgress
    workspace_id: UUID | None
    remapped: int | None
    reason: str | None
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, row: models.Import) -> Import:
        """As it is stored. The workspace is there when it is done, and not before."""
        status = ImportStatus(row.status)
        return cls(
            id=row.id,
            status=status,
            name=row.name,
            size=row.size,
            progress=ImportProgress(done=row.steps_done, total=row.steps),
            workspace_id=row.workspace_id if status is ImportStatus.DONE else None,
            remapped=row.remapped,
            reason=row.reason,
            created_at=row.created_at,
            finished_at=row.finished_at,
        )


@router.post(
    "/imports",
    status_code=202,
    response_model=Import,
    openapi_extra={"requestBody": _BODY, "parameters": [HEADER_PARAMETER]},
)
async def import_workspace(request: Request, caller: SignedIn, name: NewName = None) -> Response:
    """Takes an archive that `GET /workspaces/{workspace_id}/export` gave, here or in another installation, and makes a workspace
    of it that you own. `202` means that it is stored; follow `Location` to see what becomes of it. The whole archive is looked at
    before anything is made of it, and the workspace is there when all of it is."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise MalformedUpload(f"Send the archive itself as the body, with the Content-Type {MEDIA_TYPE}.")
    key = key_of(request)
    if key is None:
        return (await _accept(request, caller, name))[0]
    db, cause = caller.gateway.db, caller.cause
    named = RequestKey(caller.user_id, f"POST {request.url.path}", key)
    earlier = await claim(db, cause, named, None)
    if earlier is not None:
        return await _repeat(request, caller, name, earlier)
    answer: Remembered | None = None
    try:
        response, sha256 = await _accept(request, caller, name)
        answer = to_remember(response, _fingerprint(caller, name, sha256))
    finally:
        if answer is None:
            await release(db, cause, named)
    await remember(db, cause, named, answer)
    return response


async def _accept(request: Request, caller: Caller, name: str | None) -> tuple[Response, str]:
    gateway = caller.gateway
    async with gateway.upload_slots:
        accepted = await accept_import(
            gateway.db,
            gateway.storage,
            caller.cause,
            user_id=caller.user_id,
            name=name,
            chunks=request.stream(),
            max_bytes=gateway.settings.max_import_bytes,
        )
    gateway.import_posted.set()
    shown = Import.of(accepted.row).model_dump(mode="json")
    return JSONResponse(shown, 202, headers={"Location": f"/api/v1/imports/{accepted.row.id}"}), accepted.sha256


def _fingerprint(caller: Caller, name: str | None, sha256: str) -> bytes:
    return caller.gateway.fingerprint(sha256.encode(), (name or "").encode())


async def _repeat(request: Request, caller: Caller, name: str | None, earlier: Remembered) -> Response:
    """Reads the archive once more to see that it is the same one, and answers as before. Nothing is stored."""
    digest = hashlib.sha256()
    async for chunk in request.stream():
        digest.update(chunk)
    if _fingerprint(caller, name, digest.hexdigest()) != earlier.fingerprint:
        raise KeyReused
    return replay(earlier)


@router.get("/imports")
async def list_imports(caller: SignedIn, page: Page) -> Listing[Import]:
    """Your imports of the last 30 days, newest first."""
    async with caller.gateway.db.read() as session:
        found, total = await import_repository.imports_of(session, caller.user_id, offset=page.offset, limit=page.per_page)
    items = [Import.of(row) for row in found]
    return Listing(items=items, total=total, page=page.page, per_page=page.per_page)


@router.get("/imports/{import_id}")
async def get_import(caller: SignedIn, import_id: UUID) -> Import:
    """One of your imports: how far it is, and the workspace when it is done."""
    async with caller.gateway.db.read() as session:
        found = await import_repository.import_of(session, caller.user_id, import_id)
    if found is None:
        raise NotFound("There is no such import.")
    return Import.of(found)
