"""Alembic's environment for the schema `gateway`."""

from docutalk_common.migrations import run_migrations

run_migrations("gateway")
