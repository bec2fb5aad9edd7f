"""Alembic's environment for the schema `ingest`."""

from docutalk_common.migrations import run_migrations

run_migrations("ingest")
