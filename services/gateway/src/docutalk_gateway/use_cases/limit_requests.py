"""How fast somebody may ask: counted by all gateways together, and written a few times a minute."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from docutalk_common.db import Cause, Database

from docutalk_gateway.adapters.rate_limits import take
from docutalk_gateway.domain import TooManyRequests

WINDOW_SECONDS = 60
# The smallest and the largest block, as parts of the limit.
FIRST_BLOCKS = 200
BLOCKS = 20


@dataclass
class _Block:
    """What this gateway may let through in this window without asking the others."""

    left: int = 0
    taken: int = 0
    used_up: bool = False
    taking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def spend(self) -> bool:
        if self.left == 0:
            return False
        self.left -= 1
        return True


class RequestLimits:
    """Takes a part of somebody's limit at a time out of what all gateways share, and spends it by itself: a two-hundredth at
    first, then as much as it has taken, at most a twentieth. So PostgreSQL is written two dozen times a minute for one person at
    most, however many requests they make.

    In one window all gateways together let through no more than the limit. What a gateway took and does not spend is lost to the
    others until the window ends: of N gateways, somebody may be refused N twentieths of the limit too early.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._window = 0
        self._blocks: dict[str, _Block] = {}

    async def admit(self, bucket: str, per_minute: int) -> None:
        """Counts one request. `bucket` says whose. Raises `TooManyRequests`."""
        now = time.time()
        window = int(now) // WINDOW_SECONDS
        if window != self._window:
            # A block is of its window only, and nobody is remembered for longer.
            self._window, self._blocks = window, {}
        block = self._blocks.setdefault(bucket, _Block())
        if block.spend() or await self._taken(block, bucket, per_minute):
            return
        seconds = max(1.0, (window + 1) * WINDOW_SECONDS - now)
        raise TooManyRequests(f"{per_minute} requests a minute are allowed. Try again in {seconds:.0f} s.", seconds)

    async def _taken(self, block: _Block, bucket: str, per_minute: int) -> bool:
        """Spends of the next block. One takes it for all who wait."""
        async with block.taking:
            if block.left == 0 and not block.used_up:
                size = max(1, min(max(block.taken, per_minute // FIRST_BLOCKS), per_minute // BLOCKS))
                async with self._db.transaction(Cause.new()) as tx:
                    wait = await take(tx.session, bucket, most=per_minute, seconds=WINDOW_SECONDS, amount=size)
                block.taken += size
                block.left, block.used_up = (size, False) if wait is None else (0, True)
            return block.spend()
