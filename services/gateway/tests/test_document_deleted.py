"""The one consumer of the gateway, by the suite that every consumer inherits."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.ingest import DocumentDeleted
from docutalk_common.db import Cause, Database
from docutalk_common.testing.conformance import ConsumerConformance
from docutalk_gateway.adapters import repository
from docutalk_gateway.adapters.models import Upload, Workspace
from docutalk_gateway.app import open_gateway


class TestDocumentDeleted(ConsumerConformance):
    """The consumer that frees the bytes of a deleted document."""

    durable = "gateway-document-deleted"

    @pytest.fixture(autouse=True)
    def _settings(self, settings_for: Any) -> None:
        self._settings_for = settings_for

    def running(self, stack: Any) -> Any:
        """The gateway without its HTTP server."""

        @contextlib.asynccontextmanager
        async def run() -> AsyncIterator[Database]:
            async with open_gateway(self._settings_for(admin_email=None)) as gateway:
                yield gateway.db

        return run()

    async def arrange(self, db: Database) -> DocumentDeleted:
        """An upload, which the message says is deleted."""
        workspace_id, document_id = uuid7(), uuid7()
        async with db.transaction(Cause.new()) as tx:
            tx.session.add(Workspace(id=workspace_id, name="w"))
            await tx.session.flush()
            await repository.add_upload(
                tx.session,
                Upload(
                    document_id=document_id,
                    workspace_id=workspace_id,
                    uploaded_by=uuid7(),
                    filename="a",
                    content_type="text/plain",
                    size=1,
                    sha256="0" * 64,
                    object_key="k",
                ),
            )
        return DocumentDeleted(workspace_id=workspace_id, document_id=document_id, object_keys=["k"])

    async def effect(self, db: Database, message: Any) -> bool:
        """Whether the upload is still known."""
        async with db.read() as session:
            return await repository.upload_of(session, message.workspace_id, message.document_id) is not None
