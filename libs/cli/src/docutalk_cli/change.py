"""A change of the model, from outside: where it is in a sentence, a bar that follows it, and the switch once it is complete."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

import httpx
from rich.text import Text

from docutalk_cli.bars import Bars
from docutalk_cli.client import Api, Json, Refused
from docutalk_cli.follow import persistently
from docutalk_cli.output import Output, count, duration

CHANGES = "/admin/model-changes"
# Storing of documents that began before a switch ends first.
STEP_SECONDS = 60.0
NEXT_STEPS: Mapping[str, str] = {
    "running": "Follow it with docutalk models status --follow. It can be paused, and cancelled, at any moment.",
    "paused": "Go on with docutalk models resume, or end it with docutalk models cancel.",
    "complete": "Look at both with docutalk models compare 'A QUESTION', then docutalk models switch, or docutalk models cancel.",
    "switched": "Go back with docutalk models roll-back, or drop the old vectors with docutalk models finish.",
}
"""What can be done in a state."""

_UNDER_WAY = frozenset({"running", "paused"})
_LOOK_SECONDS = 0.5
_AWAY_SECONDS = 2.0
_SWITCHES = 10
_STYLES = {"complete": "green", "switched": "green", "finished": "green", "cancelled": "yellow", "paused": "yellow"}


async def open_change(api: Api) -> Json | None:
    """The change that has not ended, of which there is at most one."""
    changes = (await api.get(CHANGES))["items"]
    return next((change for change in changes if change["ended_at"] is None), None)


def describe(change: Json) -> Text:
    """`minilm → better: running, 1,234 of 10,000 passages, 210/s, about 42 s left`."""
    text = Text.assemble(
        (f"{change['from_model']} → {change['to_model']}", "bold"), ": ", (change["state"], _STYLES.get(change["state"], "cyan"))
    )
    return text.append(f", {_how_far(change)}") if change["ended_at"] is None else text


async def follow_change(api: Api, output: Output, change: Json) -> Json:
    """Shows how far a change is, until it is complete or has ended; returns it as it is then."""
    try:
        with _Bar(output) as bar:
            while change["state"] in _UNDER_WAY:
                bar.show(change)
                await asyncio.sleep(_LOOK_SECONDS)
                change = await _looked_at(api, change["id"])
    except asyncio.CancelledError:
        output.note("Interrupted. The change goes on without this command: docutalk models status --follow")
        raise
    return change


async def switch_when_complete(api: Api, output: Output, change: Json) -> Json:
    """Follows a change and switches searches to its model. A document that came at the last moment is waited for."""
    for last in [*[False] * _SWITCHES, True]:
        change = await follow_change(api, output, change)
        if change["state"] != "complete":
            return change
        try:
            return await api.post(f"{CHANGES}/{change['id']}/switch", {}, timeout=STEP_SECONDS)
        except Refused as error:
            if last or error.status != httpx.codes.CONFLICT:
                raise
        await asyncio.sleep(_AWAY_SECONDS)
        change = await _looked_at(api, change["id"])
    raise AssertionError("the last try returns or raises")


async def _looked_at(api: Api, change_id: str) -> Json:
    changes = (await persistently(lambda: api.get(CHANGES)))["items"]
    return next(change for change in changes if change["id"] == change_id)


class _Bar:
    """One bar, and above it why nothing moves."""

    def __init__(self, output: Output) -> None:
        self._bars = Bars(output)
        self._output = output
        self._task = self._bars.add_task("", what="")

    def __enter__(self) -> _Bar:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, change: Json) -> None:
        """Where it is now."""
        what = ", ".join(_counts(change))
        if change["state"] != "running":
            what = f"{change['state']}, {what}"
        total = max(change["passages_total"], 1)
        self._bars.headline = self._output.harmless(Text(change["reason"] or "", style="yellow"))
        self._bars.update(self._task, description=change["to_model"], completed=change["passages_done"], total=total, what=what)


def _how_far(change: Json) -> str:
    return ", ".join([*_counts(change), *([change["reason"]] if change["reason"] else [])])


def _counts(change: Json) -> list[str]:
    parts = [f"{change['passages_done']:,} of {count(change['passages_total'], 'passage')}"]
    if change["state"] == "running" and not change["reason"]:
        if change["passages_per_second"] is not None:
            parts.append(f"{change['passages_per_second']:,.0f}/s")
        if change["eta_seconds"] is not None:
            # From the speed measured lately: no more precise than that.
            parts.append(f"about {duration(math.ceil(change['eta_seconds']))} left")
    return parts
