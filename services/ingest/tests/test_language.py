"""Which language a text is in: right on a sentence of prose, and silent where there is none."""

from __future__ import annotations

import pytest
from docutalk_ingest.adapters.language import SAMPLE_CHARACTERS, detect_language, language_of_tag


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("All human beings are born free and equal in dignity and rights.", "en"),
        ("Alle Menschen sind frei und gleich an Würde und Rechten geboren.", "de"),
        ("Tous les êtres humains naissent libres et égaux en dignité et en droits.", "fr"),
        ("Todos los seres humanos nacen libres e iguales en dignidad y derechos.", "es"),
        ("Все люди рождаются свободными и равными в своем достоинстве и правах.", "ru"),
        ("يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.", "ar"),
        ("人人生而自由,在尊严和权利上一律平等。", "zh"),
        ("これはテストです", "ja"),
    ],
)
def test_one_sentence_tells_its_language(text: str, language: str) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize(
    "text",
    ["", "Hello", "1,204\t17.5\t2024-01-31", "https://example.com/a/long/address/of/nothing", "Blues\tSTL\t1\nFlyers\tPHI\t2"],
)
def test_what_is_no_prose_has_no_language(text: str) -> None:
    assert detect_language(text) is None


def test_only_the_beginning_of_a_long_text_counts() -> None:
    english = "The harbour master wrote down every ship and what it carried. "
    german = "Der Hafenmeister schrieb jedes Schiff und seine Ladung auf. "
    assert detect_language(english * (SAMPLE_CHARACTERS // len(english) + 1) + german * 5_000) == "en"


@pytest.mark.parametrize(
    ("tag", "language"),
    [("en-US", "en"), ("DE", "de"), ("zh_Hans", "zh"), ("x-none", None), ("und", None), ("", None), (None, None)],
)
def test_declared_language_becomes_a_code_of_two_letters(tag: str | None, language: str | None) -> None:
    assert language_of_tag(tag) == language
