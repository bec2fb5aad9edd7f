"""Argon2 in threads: a hash takes about 50 ms of one core and 64 MiB, so few run at once and none on the event loop."""

from __future__ import annotations

import asyncio
import secrets

from pwdlib import PasswordHash


class Passwords:
    """Hashes and checks. `parallel` bounds memory: 64 MiB for each."""

    def __init__(self, *, parallel: int = 2) -> None:
        self._hasher = PasswordHash.recommended()
        self._slots = asyncio.Semaphore(parallel)
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """The Argon2id hash in PHC format."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, password: str, hashed: str | None) -> bool:
        """Whether the password fits. Without a hash (no such account) it takes as long and is False."""
        if hashed is None:
            if self._nobody is None:
                self._nobody = await self.hash(secrets.token_urlsafe(16))
            hashed_or_dummy = self._nobody
        else:
            hashed_or_dummy = hashed
        async with self._slots:
            fits = await asyncio.to_thread(self._hasher.verify, password, hashed_or_dummy)
        return fits and hashed is not None
