"""The work of a run was given up on: the run is over, so that the next one can begin."""

from __future__ import annotations

from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.contracts.envelope import Envelope
from docutalk_common.contracts.ingest import CollectSource, RunStatus, SourceRan
from docutalk_common.messaging.consumer import Delivery
from pydantic import ValidationError

from docutalk_ingest.adapters.source_repository import SourceRepository
from docutalk_ingest.domain import freeze

COLLECT = "ingest-source-collect"


async def fail_run(letter: DeadLetter, delivery: Delivery) -> None:
    """Emits `SourceRan` once. What cannot be read names no run."""
    try:
        work = CollectSource.model_validate(Envelope.model_validate_json(letter.body()).data)
    except ValidationError:
        return
    async with delivery.transaction() as transaction:
        reason = f"The run was given up: {freeze(letter.reason)}"
        run = await SourceRepository(transaction.session).finish_run(work.run_id, RunStatus.FAILED, reason)
        if run is not None:
            transaction.emit(SourceRan(workspace_id=work.workspace_id, source_id=work.source_id, run=run))
