"""Move an open change of model on: pause, resume, switch, roll back, finish, cancel."""

from __future__ import annotations

from docutalk_common.contracts.embed import ChangeState, ChangeStep, ModelChange, ModelSwitched, StepChange
from docutalk_common.db import Cause, Database, Transaction
from docutalk_common.errors import DependencyUnavailable, NotFound, RequestFailed

from docutalk_embed.adapters.model_changes import (
    ModelChanges,
    OpenChange,
    count_missing,
    find_open,
    list_changes,
    patiently,
)
from docutalk_embed.adapters.model_registry import ModelRegistry

_BEFORE_THE_SWITCH = frozenset({ChangeState.RUNNING, ChangeState.PAUSED, ChangeState.COMPLETE})
_STEPS: dict[ChangeStep, tuple[frozenset[ChangeState], ChangeState, str]] = {
    # From which states, to which, and what it is called. Whether a switch is possible is decided by counting, not by the
    # state, which is brought up to date only every second or so.
    ChangeStep.PAUSE: (frozenset({ChangeState.RUNNING}), ChangeState.PAUSED, "paused"),
    ChangeStep.RESUME: (frozenset({ChangeState.PAUSED}), ChangeState.RUNNING, "resumed"),
    ChangeStep.SWITCH: (_BEFORE_THE_SWITCH, ChangeState.SWITCHED, "switched"),
    ChangeStep.ROLL_BACK: (frozenset({ChangeState.SWITCHED}), ChangeState.COMPLETE, "rolled back"),
    ChangeStep.FINISH: (frozenset({ChangeState.SWITCHED}), ChangeState.FINISHED, "finished"),
    ChangeStep.CANCEL: (_BEFORE_THE_SWITCH, ChangeState.CANCELLED, "cancelled"),
}
_EXCHANGES = (ChangeStep.SWITCH, ChangeStep.ROLL_BACK)
_ALONE = (*_EXCHANGES, ChangeStep.FINISH, ChangeStep.CANCEL)
"""Steps after which batches in flight would store vectors of the wrong models."""


async def step_change(request: StepChange, db: Database, registry: ModelRegistry, cause: Cause) -> ModelChange:
    """The change after the step. The vectors that nobody needs any more are dropped soon after, when no search is in their way.

    Raises `NotFound`, and `RequestFailed`: `conflict` when the change is not in a state for this step, or when passages have
    no vector of the model that is to serve; `unavailable` when that model cannot be asked, or documents are stored without a
    pause in between.
    """
    async with db.read() as session:
        if not await list_changes(session, request.change_id):
            raise NotFound(f"there is no change {request.change_id}")
        change = await find_open(session)
        _check(change, request)
        if change is not None and request.step in _EXCHANGES:
            # Counted again below, when nobody can add to it: here it spares those who store passages the wait.
            _refuse_gaps(change, await count_missing(session, change.following))
    if change is not None and request.step in _EXCHANGES:
        await _ask(change, registry)

    async def attempt() -> None:
        async with db.transaction(cause) as transaction:
            await _step(transaction, request)

    await patiently(attempt)
    async with db.read() as session:
        [stepped] = await list_changes(session, request.change_id)
    return stepped


async def _step(transaction: Transaction, request: StepChange) -> None:
    changes = ModelChanges(transaction)
    if request.step in _ALONE:
        await changes.lock_models()
    change = _check(await changes.lock(request.change_id), request)
    if request.step in _EXCHANGES:
        _refuse_gaps(change, await count_missing(transaction.session, change.following))
        for workspace_id in await changes.serve(change.following):
            transaction.emit(
                ModelSwitched(
                    workspace_id=workspace_id,
                    change_id=change.change_id,
                    from_model=change.serving.name,
                    to_model=change.following.name,
                    switched_by=request.asked_by,
                )
            )
    _, state, _ = _STEPS[request.step]
    await changes.enter(change.change_id, state)


def _check(change: OpenChange | None, request: StepChange) -> OpenChange:
    states, _, done = _STEPS[request.step]
    if change is None or change.change_id != request.change_id:
        raise RequestFailed("conflict", f"the change has ended and cannot be {done}; start another one")
    if change.state not in states:
        possible = ", ".join(sorted(step.value for step, (states, _, _) in _STEPS.items() if change.state in states))
        raise RequestFailed("conflict", f"the change is {change.state.value} and cannot be {done}; possible is: {possible}")
    return change


def _refuse_gaps(change: OpenChange, missing: int) -> None:
    if missing:
        passages = "1 passage has" if missing == 1 else f"{missing:,} passages have"
        why = f" ({change.reason})" if change.reason else ""
        raise RequestFailed("conflict", f"{passages} no vector of {change.following.name} yet{why}; wait until none is missing")


async def _ask(change: OpenChange, registry: ModelRegistry) -> None:
    """A search after the switch would be the first to find out that the model cannot be asked."""
    try:
        model = await registry.load(change.following)
        await model.embed_query("Is anybody there?")
    except (RequestFailed, DependencyUnavailable) as error:
        reason = f"searches stay with {change.serving.name}, because {change.following.name} cannot be asked: {error}"
        raise RequestFailed("unavailable", reason) from error
