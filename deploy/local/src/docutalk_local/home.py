"""The state folder: who may use it, its secrets, the ports it remembers, the children it has running."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
from docutalk_common.messaging.streams import SERVICES
from docutalk_common.provisioning import ROLES

from docutalk_local.errors import HomeInUse, StartError
from docutalk_local.object_storage import KeyPair
from docutalk_local.ports import claim, free_port, is_free

OPERATOR = "operator"
DEFAULT = ".docutalk"


def _password() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Admin:
    """`made` is True once the gateway has run with this password: from then on the account keeps it."""

    password: str
    made: bool = False


@dataclass(frozen=True)
class Secrets:
    """Every password of one installation, made at random the first time."""

    postgres: Mapping[str, str] = field(default_factory=lambda: {name: _password() for name in ("postgres", *ROLES)})
    nats: Mapping[str, str] = field(default_factory=lambda: {name: _password() for name in (OPERATOR, *SERVICES)})
    storage: Mapping[str, str] = field(default_factory=lambda: {name: _password() for name in (OPERATOR, *SERVICES)})
    jwt: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    admins: Mapping[str, Admin] = field(default_factory=dict)
    """Administrators that `docutalk up` had made, by e-mail address in lower case."""

    def storage_keys(self, user: str) -> KeyPair:
        """The key pair of a service or of the operator."""
        return KeyPair(user, self.storage[user])

    @classmethod
    def completed(cls, stored: Mapping[str, Any]) -> Secrets:
        """What is stored, with new passwords for users that an older version did not have."""
        fresh = cls()
        return cls(
            postgres={**fresh.postgres, **stored.get("postgres", {})},
            nats={**fresh.nats, **stored.get("nats", {})},
            storage={**fresh.storage, **stored.get("storage", {})},
            jwt=stored.get("jwt", fresh.jwt),
            admins={email: Admin(**admin) for email, admin in stored.get("admins", {}).items()},
        )


@dataclass(frozen=True)
class Home:
    """The folder that holds everything of one installation. Only its owner can look inside."""

    folder: Path

    @classmethod
    def at(cls, folder: str | os.PathLike[str] | None = None) -> Home:
        """The folder named, else `DOCUTALK_HOME`, else `.docutalk` here. Nothing is created."""
        return cls(Path(folder or os.environ.get("DOCUTALK_HOME") or DEFAULT).expanduser().resolve())

    def log(self, name: str) -> Path:
        """Where a child writes."""
        return self.folder / "logs" / f"{name}.log"

    def holder(self) -> int | None:
        """The process that runs on this folder now, None when nobody does."""
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            return int(text) if text.isdigit() else 0
        else:
            return None
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def locked(self) -> Iterator[Home]:
        """Make the folder and hold it for this process alone; `HomeInUse` when another one has it.

        The kernel drops the lock with the process, so one that was killed leaves nothing in the way; children that it
        left running are stopped first.
        """
        self._make()
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise HomeInUse(
                    f"DocuTalk already runs on {self.folder} (process {holder}). Stop it first, or choose another folder"
                    " with --home or DOCUTALK_HOME."
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            self._stop_orphans()
            yield self
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def secrets(self) -> Secrets:
        """The passwords of this installation, made the first time."""
        path = self.folder / "secrets.json"
        stored = json.loads(path.read_text()) if path.exists() else {}
        complete = Secrets.completed(stored)
        return complete if asdict(complete) == stored else self.keep(complete)

    def keep(self, changed: Secrets) -> Secrets:
        """Write the passwords down and return them."""
        write_private(self.folder / "secrets.json", json.dumps(asdict(changed), indent=2))
        return changed

    def admin_password(self, email: str, wanted: str | None) -> str:
        """The administrator's password: that of the account if it was made, else `wanted`, else one made at random.

        Written down before the gateway can make the account, so that it is never lost.
        """
        known = self.secrets().admins.get(email.lower())
        if known is not None and (known.made or wanted in (None, known.password)):
            return known.password
        password = wanted or secrets.token_urlsafe(12)
        self._keep_admin(email, Admin(password))
        return password

    def admin_was_made(self, email: str) -> None:
        """The gateway has started, and so the account exists."""
        known = self.secrets().admins[email.lower()]
        if not known.made:
            self._keep_admin(email, replace(known, made=True))

    def _keep_admin(self, email: str, admin: Admin) -> None:
        current = self.secrets()
        self.keep(replace(current, admins={**current.admins, email.lower(): admin}))

    def port(self, name: str) -> int:
        """The port of a child: the same as last time unless somebody took it meanwhile."""
        path = self.folder / "ports.json"
        ports: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        if name not in ports or not (claim(ports[name]) and is_free(ports[name])):
            ports[name] = free_port(taken=frozenset(ports.values()))
            write_private(path, json.dumps(ports, indent=2))
        return ports[name]

    def record(self, name: str, pid: int | None) -> None:
        """Remember a child, so that a later start can find it if we are killed; None forgets it.

        Never raises: a full disk must not keep the supervisor from starting and stopping children.
        """
        children = self._recorded()
        if pid is None:
            children.pop(name, None)
        else:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                children[name] = {"pid": pid, "started": process.create_time()}
        with contextlib.suppress(OSError):
            write_private(self._children, json.dumps(children, indent=2))

    @property
    def _children(self) -> Path:
        return self.folder / "children.json"

    def _recorded(self) -> dict[str, dict[str, Any]]:
        try:
            found: dict[str, dict[str, Any]] = json.loads(self._children.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return found

    def _make(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        except OSError as error:
            raise StartError(f"the state folder {self.folder} can't be used: {error.strerror}") from error

    def _stop_orphans(self) -> None:
        """Stop what an earlier run left behind. A process that only has the same id by chance is left alone."""
        left: list[psutil.Process] = []
        for entry in self._recorded().values():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(entry["pid"])
                # The clock may have been set meanwhile, which moves every start time a little.
                if abs(process.create_time() - entry["started"]) < 2.0 and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(process)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                # PostgreSQL takes SIGTERM as "wait until every client has left".
                process.send_signal(signal.SIGINT if process.name() == "postgres" else signal.SIGTERM)
        _, stubborn = psutil.wait_procs(left, timeout=10)
        for process in stubborn:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        psutil.wait_procs(stubborn, timeout=5)
        self._children.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
