"""Which words of a passage a statement stands on."""

from __future__ import annotations

import pytest
from docutalk_chat.domain.support import supporting_span

PASSAGE = """Share Repurchase Program
During the fourth quarter of fiscal 2022, the Company repurchased 722,457 shares of its
common stock at a cost of $328.1 million. During fiscal 2022, the Company repurchased 2.2
million shares of its common stock at a cost of $900.0 million.
Consolidated Balance Sheets
2022 2021
Total current assets $ 52,862 $ 42,380
Total liabilities 15,430,786 10,906,810
"""


def quote(statement: str) -> str | None:
    span = supporting_span(statement, PASSAGE)
    return " ".join(PASSAGE[span[0] : span[1]].split()) if span else None


def test_sentence_that_says_it_is_quoted() -> None:
    assert (
        quote("In the fourth quarter the company bought back stock for $328.1 million")
        == "During the fourth quarter of fiscal 2022, the Company repurchased 722,457 shares of its common stock at a cost of"
        " $328.1 million."
    )


def test_row_of_a_table_is_quoted() -> None:
    assert quote("Total liabilities were $15,430,786 in 2022") == "Total liabilities 15,430,786 10,906,810"


def test_rounded_and_scaled_figure_is_found_in_its_row() -> None:
    assert quote("Total current assets reached $52.9 billion in 2022") == "Total current assets $ 52,862 $ 42,380"


@pytest.mark.parametrize(
    "statement",
    [
        "The chief executive moved to Lisbon",
        "The company paid $777 million for the stock of a competitor",
        "",
        "...",
        "Total assets fell to $31.7 billion",
    ],
)
def test_statement_that_stands_nowhere_has_no_support(statement: str) -> None:
    assert quote(statement) is None


def test_statement_over_two_sentences_quotes_both() -> None:
    found = quote("The company repurchased 722,457 shares for $328.1 million in the quarter and 2.2 million for $900.0 million")
    assert found is not None
    assert "328.1" in found
    assert "900.0" in found
