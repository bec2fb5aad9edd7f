"""The tables of sources; `migrations` makes them."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, DateTime, Integer, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from docutalk_ingest.adapters.tables import metadata

sources = Table(
    "sources",
    metadata,
    Column("source_id", Uuid, primary_key=True),
    Column("workspace_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("config", JSONB, nullable=False),
    Column("schedule", JSONB(none_as_null=True)),
    Column("paused", Boolean, nullable=False),
    Column("next_run_at", DateTime(timezone=True)),
    Column("armed_at", DateTime(timezone=True)),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("listed", Integer, nullable=False),
    Column("created_by", Uuid, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("deleted_at", DateTime(timezone=True)),
    Column("deleted_by", Uuid),
)

source_runs = Table(
    "source_runs",
    metadata,
    Column("run_id", Uuid, primary_key=True),
    Column("source_id", Uuid, nullable=False),
    Column("workspace_id", Uuid, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("found", Integer, nullable=False),
    Column("new", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("reason", Text),
    Column("queued_at", DateTime(timezone=True), nullable=False),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
)

source_items = Table(
    "source_items",
    metadata,
    Column("source_id", Uuid, primary_key=True),
    Column("item_key", Text, primary_key=True),
    Column("document_id", Uuid),
    Column("origin", Text, nullable=False),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("content_hash", Text),
    Column("last_seen_run", Uuid, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
)
