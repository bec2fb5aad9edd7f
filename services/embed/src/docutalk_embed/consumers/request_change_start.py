"""Begin to change the model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.embed import ModelChange, StartChange
from docutalk_common.db import Cause, Database

from docutalk_embed.use_cases.start_change import start_change


def request_change_start(db: Database) -> Callable[[StartChange, Cause], Awaitable[ModelChange]]:
    """The answerer of `rpc.embed.v1.change.start`."""

    async def answer(request: StartChange, cause: Cause) -> ModelChange:
        return await start_change(request, db, cause)

    return answer
