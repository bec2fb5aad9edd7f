"""A workspace as an archive to take along."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from docutalk_common.errors import DocuTalkError
from docutalk_common.telemetry import get_logger
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from starlette.types import Send

from docutalk_gateway.api.context import Member
from docutalk_gateway.use_cases.export_workspace import ExportRequest, begin_export

log = get_logger(__name__)

router = APIRouter(tags=["workspaces"])

MEDIA_TYPE = "application/zip"
_HEADERS = {
    "X-Export-Files": {"schema": {"type": "integer"}, "description": "How many files come"},
    "X-Export-Bytes": {"schema": {"type": "integer"}, "description": "How many bytes they have together"},
}


class _Archive(StreamingResponse):
    """A response whose connection is cut when the rest cannot be read: that is the only way left to say that it is not whole."""

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except DocuTalkError as error:
            # The server closes the connection of a response that does not end.
            log.error("an export broke off", reason=str(error))


@router.get(
    "/workspaces/{workspace_id}/export",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A ZIP archive, made while it is sent. It is whole when it ends with its `manifest.json`.",
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            "headers": _HEADERS,
        }
    },
)
async def export_workspace(
    access: Member,
    include_files: Annotated[
        bool, Query(description="Whether with the files; an archive without them cannot be imported")
    ] = True,
    include_sessions: Annotated[bool, Query(description="Whether with your own conversations")] = True,
) -> Response:
    """The workspace as an archive that `POST /imports` takes: its documents with all versions of their files that are kept, its
    sources, its settings, and your own conversations. Not its members and their conversations, share links, and the audit log.
    Owners only."""
    gateway = access.gateway
    wanted = ExportRequest(access.workspace_id, access.user_id, include_files, include_sessions)
    made = await begin_export(
        gateway.db,
        gateway.storage,
        gateway.broker.requests,
        access.cause,
        actor=access.actor,
        request=wanted,
        slots=gateway.export_slots,
    )
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(f'{made.workspace.name}.zip', safe='')}",
        "X-Export-Files": str(made.files),
        "X-Export-Bytes": str(made.file_bytes),
    }
    return _Archive(made.stream(), headers=headers, media_type=MEDIA_TYPE)
