"""Alembic's environment for the schema `embed`."""

from docutalk_common.migrations import run_migrations

run_migrations("embed")
