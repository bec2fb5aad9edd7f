"""The way back from every migration, and forth again."""

from __future__ import annotations

from pathlib import Path

from docutalk_common.contracts.embed import SearchMode
from docutalk_common.provisioning import migrate
from docutalk_local.testing import TestStack

from .conftest import Indexed


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
    versions = Path(__file__).parents[1] / "migrations" / "versions"
    later = [path for path in versions.glob("[0-9]*.py") if path.name[:4] > "0003"]
    await migrate("embed", stack.owner_dsn("embed"), f"-{len(later)}")
    assert "§ 12" not in (await indexed.counts())[1]
    await migrate("embed", stack.owner_dsn("embed"))
    assert await indexed.counts() == before
    assert [passage.text for passage in (await indexed.search("§ 12 pump", mode=SearchMode.KEYWORD)).passages][:1] == [
        "See § 12 of AB/12-3"
    ]
