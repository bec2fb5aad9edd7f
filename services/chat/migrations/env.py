"""Alembic's environment for the schema `chat`."""

from docutalk_common.migrations import run_migrations

run_migrations("chat")
