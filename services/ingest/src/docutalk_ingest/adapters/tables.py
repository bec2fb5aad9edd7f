"""The tables of the schema `ingest`; `migrations` makes them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, Integer, MetaData, Table, Text, Uuid

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
    Column("label", Text, nullable=False),
    Column("text", Text, nullable=False),
)
