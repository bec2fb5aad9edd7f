"""The tables of the schema `ingest`; `migrations` makes them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Float, Integer, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

documents = Table(
    "documents",
    metadata,
    Column("document_id", Uuid, primary_key=True),
    Column("workspace_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    Column("filename", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("object_key", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("code", Text),
    Column("reason", Text),
    Column("page_count", Integer),
    Column("pages_done", Integer, nullable=False),
    Column("chunk_count", Integer),
    Column("chunks_done", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("served_version", Integer),
    Column("metadata", JSONB, nullable=False),
    Column("extractor", Text),
    Column("text_hash", Text),
    Column("source_id", Uuid),
    Column("origin", Text),
    Column("password", Text),
    Column("unlocked_key", Text),
    Column("queued_at", DateTime(timezone=True), nullable=False),
    Column("released_at", DateTime(timezone=True)),
    Column("batch_count", Integer),
    Column("cause", JSONB, nullable=False),
    Column("erased_pages", Integer),
    Column("erased_at", DateTime(timezone=True)),
    Column("created_by", Uuid, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("progressed_at", DateTime(timezone=True)),
    Column("deleted_at", DateTime(timezone=True)),
)

pages = Table(
    "pages",
    metadata,
    Column("document_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("lines", JSONB),
)

versions = Table(
    "versions",
    metadata,
    Column("document_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("filename", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("object_key", Text, nullable=False),
    Column("unlocked_key", Text),
    Column("page_count", Integer),
    Column("extractor", Text),
    Column("text_hash", Text),
    Column("created_by", Uuid, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

units = Table(
    "units",
    metadata,
    Column("document_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("page", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("start_offset", Integer, nullable=False),
    Column("end_offset", Integer, nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("document_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("batch", Integer, primary_key=True),
    Column("workspace_id", Uuid, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("chunks", JSONB, nullable=False),
    Column("queued_at", DateTime(timezone=True), nullable=False),
    Column("released_at", DateTime(timezone=True)),
    Column("held", Boolean, nullable=False),
)

speeds = Table(
    "speeds",
    metadata,
    Column("here", Boolean, primary_key=True),
    Column("document_seconds", Float),
    Column("page_seconds", Float),
    Column("document_chunks", Float),
    Column("chunk_seconds", Float),
    Column("chunk_at", DateTime(timezone=True)),
)

renderings = Table(
    "renderings",
    metadata,
    Column("object_key", Text, primary_key=True),
    Column("document_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("content_type", Text, nullable=False),
)

erased_workspaces = Table(
    "erased_workspaces",
    metadata,
    Column("workspace_id", Uuid, primary_key=True),
    Column("removed", JSONB, nullable=False),
    Column("erased_at", DateTime(timezone=True)),
)

erased_users = Table(
    "erased_users",
    metadata,
    Column("user_key", Uuid, primary_key=True),
    Column("erased_at", DateTime(timezone=True)),
)
