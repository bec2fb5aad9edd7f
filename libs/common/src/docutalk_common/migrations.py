"""What the Alembic environments of all services share: the connection, the version table's place, the messaging tables."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool


def run_migrations(schema: str) -> None:
    """The whole body of a service's `env.py`. The owner role's address comes from Alembic's `sqlalchemy.url`."""
    url = context.config.get_main_option("sqlalchemy.url")
    assert url, "provisioning sets sqlalchemy.url to the owner role's address"

    def migrate(connection: sa.Connection) -> None:
        context.configure(connection=connection, version_table="alembic_version", version_table_schema=schema)
        with context.begin_transaction():
            context.run_migrations()

    async def connect() -> None:
        engine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1),
            poolclass=NullPool,
            connect_args={"server_settings": {"search_path": f"{schema}, public"}},
        )
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
        await engine.dispose()

    asyncio.run(connect())


def create_messaging_tables() -> None:
    """The outbox and the inbox, in the schema at hand. The index serves the purge of the inbox."""
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("message_id", sa.Uuid, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("traceparent", sa.Text),
        sa.Column("not_before", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.Text, primary_key=True),
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("processed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.create_index("inbox_processed_at", "inbox", ["processed_at"])


def drop_messaging_tables() -> None:
    """The way back."""
    op.drop_table("inbox")
    op.drop_table("outbox")
