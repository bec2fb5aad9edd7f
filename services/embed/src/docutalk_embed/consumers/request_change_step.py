"""Move a change of model on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from docutalk_common.contracts.embed import ModelChange, StepChange
from docutalk_common.db import Cause, Database

from docutalk_embed.adapters.model_registry import ModelRegistry
from docutalk_embed.use_cases.step_change import step_change


def request_change_step(db: Database, registry: ModelRegistry) -> Callable[[StepChange, Cause], Awaitable[ModelChange]]:
    """The answerer of `rpc.embed.v1.change.step`."""

    async def answer(request: StepChange, cause: Cause) -> ModelChange:
        return await step_change(request, db, registry, cause)

    return answer
