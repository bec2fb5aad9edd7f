"""The way back from every migration, and forth again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from docutalk_common.contracts.embed import ChangeStep, SearchMode
from docutalk_common.db import Database
from docutalk_common.provisioning import migrate
from docutalk_embed.adapters.batcher import MicroBatcher
from docutalk_local.testing import TestStack
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from .changing import NEW, OLD, Installation
from .conftest import OWN_DATABASE, Indexed

VERSIONS = Path(__file__).parents[1] / "migrations" / "versions"


def steps_to(revision: str) -> str:
    """How far back that is from the newest one."""
    return f"-{len([path for path in VERSIONS.glob('[0-9]*.py') if path.name[:4] > revision])}"


async def test_way_back_and_forth_again_leaves_a_schema_that_works(stack: TestStack, indexed: Indexed) -> None:
    for revision in ("0001", "base"):
        await migrate("embed", stack.owner_dsn("embed"), revision)
    await migrate("embed", stack.owner_dsn("embed"))
    await indexed.add(["pumps"])
    assert len((await indexed.search("pumps")).passages) == 1


async def test_words_that_were_stored_as_english_without_identifiers_are_read_again(stack: TestStack, indexed: Indexed) -> None:
    await indexed.add(["See § 12 of AB/12-3", "See § 13, and “pumps”"])
    await indexed.add(["12 of them"])
    before = await indexed.counts()
    await migrate("embed", stack.owner_dsn("embed"), steps_to("0003"))
    assert "§ 12" not in (await indexed.counts())[1]
    await migrate("embed", stack.owner_dsn("embed"))
    assert await indexed.counts() == before
    assert [passage.text for passage in (await indexed.search("§ 12 pump", mode=SearchMode.KEYWORD)).passages][:1] == [
        "See § 12 of AB/12-3"
    ]


async def test_vectors_survive_the_way_back_to_one_table_and_forth_to_one_for_each_model(
    stack: TestStack, own_database: Database, batcher: MicroBatcher
) -> None:
    owner = replace(stack, database=OWN_DATABASE).owner_dsn("embed")
    installation = Installation(own_database, batcher)
    await installation.begin()
    document_id = await installation.indexed.add([f"Pump number {number}." for number in range(5)])
    before = await installation.indexed.stored(document_id)
    await installation.complete()
    await installation.step(ChangeStep.SWITCH)
    with pytest.raises(DBAPIError, match="another model than the first one serves searches"):
        await migrate("embed", owner, steps_to("0002"))
    await installation.step(ChangeStep.ROLL_BACK)

    # In the middle of a change.
    await migrate("embed", owner, steps_to("0002"))
    async with own_database.read() as session:
        tables = await session.scalars(text("SELECT relname FROM pg_class WHERE relname LIKE 'embeddings%' AND relkind = 'r'"))
        assert list(tables) == ["embeddings"]
        assert await session.scalar(text("SELECT count(*) FROM embeddings WHERE model_id = 1")) == 5
    await migrate("embed", owner)
    assert await installation.indexed.stored(document_id) == before
    assert await installation.changes() == []
    assert not await installation.has_table(NEW)
    assert await installation.vectors(OLD) == await installation.chunks()
    await installation.begin()
    await installation.indexed.add(["Changes are possible as before."])
    await installation.complete()
    await installation.step(ChangeStep.SWITCH)
    assert await installation.serving() == NEW
