"""The way back from every migration, and forth again."""

from __future__ import annotations

from docutalk_common.provisioning import migrate
from docutalk_local.testing import TestStack

from .conftest import Indexed


async def test_way_back_and_forth_again_leaves_a_schema_that_works(stack: TestStack, indexed: Indexed) -> None:
    for revision in ("0001", "base"):
        await migrate("embed", stack.owner_dsn("embed"), revision)
    await migrate("embed", stack.owner_dsn("embed"))
    await indexed.add(["pumps"])
    assert len((await indexed.search("pumps")).passages) == 1
