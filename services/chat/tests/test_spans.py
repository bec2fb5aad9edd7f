"""Sentences and table rows as PDF text has them."""

from __future__ import annotations

from docutalk_chat.domain.spans import LONGEST_SENTENCE, SpanKind, spans
from hypothesis import given
from hypothesis import strategies as st

BALANCE_SHEET = """NETFLIX, INC.
CONSOLIDATED BALANCE SHEETS
(in thousands, except share and per share data)
As of December 31,
2017 2016
Assets
Current assets:
Cash and cash equivalents $ 2,822,795 $ 1,467,576
Short-term investments — 266,206
Total current assets 7,669,974 5,720,291
Liabilities and Stockholders’ Equity
Total current liabilities 5,466,312 4,586,657
"""

ONE_CELL_A_LINE = """Revenues
Non-interest revenues
Discount revenue
$
30,739
$
24,563
Net card fees
6,070
5,195
"""

PROSE = """The Company repurchased 722,457 shares of its
common stock at a cost of $328.1 million. During fiscal 2022, the Company
repurchased 2.2 million shares. Mr. Smith of Acme Inc. agreed, e.g. on the U.S.
market, see Fig. 3 and Note 16. “Is that all?” Yes! As of January 28,
2023, nothing remained."""


def texts(text: str, kind: SpanKind) -> list[str]:
    return [" ".join(text[span.start : span.end].split()) for span in spans(text) if span.kind is kind]


def test_rows_of_a_table_are_spans_of_their_own() -> None:
    assert texts(BALANCE_SHEET, SpanKind.ROW) == [
        "Cash and cash equivalents $ 2,822,795 $ 1,467,576",
        "Short-term investments — 266,206",
        "Total current assets 7,669,974 5,720,291",
        "Total current liabilities 5,466,312 4,586,657",
    ]


def test_row_knows_its_column_titles_and_headings() -> None:
    row = next(span for span in spans(BALANCE_SHEET) if "5,466,312" in BALANCE_SHEET[span.start : span.end])
    assert "2017 2016" in row.context
    assert "Liabilities" in row.context


def test_label_and_figures_on_lines_of_their_own_are_one_row() -> None:
    assert texts(ONE_CELL_A_LINE, SpanKind.ROW) == ["Discount revenue $ 30,739 $ 24,563", "Net card fees 6,070 5,195"]


def test_year_before_a_figure_is_the_label_of_its_row() -> None:
    assert texts("Maturities:\n2023 $ 9,279\n2024 16,252\n2025 8,706\n", SpanKind.ROW) == [
        "2023 $ 9,279",
        "2024 16,252",
        "2025 8,706",
    ]


def test_sentences_run_over_line_ends_and_not_over_abbreviations() -> None:
    assert texts(PROSE, SpanKind.SENTENCE) == [
        "The Company repurchased 722,457 shares of its common stock at a cost of $328.1 million.",
        "During fiscal 2022, the Company repurchased 2.2 million shares.",
        "Mr. Smith of Acme Inc. agreed, e.g. on the U.S. market, see Fig. 3 and Note 16.",
        "“Is that all?”",
        "Yes!",
        "As of January 28, 2023, nothing remained.",
    ]


def test_heading_is_not_glued_to_the_sentence_below() -> None:
    text = "Share Repurchase Program\nDuring the year the Company bought back shares for a total of 900 million dollars.\n"
    assert texts(text, SpanKind.LINE) == ["Share Repurchase Program"]
    assert texts(text, SpanKind.SENTENCE) == [
        "During the year the Company bought back shares for a total of 900 million dollars."
    ]


def test_bullets_are_apart() -> None:
    text = "- the first thing that was agreed, at length\n- the second thing, which goes on\n  over a line\n"
    assert texts(text, SpanKind.SENTENCE) == [
        "- the first thing that was agreed, at length",
        "- the second thing, which goes on over a line",
    ]


def test_endless_sentence_is_cut_at_spaces() -> None:
    text = "word " * 1000
    found = spans(text)
    assert all(span.end - span.start <= LONGEST_SENTENCE for span in found)
    assert " ".join(text[span.start : span.end] for span in found).split() == text.split()


LINES = st.lists(
    st.one_of(
        st.sampled_from([*BALANCE_SHEET.split("\n"), *ONE_CELL_A_LINE.split("\n"), *PROSE.split("\n"), "", "  ", "\t$ 5 %"]),
        st.text(max_size=80),
    ),
    max_size=30,
)


@given(LINES)
def test_spans_of_any_text_are_in_order_apart_and_tight(lines: list[str]) -> None:
    text = "\n".join(lines)
    end = 0
    for span in spans(text):
        quote = text[span.start : span.end]
        assert span.start >= end
        assert quote
        assert quote == quote.strip()
        end = span.end
