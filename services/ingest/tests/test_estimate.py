"""Places in line and estimates, by themselves."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from docutalk_ingest.adapters.dispatcher import next_turns
from docutalk_ingest.adapters.speed_repository import Lines, Speeds
from docutalk_ingest.adapters.waiting_lines import Head
from docutalk_ingest.domain import Window
from docutalk_ingest.use_cases.estimate import Estimator

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def order(lines: Lines) -> list[tuple[UUID, int]]:
    """Workspace and rank of all that waits, as the dispatcher would hand it out."""
    waiting, in_flight, turns = dict(lines.waiting), dict(lines.in_flight), dict[UUID, int]()
    handed_out: list[tuple[UUID, int]] = []
    while any(waiting.values()):
        heads = [Head(workspace, lines.oldest[workspace], workspace, 0, 0) for workspace, count in waiting.items() if count]
        workspace = next_turns(heads, in_flight, turns, Window(10_000, 0))[0].workspace_id
        handed_out.append((workspace, lines.waiting[workspace] - waiting[workspace] + 1))
        waiting[workspace] -= 1
        in_flight[workspace] = in_flight.get(workspace, 0) + 1
        turns[workspace] = len(handed_out)
    return handed_out


@pytest.mark.parametrize("seed", range(20))
def test_place_in_line_is_that_in_which_the_dispatcher_will_hand_out(seed: int) -> None:
    dice = random.Random(seed)
    workspaces = [uuid4() for _ in range(dice.randint(1, 5))]
    lines = Lines(
        waiting={workspace: dice.randint(1, 6) for workspace in workspaces},
        oldest={workspace: NOON + timedelta(seconds=place) for place, workspace in enumerate(workspaces)},
        in_flight={workspace: dice.randint(0, 3) for workspace in workspaces},
    )
    estimator = Estimator(Speeds(), lines, slots=2)
    places = {document: estimator.position(*document) for document in order(lines)}
    assert list(places.values()) == list(range(1, sum(lines.waiting.values()) + 1))


def test_nothing_is_estimated_before_anything_was_measured() -> None:
    workspace = uuid4()
    lines = Lines(waiting={workspace: 1}, oldest={workspace: NOON})
    assert Estimator(Speeds(), lines, slots=2).to_read(workspace, 1) is None


def test_estimate_grows_with_what_is_ahead_and_counts_others_for_their_share_only() -> None:
    mine, theirs = uuid4(), uuid4()
    speeds = Speeds(document_seconds=1.0, page_seconds=0.1, document_chunks=10.0, chunk_seconds=0.01)

    def seconds(waiting: dict[UUID, int], rank: int) -> float:
        lines = Lines(waiting=waiting, oldest=dict.fromkeys(waiting, NOON))
        found = Estimator(speeds, lines, slots=2).to_read(mine, rank)
        assert found is not None
        return found

    alone = seconds({mine: 1}, 1)
    assert alone == pytest.approx(1.5 + 0.1)
    assert seconds({mine: 101}, 101) > 50
    assert seconds({mine: 1, theirs: 10_000}, 1) < alone + 1
