"""One service's PostgreSQL: reads, and transactions that emit messages through the outbox.

Only a `Transaction` can emit, so a message exists exactly when the state that it tells of was committed.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import asyncpg
from sqlalchemy import BigInteger, Column, DateTime, Identity, LargeBinary, MetaData, Table, Text, Uuid, event, func, insert, text
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from docutalk_common.contracts.envelope import Envelope, Message, uuid7
from docutalk_common.errors import DependencyUnavailable, PermanentError, RequestFailed
from docutalk_common.telemetry import current_traceparent

messaging_metadata = MetaData()

KEEPALIVE = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
"""Settings of every connection: the server finds out in half a minute, not in two hours, that a host is gone, and frees the
locks by which one process of all relays messages or hands out work, and those of transactions that were open."""

# The server takes 2 MiB, and a dead letter carries the message in base64 (4/3 of it) with its reason and headers.
MAX_MESSAGE_BYTES = 1 << 20

outbox = Table(
    "outbox",
    messaging_metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("message_id", Uuid, nullable=False),
    Column("subject", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("traceparent", Text),
    Column("not_before", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

inbox = Table(
    "inbox",
    messaging_metadata,
    Column("consumer", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("processed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)


def outbox_channel(schema: str) -> str:
    """The notification channel that wakes the relay of a service."""
    return f"outbox_{schema}"


@dataclass(frozen=True)
class Cause:
    """Why something happens: copied into the envelope of all that it leads to."""

    correlation_id: UUID
    causation_id: UUID | None = None
    actor: str | None = None

    @classmethod
    def new(cls, actor: str | None = None) -> Cause:
        """The start of a new chain, for example an HTTP request."""
        return cls(correlation_id=uuid7(), actor=actor)


@dataclass
class Transaction:
    """A write transaction. Keep it short: fetch and compute first, and call nothing remote inside."""

    session: AsyncSession
    cause: Cause
    schema: str
    _rows: list[dict[str, Any]] = field(default_factory=list)

    def emit(self, message: Message, *, not_before: datetime | None = None) -> UUID:
        """Puts a message into the outbox; it is published after the commit, at the earliest at `not_before`. Returns its id.

        Raises `PermanentError("message_too_large")` above `MAX_MESSAGE_BYTES`: a claim check belongs there.
        """
        envelope = Envelope(
            type=message.type,
            source=self.schema,
            subject=message.subject(),
            workspace_id=message.workspace_id,
            correlation_id=self.cause.correlation_id,
            causation_id=self.cause.causation_id,
            actor=self.cause.actor,
            data=message.model_dump(mode="json"),
        )
        payload = envelope.model_dump_json().encode()
        if len(payload) > MAX_MESSAGE_BYTES:
            raise PermanentError(
                f"{message.type} has {len(payload)} bytes, more than the {MAX_MESSAGE_BYTES} that a message may have",
                code="message_too_large",
            )
        self._rows.append(
            {
                "message_id": envelope.id,
                "subject": envelope.subject,
                "payload": payload,
                "traceparent": current_traceparent(),
                "not_before": not_before,
            }
        )
        return envelope.id

    async def connection(self) -> asyncpg.Connection:
        """The driver's connection inside this same transaction, for binary COPY."""
        raw = await (await self.session.connection()).get_raw_connection()
        connection: Any = raw.driver_connection
        return cast("asyncpg.Connection", connection)

    async def flush_outbox(self) -> None:
        """Writes the emitted rows. Called once by `Database.transaction` before the commit."""
        if self._rows:
            await self.session.flush()
            await self.session.execute(insert(outbox), self._rows)
            await self.session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": outbox_channel(self.schema)})


# What the driver raises while the server is away, starting, or stopping: waiting helps, trying another message does not.
_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    ConnectionError,
    OSError,
    TimeoutError,
)


_CANCELED = "57014"
"""SQLSTATE of a statement that exceeded its time."""


def _is_away(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, asyncpg.InterfaceError):
            # Also raised for wrong use of the driver, which waiting does not mend.
            return "connection" in str(error) and "closed" in str(error)
        if isinstance(error, _AWAY):
            return True
        error = error.__cause__
    return False


@contextlib.contextmanager
def postgres_errors() -> Iterator[None]:
    """Turns the many faces of an absent server into `DependencyUnavailable("postgres")`."""
    try:
        yield
    except DependencyUnavailable:
        raise
    except PoolTimeout as error:
        raise DependencyUnavailable("postgres", "every connection is in use") from error
    except DBAPIError as error:
        if error.connection_invalidated or _is_away(error.orig):
            raise DependencyUnavailable("postgres", str(error.orig)) from error
        raise
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError) as error:
        if _is_away(error):
            raise DependencyUnavailable("postgres", str(error)) from error
        raise


@contextlib.contextmanager
def _patience(seconds: float | None) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if seconds is None or getattr(error.orig, "sqlstate", None) != _CANCELED:
            raise
        raise RequestFailed("timeout", f"the database had not answered after {seconds:g} s; ask for less") from error


async def _connected(session: AsyncSession) -> None:
    """Takes a connection from the pool now, so that what the network says is known to come from PostgreSQL: a handler's own
    `OSError` or `TimeoutError` inside a transaction is not PostgreSQL's."""
    try:
        await session.connection()
    except OSError as error:  # refused, timed out, or a name that does not resolve
        raise DependencyUnavailable("postgres", f"{type(error).__name__}: {error}") from error


def _refuse_closed(connection: Any, _record: Any, _proxy: Any) -> None:
    """Another connection instead of one that the server ended while it lay in the pool: after a restart of PostgreSQL the
    first caller of each service was told that it is away. Asking the server each time would cost a round trip."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


class Database:
    """Connections of one service, as its app role, with its own schema first in the search path."""

    def __init__(
        self,
        dsn: str,
        *,
        schema: str,
        pool_size: int = 10,
        on_connect: Callable[[asyncpg.Connection], Any] | None = None,
    ) -> None:
        """`on_connect` is awaited with each new driver connection, for example to register a type's codec."""
        self.schema = schema
        self.dsn = dsn
        self._engine = create_async_engine(
            dsn.replace("postgresql://", "postgresql+asyncpg://", 1),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            # Errors go into logs, dead letters and the reasons that people read: without passwords' hashes and texts.
            hide_parameters=True,
            connect_args={
                "timeout": 5,
                "command_timeout": 60,
                "server_settings": {
                    "search_path": f"{schema}, public",
                    "application_name": f"docutalk_{schema}",
                    **KEEPALIVE,
                },
            },
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_closed)
        if on_connect is not None:
            event.listen(
                self._engine.sync_engine,
                "connect",
                lambda connection, _record: connection.run_async(on_connect),
            )
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)

    @contextlib.asynccontextmanager
    async def read(self, *, patience: float | None = None) -> AsyncIterator[AsyncSession]:
        """A read-only transaction that sees one moment, however many statements it takes. Raises `DependencyUnavailable`
        while PostgreSQL is away, and `RequestFailed` (`timeout`) when one statement takes longer than `patience` seconds:
        the server would go on long after the asker has given up."""
        with postgres_errors(), _patience(patience):
            async with self._sessions() as session, session.begin():
                await _connected(session)
                await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
                if patience is not None:
                    milliseconds = str(int(patience * 1000))
                    await session.execute(text("SELECT set_config('statement_timeout', :limit, true)"), {"limit": milliseconds})
                yield session

    @contextlib.asynccontextmanager
    async def transaction(self, cause: Cause) -> AsyncIterator[Transaction]:
        """A write transaction, committed at the end of the block, together with what it emitted."""
        with postgres_errors():
            async with self._sessions() as session, session.begin():
                await _connected(session)
                transaction = Transaction(session, cause, self.schema)
                yield transaction
                await transaction.flush_outbox()

    async def ping(self) -> None:
        """Raises `DependencyUnavailable` unless PostgreSQL answers."""
        with postgres_errors():
            async with self._sessions() as session:
                await _connected(session)
                await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Closes every connection."""
        await self._engine.dispose()
