"""Chunks: exact offsets, never too long, cut where a reader would cut."""

from __future__ import annotations

import itertools

import pytest
from docutalk_ingest.adapters.chunker import (
    MAX_CHUNK_CHARACTERS,
    MODEL_TOKENS,
    SPECIAL_TOKENS,
    Chunker,
    Layout,
    load_tokenizer,
    unwrap,
)
from docutalk_ingest.domain import MAX_BATCH_BYTES, MAX_BATCH_CHUNKS, MAX_GAP_CHARACTERS, BatchPlan, freeze, gap_between
from hypothesis import given, settings
from hypothesis import strategies as st

LIMIT = MODEL_TOKENS - SPECIAL_TOKENS
SENTENCE = "The committee met on a Tuesday and decided, after some discussion, to buy the boat. "


@pytest.fixture(scope="module")
def chunker() -> Chunker:
    return Chunker()


CHUNKER = Chunker()
PLAIN = ["the", "ship", "1,234.5", "(12)", "x" * 150, "?!", ". ", "\r\n", "\n\n", "# "]
ODD = ["Straße", "船", "漢字かな", "한국어", "e\u0301te", "👩\u200d👧", "\u0000", "\ud800"]
WORDS = st.sampled_from(PLAIN + ODD)
TEXTS = st.lists(WORDS | st.text(max_size=12), max_size=400).map(" ".join)


@settings(max_examples=150)
@given(text=TEXTS, layout=st.sampled_from(Layout))
def test_any_text_gives_chunks_that_are_exact_ordered_short_and_complete(text: str, layout: Layout) -> None:
    page = freeze(text)
    chunks = CHUNKER.cut(page, layout)
    covered: set[int] = set()
    for start, end in chunks:
        assert 0 <= start < end <= len(page)
        chunk = page[start:end]
        assert chunk == chunk.strip()
        assert len(chunk) <= MAX_CHUNK_CHARACTERS
        assert CHUNKER.count_tokens(chunk) <= LIMIT
        covered.update(range(start, end))
    assert chunks == sorted(chunks)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(chunks))
    assert {i for i, character in enumerate(page) if character.isalnum()} <= covered


@settings(max_examples=100)
@given(text=st.text())
def test_frozen_text_can_be_stored_and_freezing_it_again_changes_nothing(text: str) -> None:
    frozen = freeze(text)
    frozen.encode("utf-8")
    assert "\0" not in frozen
    assert "\r" not in frozen
    assert freeze(frozen) == frozen


def test_tokenizer_counts_beyond_the_128_that_its_file_fixes() -> None:
    assert len(load_tokenizer().encode("ship " * 1000)) == 1002


def test_long_prose_is_cut_at_sentence_ends(chunker: Chunker) -> None:
    text = SENTENCE * 60
    chunks = chunker.cut(text)
    assert len(chunks) > 3
    assert all(text[start:end].endswith("boat.") for start, end in chunks)


def test_wrapped_lines_of_a_pdf_do_not_end_a_chunk_in_the_middle_of_a_sentence(chunker: Chunker) -> None:
    words = (SENTENCE * 60).split()
    lines = [" ".join(words[i : i + 11]) for i in range(0, len(words), 11)]
    text = "\n".join(lines)
    chunks = chunker.cut(text, Layout.WRAPPED)
    assert len(chunks) > 3
    assert all(text[start:end].endswith("boat.") for start, end in chunks)


def test_rows_of_a_table_keep_their_line_ends() -> None:
    table = "Revenue 10 20\nCosts 4 5\nTotal 6 15\n"
    assert unwrap(table) == table


def test_headings_begin_chunks_of_markdown(chunker: Chunker) -> None:
    text = "".join(f"# Part {i}\n\n{SENTENCE * 8}\n\n" for i in range(4))
    starts = [text[start : start + 6] for start, _ in chunker.cut(text, Layout.MARKDOWN)]
    assert starts == ["# Part"] * 4


def test_page_that_fits_is_one_chunk_without_blank_ends(chunker: Chunker) -> None:
    assert chunker.cut("\n  A short page.\n\n") == [(3, 16)]


@pytest.mark.parametrize("text", ["", " \n\t", "----- * * *"])
def test_text_without_letters_or_digits_has_no_chunks(chunker: Chunker, text: str) -> None:
    assert chunker.cut(text) == []


@pytest.mark.parametrize("run", ["x" * 50_000, "9." * 20_000, "漢字" * 10_000])
def test_unbroken_runs_are_cut_within_the_limits(chunker: Chunker, run: str) -> None:
    chunks = chunker.cut(run)
    assert "".join(run[start:end] for start, end in chunks) == run
    assert all(end - start <= MAX_CHUNK_CHARACTERS and chunker.count_tokens(run[start:end]) <= LIMIT for start, end in chunks)


def test_overlap_repeats_the_end_of_a_chunk_and_keeps_offsets_exact() -> None:
    chunker = Chunker(overlap=64)
    text = SENTENCE * 60
    chunks = chunker.cut(text)
    assert any(after[0] < before[1] for before, after in itertools.pairwise(chunks))
    assert all(chunker.count_tokens(text[start:end]) <= LIMIT for start, end in chunks)


def test_larger_chunks_hold_what_small_ones_divide() -> None:
    text = SENTENCE * 30
    assert len(CHUNKER.cut(text)) > 1
    assert len(Chunker(max_tokens=1024).cut(text)) == 1


def test_chunks_and_the_gaps_between_them_make_up_the_page(chunker: Chunker) -> None:
    page = "\n\n * * *\n\n".join([SENTENCE * 30] * 3)
    chunks = chunker.cut(page)
    ends = [None, *(end for _, end in chunks)]
    gaps = [gap_between(page, end, start) for end, (start, _) in zip(ends, chunks, strict=False)]
    assert gaps[0] is None
    assert len([gap for gap in gaps if gap and gap.isspace()]) > 1
    joined = "".join((gap or "") + page[start:end] for gap, (start, end) in zip(gaps, chunks, strict=True))
    assert joined == page[chunks[0][0] : chunks[-1][1]]


def test_a_gap_that_is_too_long_is_not_told_and_chunks_that_overlap_have_none_between_them() -> None:
    page = "a" + " " * MAX_GAP_CHARACTERS + "bc"
    assert gap_between(page, 1, 1 + MAX_GAP_CHARACTERS) == " " * MAX_GAP_CHARACTERS
    assert gap_between(page, 1, 2 + MAX_GAP_CHARACTERS) is None
    assert gap_between(page, 10, 5) == ""


@given(sizes=st.lists(st.integers(1, 9000), max_size=300))
def test_batches_hold_no_more_than_64_chunks_and_128_kib(sizes: list[int]) -> None:
    plan = BatchPlan()
    batches: dict[int, list[int]] = {}
    order = []
    for size in sizes:
        order.append(plan.place(size))
        batches.setdefault(order[-1], []).append(size)
    assert order == sorted(order)
    assert list(batches) == list(range(len(batches)))
    assert all(len(batch) <= MAX_BATCH_CHUNKS and sum(batch) <= MAX_BATCH_BYTES for batch in batches.values())
