"""A workspace's own weight of meaning: the default of the release until somebody says otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from docutalk_common.contracts.embed import ChangeSearchSettings, GetSearchSettings, SearchMode, SearchSettings
from docutalk_common.db import Cause
from docutalk_common.errors import RequestFailed
from docutalk_embed.domain.ranking import SEMANTIC_WEIGHT
from docutalk_embed.use_cases.change_search_settings import change_search_settings
from docutalk_embed.use_cases.get_search_settings import get_search_settings

from .conftest import Indexed


async def get(indexed: Indexed) -> SearchSettings:
    """What the service answers."""
    return await get_search_settings(GetSearchSettings(workspace_id=indexed.workspace_id), indexed.db)


async def change(indexed: Indexed, weight: float | None) -> SearchSettings:
    """Changes it."""
    request = ChangeSearchSettings(workspace_id=indexed.workspace_id, semantic_weight=weight)
    return await change_search_settings(request, indexed.db, Cause.new())


async def test_a_weight_holds_for_its_workspace_until_it_is_taken_back(make_indexed: Callable[[], Indexed]) -> None:
    indexed, other = make_indexed(), make_indexed()
    default = SearchSettings(semantic_weight=SEMANTIC_WEIGHT, is_default=True)
    assert await get(indexed) == default
    assert await change(indexed, 0.7) == SearchSettings(semantic_weight=0.7, is_default=False)
    assert (await get(indexed)).semantic_weight == 0.7
    assert await get(other) == default
    assert await change(indexed, None) == default


async def test_the_weight_decides_between_the_lists(indexed: Indexed) -> None:
    await indexed.add(["Zwickau has 87 inhabitants for each tram.", "Which sales did the company make last year?", "Other."])
    query = "Zwickau company revenue"
    by_words = (await indexed.search(query, mode=SearchMode.KEYWORD)).passages[0]
    by_meaning = (await indexed.search(query, mode=SearchMode.SEMANTIC)).passages
    await change(indexed, 0)
    assert (await indexed.search(query)).passages[0].chunk_id == by_words.chunk_id
    await change(indexed, 1)
    assert [p.chunk_id for p in (await indexed.search(query)).passages] == [p.chunk_id for p in by_meaning]


async def test_a_weight_stays_when_documents_come_and_go(indexed: Indexed) -> None:
    await change(indexed, 0.25)
    document_id = await indexed.add(["pumps"])
    assert (await get(indexed)).semantic_weight == 0.25
    await indexed.delete(document_id)
    assert (await get(indexed)).semantic_weight == 0.25
    assert (await indexed.search("pumps")).passages == []


@pytest.mark.parametrize("weight", [-0.1, 1.1, math.nan, math.inf])
async def test_a_weight_outside_of_0_to_1_is_refused(indexed: Indexed, weight: float) -> None:
    with pytest.raises(RequestFailed, match=r"it may be 0 .* to 1") as refused:
        await change(indexed, weight)
    assert refused.value.code == "invalid"
    assert (await get(indexed)).is_default
