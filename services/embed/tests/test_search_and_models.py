"""Searches while the model is changed, away, or compared by something else than the cosine: never a mix, never without a word."""

from __future__ import annotations

import asyncio

import pytest
from docutalk_common.contracts.embed import ChangeStep, ComparePassages, Comparison, PassagesFound, SearchMode, SearchPassages
from docutalk_common.db import Cause, Database
from docutalk_common.errors import RequestFailed
from docutalk_embed.adapters.batcher import MicroBatcher
from docutalk_embed.domain import InvalidQuery
from docutalk_embed.use_cases.compare_passages import compare_passages
from docutalk_embed.use_cases.search_passages import search_passages
from sqlalchemy import text

from .changing import NEW, OLD, Installation

TEXTS = [f"Paragraph {number} speaks of pump {number} and of valves." for number in range(10)]


@pytest.fixture
async def installation(own_database: Database, batcher: MicroBatcher) -> Installation:
    """An installation with ten passages."""
    installation = Installation(own_database, batcher)
    await installation.begin()
    await installation.indexed.add(TEXTS)
    return installation


async def search(installation: Installation, query: str = "pump 3", **fields: object) -> PassagesFound:
    """A search of the installation."""
    request = SearchPassages.model_validate({"workspace_id": installation.indexed.workspace_id, "query": query, **fields})
    return await search_passages(request, installation.db, installation.registry)


async def compare(installation: Installation, *queries: str, **fields: object) -> Comparison:
    """A comparison of both models."""
    request = ComparePassages.model_validate(
        {"workspace_id": installation.indexed.workspace_id, "queries": list(queries), **fields}
    )
    return await compare_passages(request, installation.db, installation.registry)


async def test_a_search_says_which_model_it_compared_with_and_follows_the_switch(installation: Installation) -> None:
    assert (await search(installation)).model == OLD
    await installation.complete()
    assert (await search(installation)).model == OLD
    await installation.step(ChangeStep.SWITCH)
    after = await search(installation, mode=SearchMode.SEMANTIC)
    assert after.model == NEW
    assert len(after.passages) == 10
    await installation.step(ChangeStep.ROLL_BACK)
    assert (await search(installation)).model == OLD
    assert (await search(installation, mode=SearchMode.KEYWORD)).model == ""


async def test_a_search_that_embeds_while_the_model_is_switched_embeds_again(installation: Installation) -> None:
    await search(installation)
    await installation.complete()
    old, new = installation.models[OLD], installation.models[NEW]
    old.entered.clear()
    old.open.clear()
    searching = asyncio.create_task(search(installation, "pump 7", mode=SearchMode.SEMANTIC))
    await old.entered.wait()
    await installation.step(ChangeStep.SWITCH)
    old.open.set()
    found = await searching
    assert found.model == NEW
    assert "pump 7" in old.asked
    assert "pump 7" in new.asked
    assert "pump 7" in found.passages[0].text


async def test_a_search_survives_that_the_old_model_is_dropped_while_it_embeds(installation: Installation) -> None:
    await search(installation)
    await installation.complete()
    old = installation.models[OLD]
    old.entered.clear()
    old.open.clear()
    searching = asyncio.create_task(search(installation))
    await old.entered.wait()
    await installation.step(ChangeStep.SWITCH)
    await installation.step(ChangeStep.FINISH)
    await installation.fill()
    assert not await installation.has_table(OLD)
    old.open.set()
    assert (await searching).model == NEW


async def test_a_model_that_is_away_leaves_the_words_and_refuses_meaning_with_a_reason(installation: Installation) -> None:
    installation.models[OLD].away = "the endpoint at models.example does not answer"
    hybrid = await search(installation)
    assert hybrid.passages[0].text == TEXTS[3]
    assert hybrid.model == ""
    assert all(passage.scores.semantic is None for passage in hybrid.passages)
    assert (await search(installation, mode=SearchMode.KEYWORD)).passages
    with pytest.raises(RequestFailed, match="does not answer") as refused:
        await search(installation, mode=SearchMode.SEMANTIC)
    assert refused.value.code == "unavailable"


async def test_a_search_waits_no_longer_for_its_model_than_its_asker_wants(installation: Installation) -> None:
    installation.models[OLD].open.clear()
    async with asyncio.timeout(10):
        hybrid = await search(installation, model_seconds=0.05)
        assert hybrid.passages[0].text == TEXTS[3]
        assert hybrid.model == ""
        with pytest.raises(RequestFailed, match=r"did not answer within 0\.05 s"):
            await search(installation, mode=SearchMode.SEMANTIC, model_seconds=0.05)


async def test_a_model_that_does_not_serve_any_more_is_not_asked(installation: Installation) -> None:
    await search(installation)
    other = installation.process()
    await installation.complete()
    await installation.step(ChangeStep.SWITCH)
    installation.models[OLD].open.clear()
    async with asyncio.timeout(10):
        assert (await search(installation)).model == NEW
        assert (await search(other)).model == NEW


async def test_pages_after_the_first_need_no_model(installation: Installation) -> None:
    first = await search(installation, limit=4, merge=False)
    installation.models[OLD].away = "gone"
    second = await search(installation, limit=4, merge=False, after=first.next)
    assert second.model == OLD
    assert not {p.chunk_id for p in first.passages} & {p.chunk_id for p in second.passages}


async def test_inner_products_beyond_one_rank_and_are_told_as_they_are(installation: Installation) -> None:
    async with installation.db.transaction(Cause.new()) as transaction:
        await transaction.session.execute(text("UPDATE models SET distance = 'dot' WHERE name = :name"), {"name": OLD})
        await transaction.session.execute(
            text("UPDATE embeddings_1 SET embedding = (embedding * array_fill(3, ARRAY[384])::halfvec)")
        )
    installation.registry.last_serving = None
    found = await search(installation, TEXTS[3], mode=SearchMode.SEMANTIC)
    best, *others = found.passages
    assert best.text == TEXTS[3]
    assert best.scores.semantic == pytest.approx(3, abs=0.05)
    assert best.score == pytest.approx(1)
    assert all(0 <= other.score < 1 for other in others)


async def test_both_models_of_a_change_are_compared_side_by_side_before_and_after_the_switch(installation: Installation) -> None:
    await installation.start()
    half = await compare(installation, "pump 3")
    assert (half.from_model, half.to_model, half.coverage) == (OLD, NEW, 0)
    assert len(half.queries[0].before) == 10
    assert half.queries[0].after == []
    assert half.queries[0].overlap == 0
    await installation.fill()
    for step in (None, ChangeStep.SWITCH):
        if step:
            await installation.step(step)
        compared = await compare(installation, "pump 3", "valves and pump 5", limit=4)
        assert (compared.from_model, compared.to_model, compared.coverage) == (OLD, NEW, 1)
        assert [one.query for one in compared.queries] == ["pump 3", "valves and pump 5"]
        for one in compared.queries:
            assert len(one.before) == len(one.after) == 4
            shared = {p.chunk_id for p in one.before} & {p.chunk_id for p in one.after}
            assert one.overlap == len(shared) / 4
            assert one.before_ms > 0
            assert one.after_ms > 0


async def test_what_cannot_be_compared_is_refused_with_a_reason(installation: Installation) -> None:
    with pytest.raises(RequestFailed, match="No change of model is open") as refused:
        await compare(installation, "pump")
    assert refused.value.code == "conflict"
    await installation.start()
    for queries, fields in (
        ([], {}),
        (["pump"] * 21, {}),
        (["pump"], {"limit": 0}),
        (["pump"], {"limit": 21}),
        ([" "], {}),
        (["pump"], {"mode": "keyword"}),
    ):
        with pytest.raises(InvalidQuery):
            await compare(installation, *queries, **fields)
    installation.models[NEW].away = "the endpoint does not answer"
    with pytest.raises(RequestFailed, match="does not answer"):
        await compare(installation, "pump")
