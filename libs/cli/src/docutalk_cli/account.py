"""Which DocuTalk a command talks to and as whom, and the tokens it keeps between two commands."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import typer

DEFAULT_PORT = "8000"
# As in `docutalk_local.home`, which is not imported here: with it come the servers' libraries and a second of waiting.
DEFAULT_HOME = ".docutalk"
# A token that ends this soon is renewed first: an upload must not be refused after its last byte.
_MARGIN_SECONDS = 60.0


@dataclass(frozen=True)
class Account:
    """An address and what signs in there. `signs_in_as` is None when only a token, or nothing, is known."""

    url: str
    email: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    login: Tokens | None = field(default=None, repr=False)
    """What `docutalk login` stored for this address."""

    @property
    def cache_key(self) -> str:
        """Under which name the tokens of a password sign-in are kept."""
        return f"{self.email} {self.url}"


@dataclass(frozen=True)
class Tokens:
    """A pair of tokens; `expires_at` is the access token's end in Unix seconds."""

    email: str
    access_token: str
    refresh_token: str
    expires_at: float

    @classmethod
    def answered(cls, email: str, answer: Mapping[str, Any]) -> Tokens:
        """From what login and refresh answer."""
        return cls(email, answer["access_token"], answer["refresh_token"], time.time() + float(answer["expires_in"]))

    @property
    def fresh(self) -> bool:
        """Whether the access token is good for a minute more."""
        return self.expires_at - time.time() > _MARGIN_SECONDS


class TokenStore:
    """`tokens.json` in the user's configuration folder, mode 0600: sign-ins by address, and a cache of password sign-ins.

    Refresh tokens rotate, and using an old one ends the whole sign-in: two commands at once must not both use it.
    `locked` is held from reading a token to writing its successor.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(typer.get_app_dir("docutalk"))
        self._file = self._folder / "tokens.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other commands away from the file."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder / "tokens.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def get(self, key: str) -> Tokens | None:
        """The tokens under an address or a cache key."""
        entry = self._read().get(key)
        return Tokens(**entry) if entry else None

    def put(self, key: str, tokens: Tokens | None) -> None:
        """Stores tokens; None forgets them. Call it under `locked`."""
        entries = self._read()
        entries.pop(key, None)
        if tokens is not None:
            entries[key] = asdict(tokens)
        # Beside it first: a reader without the lock sees the old file or the new one, never half of one.
        new = self._folder / "tokens.new"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(entries, file, indent=2)
        new.replace(self._file)

    def last_login(self) -> str | None:
        """The address of the last `docutalk login`. Cached sign-ins have a space in their key and do not count."""
        return next((key for key in reversed(self._read()) if " " not in key), None)

    def _read(self) -> dict[str, Any]:
        try:
            entries: dict[str, Any] = json.loads(self._file.read_text())
        except (OSError, ValueError):
            # Not there, not ours to read, or broken.
            return {}
        return entries


def find_account(url: str | None, home: Path | None, environment: Mapping[str, str], store: TokenStore) -> Account:
    """Where and as whom, from the nearest that says so.

    The address: `--url` or DOCUTALK_URL, else the state folder here (`cli.json`, written by `docutalk up`), else the last
    `docutalk login`, else this machine. Who: DOCUTALK_TOKEN, else DOCUTALK_EMAIL and DOCUTALK_PASSWORD, else the login
    stored for that address, else the state folder's administrator.
    """
    local = _local((home or Path(environment.get("DOCUTALK_HOME") or DEFAULT_HOME)).expanduser() / "cli.json")
    here = local.get("url")
    port = environment.get("DOCUTALK_PORT") or DEFAULT_PORT
    address = (url or here or store.last_login() or f"http://127.0.0.1:{port}").rstrip("/")
    if token := environment.get("DOCUTALK_TOKEN"):
        return Account(address, token=token)
    if (email := environment.get("DOCUTALK_EMAIL")) and (password := environment.get("DOCUTALK_PASSWORD")):
        return Account(address, email=email, password=password)
    if login := store.get(address):
        return Account(address, email=login.email, login=login)
    if here == address:
        return Account(address, email=local.get("email"), password=local.get("password"))
    return Account(address)


def place_only(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without who: only where."""
    return {name: value for name, value in environment.items() if name == "DOCUTALK_PORT"}


def _local(file: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(file.read_text())
    except (FileNotFoundError, PermissionError, NotADirectoryError, json.JSONDecodeError):
        return {}
    return found
