"""A document's way through ingest, as the tests follow it: they play gateway and embed."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.contracts.embed import ChunksIndexed, DocumentIndexed
from docutalk_common.contracts.envelope import Envelope, Message
from docutalk_common.contracts.gateway import DocumentUploaded
from docutalk_common.contracts.ingest import Document, DocumentStatus, IndexChunks
from docutalk_common.db import Database
from docutalk_common.messaging import event_log
from docutalk_common.messaging.streams import EVENTS, WORK, durable
from docutalk_common.process import wait_until
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.conformance import Wire, envelope_for
from nats.js.errors import NotFoundError

from .world import look, store, uploaded

SECONDS = 40.0


async def status_is(db: Database, upload: DocumentUploaded, *wanted: DocumentStatus) -> Document:
    """The document, once it has one of these states."""

    async def reached() -> bool:
        found = await look(db, upload)
        return found is not None and found.status in wanted

    await wait_until(reached, seconds=SECONDS, what=f"{upload.filename} becomes {' or '.join(wanted)}")
    found = await look(db, upload)
    assert found is not None
    return found


async def timeline(wire: Wire, upload: DocumentUploaded) -> list[str]:
    """The types of the document's events, in the order of the log."""
    items = await event_log.read(wire.nc, EVENTS, f"evt.*.*.document.*.*.{upload.document_id}")
    return [Envelope.model_validate_json(item.data).type for item in items]


async def work_for_embed(wire: Wire, upload: DocumentUploaded) -> list[IndexChunks]:
    """The batches that wait for embed."""
    info = await wire.js.stream_info(WORK)
    found = []
    for sequence in range(info.state.first_seq, info.state.last_seq + 1):
        try:
            message = await wire.js.get_msg(WORK, sequence)
        except NotFoundError:
            continue  # done and gone, between others that wait
        if message.subject is not None and message.subject.startswith("work.embed."):
            batch = IndexChunks.model_validate(Envelope.model_validate_json(message.data or b"").data)
            found += [batch] if batch.document_id == upload.document_id else []
    return found


async def send(wire: Wire, storage: ObjectStorage, data: bytes, filename: str) -> DocumentUploaded:
    """An upload, as the gateway leaves it."""
    upload = uploaded(data=data, filename=filename)
    await store(storage, upload, data)
    await wire.send(envelope_for(upload))
    return upload


def indexed(upload: DocumentUploaded, done: int, of: int, *, batch: int | None = None) -> ChunksIndexed:
    """What embed says after a batch."""
    return ChunksIndexed(
        workspace_id=upload.workspace_id,
        document_id=upload.document_id,
        version=upload.version,
        batch=batch,
        chunks_done=done,
        chunk_count=of,
    )


def complete(upload: DocumentUploaded, count: int) -> DocumentIndexed:
    """What embed says after the last batch."""
    return DocumentIndexed(
        workspace_id=upload.workspace_id, document_id=upload.document_id, version=upload.version, chunk_count=count
    )


async def settled(wire: Wire, name: str) -> None:
    """Returns when a durable has nothing left to do."""

    async def nothing_left() -> bool:
        return await wire.settled(durable(name))

    await wait_until(nothing_left, seconds=SECONDS, what=f"{name} has nothing left to do")


def letter(upload: DocumentUploaded, name: str, *, about: Message | None = None) -> DeadLetter:
    """What is kept of a message about the upload that the durable has given up on."""
    body = b"" if about is None else envelope_for(about).model_dump_json().encode()
    return DeadLetter(
        service=durable(name).service,
        durable=name,
        stream=durable(name).stream,
        subject="any",
        message_id=None,
        workspace_id=upload.workspace_id,
        document_id=upload.document_id,
        version=1,
        code="internal",
        reason="given up after 6 attempts: no room",
        attempts=6,
        failed_at=datetime.now(UTC),
        payload=base64.b64encode(body).decode(),
    )


async def bury(wire: Wire, upload: DocumentUploaded, name: str, *, about: Message | None = None) -> None:
    """Gives up on a message about the upload; returns when ingest has heard."""
    subject = f"dlq.{durable(name).service}.{name}.{upload.workspace_id}.{upload.document_id}"
    await wire.send_raw(subject, letter(upload, name, about=about).model_dump_json().encode())
    await settled(wire, "ingest-dead-letter")
