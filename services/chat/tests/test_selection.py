"""What the extractive answerer chooses."""

from __future__ import annotations

import pytest
from docutalk_chat.domain.answers import Source
from docutalk_chat.domain.selection import MOST_COMPARED, MOST_SPANS, candidates, select, unnamed
from docutalk_chat.domain.words import stem, tokens
from docutalk_common.contracts.embed import Passage, PassageScores
from hypothesis import given
from hypothesis import strategies as st

from .factories import passage

BALANCE_SHEET = """CONSOLIDATED BALANCE SHEETS
As of December 31,
2017 2016
Current assets:
Cash and cash equivalents $ 2,822,795 $ 1,467,576
Total current assets 7,669,974 5,720,291
Total assets $ 19,012,742 $ 13,586,610
Current liabilities:
Accounts payable 359,555 312,842
Total current liabilities 5,466,312 4,586,657
Total liabilities 15,430,786 10,906,810
"""
PROSE = """Merchandise inventories, net at the end of the fourth quarter of fiscal 2022 totaled $1.6
billion compared to $1.5 billion at the end of the fourth quarter of fiscal 2021. The $104.2
million increase was primarily due to the opening of 47 new stores since January 29, 2022.
The weather was fine. Our founder likes horses and long walks by the sea.
"""


def answer(question: str, *passages: Passage) -> list[str]:
    sources = [Source(number, found) for number, found in enumerate(passages, start=1)]
    return [" ".join(chosen.text.split()) for chosen in select(candidates(question, sources))]


def test_question_about_a_figure_gets_its_row() -> None:
    found = answer(
        "What were Netflix's total current liabilities at the end of FY2017? Answer in USD thousands.",
        passage(PROSE, filename="ULTA_2023.pdf"),
        passage(BALANCE_SHEET, filename="NETFLIX_2017_10K.pdf"),
    )
    assert found[0] == "Total current liabilities 5,466,312 4,586,657"


def test_question_about_a_reason_gets_its_sentence() -> None:
    found = answer("Why did merchandise inventories increase?", passage(PROSE))
    assert "The $104.2 million increase was primarily due to the opening of 47 new stores since January 29, 2022." in found
    assert not any("horses" in text for text in found)


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("What was Tesla's revenue in 2022?", ["Tesla"]),
        ("How did Toyota and Tesla do in the year?", ["Toyota", "Tesla"]),
        ("What was the revenue of Verizon in 2022?", []),
        ("What is Netflix's revenue?", []),
        # One of them is here.
        ("How does Tesla compare with Verizon in the market?", []),
        # No names: the beginning of a sentence, months, abbreviations, and nouns of another language.
        ("What happened in March? How is the revenue?", []),
        ("What is the revenue in USD under GAAP?", []),
        # A small word that is written large.
        ("According to the report, What was the revenue? Also, Please say who did it.", []),
        ("What is the revenue of Tesla, and what that of Tesla in May?", ["Tesla"]),
        ("Wie hoch war der Umsatz von Tesla im Jahr?", []),
    ],
)
def test_names_that_no_source_says_are_told(question: str, names: list[str]) -> None:
    sources = [
        Source(1, passage("Revenue of Verizon rose in 2022.", filename="10-K.pdf")),
        Source(2, passage("Revenue rose.", filename="NETFLIX_2017_10K.pdf")),
    ]
    assert unnamed(question, sources) == names


def test_row_of_the_company_that_is_named_comes_first() -> None:
    found = answer(
        "What were the total liabilities of Verizon?",
        passage("Year 2022 2021\nTotal liabilities 1,000 2,000\nTotal assets 3,000 4,000\n", filename="COSTCO_10K.pdf"),
        passage("Year 2022 2021\nTotal liabilities 5,000 6,000\nTotal assets 7,000 8,000\n", filename="VERIZON_10K.pdf"),
    )
    assert found[0] == "Total liabilities 5,000 6,000"


def test_what_overlapping_passages_both_hold_comes_once() -> None:
    whole = passage(PROSE)
    second = whole.model_copy(update={"start": 40, "text": PROSE[40:]})
    found = answer("Why did merchandise inventories increase?", whole, second)
    assert len(found) == len(set(found))


def test_sentence_that_says_the_same_again_is_left_out() -> None:
    text = "The harvest was 412 tonnes. " * 3 + "The harvest was sold in May."
    found = answer("How large was the harvest?", passage(text))
    assert found.count("The harvest was 412 tonnes.") == 1


def test_nothing_is_chosen_when_no_passage_is_near_in_meaning() -> None:
    far = passage("Capital levels of the Company are adequate.").model_copy(update={"scores": PassageScores(semantic=0.2)})
    assert answer("What is the capital of Mongolia?", far) == []


def test_nothing_is_chosen_from_nothing() -> None:
    assert answer("What?") == []
    assert answer("", passage(PROSE)) == []
    assert answer("What is it?", passage("   ")) == []


def test_words_are_compared_without_endings_and_grouping() -> None:
    assert {stem(word) for word in ("increase", "increases", "increased", "increasing")} == {"increas"}
    assert tokens("The FY2022 totals: $1,234,567.50") == ["fy", "2022", "total", "1234567.50"]


@given(st.text(max_size=60), st.lists(st.text(max_size=300), max_size=5))
def test_choice_is_verbatim_small_and_never_fails(question: str, texts: list[str]) -> None:
    sources = [Source(number, passage(text)) for number, text in enumerate(texts, start=1)]
    found = candidates(question, sources)
    assert len(found) <= MOST_COMPARED
    chosen = select(found, [0.9] * len(found))
    assert len(chosen) <= MOST_SPANS
    for one in chosen:
        assert one.text == one.source.passage.text[one.span.start : one.span.end]
        assert one.text.strip()
