"""The ranking's arithmetic and what a query may be."""

from __future__ import annotations

from uuid import UUID

import pytest
from docutalk_embed.domain import (
    EXACT_SCAN_CHUNKS,
    MAX_QUERY_CHARACTERS,
    InvalidQuery,
    Lexeme,
    any_of,
    clean_query,
    inverse_document_frequency,
    is_better_exact,
    keyword_query,
)
from docutalk_embed.domain.ranking import fuse
from hypothesis import given
from hypothesis import strategies as st

A, B, C = UUID(int=1), UUID(int=2), UUID(int=3)


def test_fusion_weighs_both_lists_scaled_over_their_union() -> None:
    fused = fuse({A: 0.9, B: 0.5, C: 0.7}, {B: 12.0, A: 2.0}, semantic_weight=0.55)
    assert fused == pytest.approx({A: 0.55, B: 0.45, C: 0.275})


def test_fusion_of_one_list_keeps_its_order_within_0_and_1() -> None:
    assert fuse({A: 0.9, B: 0.5}, {}) == {A: 1.0, B: 0.0}
    assert fuse({}, {A: 3.0, B: 7.0}) == {A: 0.0, B: 1.0}
    assert fuse({}, {}) == {}


def test_a_single_hit_scores_1() -> None:
    assert fuse({}, {A: 3.0}) == {A: 1.0}


scores = st.dictionaries(st.uuids(), st.floats(-1e6, 1e6), max_size=20)


@given(scores, scores)
def test_fused_scores_lie_within_0_and_1(semantic: dict[UUID, float], keyword: dict[UUID, float]) -> None:
    fused = fuse(semantic, keyword)
    assert fused.keys() == semantic.keys() | keyword.keys()
    assert all(0 <= score <= 1 + 1e-9 for score in fused.values())


def test_rarer_words_weigh_more_and_none_weighs_less_than_nothing() -> None:
    frequencies = [inverse_document_frequency(matching, 100) for matching in (1, 10, 50, 100, 120)]
    assert frequencies == sorted(frequencies, reverse=True)
    assert frequencies[-1] > 0


WORDS = [Lexeme("common", 5, 90_000), Lexeme("rare", 9, 3), Lexeme("seldom", 2, 400), Lexeme("absent", 7, 0)]


def test_in_a_large_reach_the_rarest_words_choose_candidates_and_all_words_score_them() -> None:
    query = keyword_query(WORDS, 100_000, 100_000)
    assert query is not None
    assert query.candidates == "'rare' | 'seldom'"
    assert [part.split(":")[0] for part in query.weights.strip("{").split("}")[0].split(",")] == ["2", "5", "9"]


def test_filters_make_room_for_more_words() -> None:
    query = keyword_query(WORDS, 1_000_000, 50_000)
    assert query is not None
    assert query.candidates == "'rare' | 'seldom' | 'common'"


def test_a_word_that_is_everywhere_still_chooses_when_it_is_the_only_one() -> None:
    query = keyword_query(WORDS[:1], 100_000, 100_000)
    assert query is not None
    assert query.candidates == "'common'"


def test_words_that_are_all_common_choose_together() -> None:
    words = [Lexeme("city", 1, 200_000), Lexeme("year", 2, 400_000), Lexeme("time", 3, 500_000)]
    chosen = {total: query.candidates for total in (50_000, 1_000_000) if (query := keyword_query(words, 1_000_000, total))}
    assert chosen == {50_000: "'city'", 1_000_000: "'city' & 'year' & 'time'"}
    words[0] = Lexeme("town", 1, 12_000)
    query = keyword_query(words, 1_000_000, 1_000_000)
    assert query is not None
    assert query.candidates == "'town' & ('year' | 'time')"


@pytest.mark.parametrize(
    ("reach", "everything", "exact"),
    [(20_000, 0, True), (31_000, 100_000, False), (150_000, 1_000_000, True), (160_000, 1_000_000, False)],
)
def test_all_vectors_are_looked_at_in_a_reach_that_is_small_or_a_small_part(reach: int, everything: int, exact: bool) -> None:
    assert is_better_exact(reach, everything) is exact


def test_in_a_small_reach_every_chunk_is_scored() -> None:
    query = keyword_query(WORDS, 100_000, EXACT_SCAN_CHUNKS)
    assert query is not None
    assert query.candidates is None


def test_a_query_of_unknown_words_has_no_keyword_part() -> None:
    assert keyword_query([Lexeme("absent", 7, 0)], 10, 10) is None


def test_quotes_and_backslashes_in_words_stay_words() -> None:
    assert any_of(["o'clock", "c:\\dir"]) == "'o''clock' | 'c:\\\\dir'"


def test_a_query_loses_what_cannot_be_stored() -> None:
    assert clean_query(" pumps\x00 and\ud800 valves ") == "pumps  and  valves"


@pytest.mark.parametrize("query", ["", " \t\n", "\x00", "\ud800", "x" * (MAX_QUERY_CHARACTERS + 1)])
def test_an_empty_or_huge_query_is_refused_with_a_reason(query: str) -> None:
    with pytest.raises(InvalidQuery, match="the query"):
        clean_query(query)
