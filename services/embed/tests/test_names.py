"""The name under which passages are shown: the latest one that was given, in whatever order the messages come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from .conftest import Indexed

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=1)


async def names(indexed: Indexed) -> set[str]:
    return {passage.filename for passage in (await indexed.search("pumps")).passages}


async def test_passages_of_a_renamed_document_carry_its_new_name(indexed: Indexed) -> None:
    document_id = await indexed.add(["pumps"], filename="old.txt")
    await indexed.rename(document_id, "new.txt")
    assert await names(indexed) == {"new.txt"}


async def test_a_rename_that_overtakes_the_chunks_wins_over_the_older_name_in_them(indexed: Indexed) -> None:
    first, second = indexed.batches(["pumps", "more pumps"], filename="old.txt", size=1)
    await indexed.rename(first.document_id, "new.txt", sent_at=LATER)
    for work in (first, second):
        await indexed.index(work, sent_at=NOON)
    assert await names(indexed) == {"new.txt"}


@pytest.mark.parametrize("backwards", [False, True])
async def test_of_two_renames_the_later_wins(indexed: Indexed, backwards: bool) -> None:
    [work] = indexed.batches(["pumps"], filename="old.txt")
    await indexed.index(work, sent_at=NOON - timedelta(hours=1))
    renames = [("first.txt", NOON), ("second.txt", LATER)]
    for filename, sent_at in reversed(renames) if backwards else renames:
        await indexed.rename(work.document_id, filename, sent_at=sent_at)
    assert await names(indexed) == {"second.txt"}


async def test_a_later_version_brings_its_own_name(indexed: Indexed) -> None:
    document_id = await indexed.add(["pumps"], filename="old.txt")
    await indexed.rename(document_id, "renamed.txt")
    [work] = indexed.batches(["pumps"], document_id=document_id, version=2, filename="second edition.txt")
    await indexed.index(work)
    assert await names(indexed) == {"second edition.txt"}
