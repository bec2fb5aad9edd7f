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
        # Made here and not when it is first needed: the first unknown account would be told by its time.
        self._nobody = self._hasher.hash(secrets.token_urlsafe(16))

    async def hash(self, password: str) -> str:
        """The Argon2id hash in PHC format."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, password: str, hashed: str | None) -> bool:
        """Whether the password fits. Without a hash (no such account) it takes as long and is False."""
        return (await self.check(password, hashed))[0]

    async def check(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """The same, and for a password that fits a new hash when the old one has other parameters than are used now."""
        async with self._slots:
            fits, renewed = await asyncio.to_thread(self._hasher.verify_and_update, password, hashed or self._nobody)
        return (fits, renewed) if hashed is not None else (False, None)
