"""Documents, uploads and the running service, for tests."""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import Document, DocumentStatus
from docutalk_common.db import Cause, Database
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.conformance import ConsumerConformance
from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.adapters.isolated_parser import IsolatedParser
from docutalk_ingest.adapters.tables import documents
from docutalk_ingest.adapters.version_repository import VersionRepository
from docutalk_ingest.app import ingest
from docutalk_ingest.settings import IngestSettings
from docutalk_local.testing import TestStack
from sqlalchemy import text, update

from .gateway_stand_in import GatewayStandIn

TEXT = "The harbour was quiet.\n\nNobody had seen the ship since Tuesday. It carried 40 tons of salt.\n"


def settings(stack: TestStack) -> IngestSettings:
    """The service's own environment on the test servers. The windows are wide: rows that other tests left in flight are in
    nobody's way."""
    wide = {"DOCUTALK_EXTRACT_SLOTS": "10000", "DOCUTALK_INDEX_WINDOW": "10000"}
    return IngestSettings.from_environment({**stack.service_environment("ingest"), **wide})


@contextlib.asynccontextmanager
async def running(stack: TestStack, parser: IsolatedParser) -> AsyncIterator[Database]:
    """The service in this process, with a parser that others go on with."""
    async with ingest(settings(stack), parser=parser) as db:
        yield db


@contextlib.asynccontextmanager
async def resting(stack: TestStack) -> AsyncIterator[Database]:
    """The service's database with nobody at work and nothing in it, before and after: the next test that starts the service
    would be given what waits."""
    db = Database(settings(stack).postgres_dsn.get_secret_value(), schema="ingest")

    async def clear() -> None:
        async with db.transaction(Cause.new()) as transaction:
            for table in ("documents", "outbox"):
                await transaction.session.execute(text(f"DELETE FROM {table}"))

    await clear()
    try:
        yield db
    finally:
        await clear()
        await db.close()


class IngestConformance(ConsumerConformance):
    """The service for the suite that all consumers inherit."""

    @pytest.fixture(autouse=True)
    def _servers(self, storage: ObjectStorage, parser: IsolatedParser, gateway: GatewayStandIn) -> None:
        self.storage, self.parser = storage, parser

    def running(self, stack: TestStack) -> AbstractAsyncContextManager[Database]:
        return running(stack, self.parser)


def uploaded(
    *, data: bytes = TEXT.encode(), filename: str = "log.txt", workspace_id: UUID | None = None, version: int = 1
) -> DocumentUploaded:
    """What the gateway says of a file; its bytes are stored by `store`."""
    document_id, workspace_id = uuid4(), workspace_id or uuid4()
    return DocumentUploaded(
        workspace_id=workspace_id,
        document_id=document_id,
        version=version,
        object_key=f"{workspace_id}/{document_id}/{uuid4()}{Path(filename).suffix}",
        filename=filename,
        content_type="application/octet-stream",
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        uploaded_by=uuid4(),
    )


async def store(storage: ObjectStorage, upload: DocumentUploaded, data: bytes = TEXT.encode()) -> None:
    """Puts the bytes where the upload says they are."""

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    await storage.upload_stream(upload.object_key, chunks(), content_type=upload.content_type)


async def registered(db: Database, upload: DocumentUploaded, **columns: object) -> Document:
    """A row for the upload, in the state that `columns` say, without any message: unless they say otherwise, as if it had been
    handed out before."""
    columns = {"released_at": datetime.now(UTC), **columns}
    async with db.transaction(Cause.new()) as transaction:
        await VersionRepository(transaction.session).register(upload, uploaded_at=datetime.now(UTC))
        await transaction.session.execute(
            update(documents).where(documents.c.document_id == upload.document_id).values(**columns)
        )
    found = await look(db, upload)
    assert found is not None
    return found


async def embedding(db: Database, *, chunk_count: int = 10, version: int = 1) -> DocumentUploaded:
    """A document whose chunks are on their way to embed."""
    upload = uploaded(version=version)
    await registered(db, upload, status=DocumentStatus.EMBEDDING, page_count=3, pages_done=3, chunk_count=chunk_count)
    return upload


async def look(db: Database, upload: DocumentUploaded) -> Document | None:
    """The document as it is now."""
    async with db.read() as session:
        return await DocumentRepository(session).get(upload.workspace_id, upload.document_id)


def pdf(*pages: str, labels: str = "") -> bytes:
    """A PDF with a line of Helvetica for each line of each page. `labels` is the body of a /PageLabels number tree."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(count))
    catalog = f"<< /Type /Catalog /Pages 2 0 R {f'/PageLabels << /Nums [{labels}] >>' if labels else ''} >>"
    objects = [
        catalog,
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, page in enumerate(pages):
        lines = "".join(f"({_escaped(line)}) Tj 0 -14 Td " for line in page.split("\n"))
        stream = f"BT /F1 11 Tf 50 760 Td {lines}ET" if page else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * i} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    return assemble(objects)


def _escaped(line: str) -> str:
    return line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def assemble(objects: list[str], *, trailer: str = "") -> bytes:
    """The file around the objects, of which the first is the catalog."""
    out = io.BytesIO(b"")
    out.write(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(out.tell())
        out.write(f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1"))
    start = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.write(b"".join(f"{offset:010} 00000 n \n".encode() for offset in offsets))
    out.write(f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode())
    return out.getvalue()


WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
COMPATIBILITY = "http://schemas.openxmlformats.org/markup-compatibility/2006"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


def docx(body: str, *, parts: dict[str, str] | None = None, relations: str = "") -> bytes:
    """A Word document around the XML of a body. `parts` are further entries, `relations` the body's own."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types xmlns='http://schemas.openxmlformats.org/package/2006/content-types'/>")
        archive.writestr(
            "_rels/.rels",
            f"<Relationships xmlns='{PACKAGE}'><Relationship Id='r1' Type='{RELATIONS}/officeDocument'"
            " Target='word/document.xml'/></Relationships>",
        )
        archive.writestr(
            "word/document.xml",
            f"<w:document xmlns:w='{WORD}' xmlns:mc='{COMPATIBILITY}'><w:body>{body}</w:body></w:document>",
        )
        archive.writestr("word/_rels/document.xml.rels", f"<Relationships xmlns='{PACKAGE}'>{relations}</Relationships>")
        for name, text in (parts or {}).items():
            archive.writestr(name, text)
    return out.getvalue()


def paragraph(text: str) -> str:
    """A Word paragraph of one run."""
    return f"<w:p><w:r><w:t xml:space='preserve'>{text}</w:t></w:r></w:p>"
