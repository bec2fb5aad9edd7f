"""What a query asks of the words of a passage, and where they are marked in one."""

from __future__ import annotations

import contextlib
import re

import pytest
from docutalk_common.contracts.embed import Highlight
from docutalk_embed.domain import InvalidQuery, Lexeme, keyword_query
from docutalk_embed.domain.languages import configuration_of
from docutalk_embed.domain.marking import Marker
from docutalk_embed.domain.words import (
    MAX_PARTS,
    MAX_PHRASE_CHARACTERS,
    MAX_WORDS_WITH_SIGNS,
    ParsedQuery,
    parse_query,
    pattern_of,
    take_identifiers,
)
from hypothesis import example, given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("query", "text", "phrases", "no_words", "no_phrases"),
    [
        ('pumps "exact phrase" now', "pumps exact phrase now", ["exact phrase"], [], []),
        ("“typographic” „deutsch“ «français» ”svenska”", "typographic deutsch français svenska", None, [], []),
        ("请问“北京大学”在哪 -上海", "请问 北京大学 在哪", ["北京大学"], ["上海"], []),
        ('pumps -valve -"a b" -“c d”', "pumps", [], ["valve"], ["a b", "c d"]),
        ("pumps -valve, (-seal) -SKU-4711.", "pumps (", [], ["valve", "seal"], ["SKU-4711"]),
        ('"unbalanced phrase', '"unbalanced phrase', [], [], []),
        ('one "two" three"', 'one two three"', ["two"], [], []),
        ('5" pipe and 3" valve', '5" pipe and 3" valve', [], [], []),
        ('"" pumps "?!"', "pumps ?!", [], [], []),
        ("-5 degrees", "-5 degrees", [], [], []),
        ("profit -3.5 % in 2024", "profit -3.5 % in 2024", [], [], []),
        ("state-of-the-art - or not --flag", "state-of-the-art - or not --flag", [], [], []),
        ("dash — there, semi-dry -", "dash — there, semi-dry -", [], [], []),
    ],
)
def test_signs_of_a_query(query: str, text: str, phrases: list[str] | None, no_words: list[str], no_phrases: list[str]) -> None:
    parsed = parse_query(query)
    assert parsed.text == text
    assert list(parsed.phrases) == (text.split() if phrases is None else phrases)
    assert (list(parsed.excluded_words), list(parsed.excluded_phrases)) == (no_words, no_phrases)


@pytest.mark.parametrize("query", ["-valve", '-"a b"', "-valve -seal", ' -"x" '])
def test_a_query_of_exclusions_only_is_refused_with_what_to_do(query: str) -> None:
    with pytest.raises(InvalidQuery, match="add what to look for"):
        parse_query(query)


def test_too_many_or_too_long_conditions_are_refused_with_the_limit() -> None:
    assert len(parse_query("x " + "-no " * MAX_PARTS).excluded_words) == MAX_PARTS
    with pytest.raises(InvalidQuery, match="at most 16"):
        parse_query("x " + "-no " * (MAX_PARTS + 1))
    with pytest.raises(InvalidQuery, match="1,000 characters"):
        parse_query(f'"{"x" * (MAX_PHRASE_CHARACTERS + 1)}"')


def test_a_long_text_is_prose_whose_quotation_marks_ask_for_nothing() -> None:
    prose = 'He said "not this" -and that ' + "word " * MAX_WORDS_WITH_SIGNS
    parsed = parse_query(prose)
    assert (parsed.phrases, parsed.excluded_words, parsed.text) == ((), (), prose.strip())


@pytest.mark.parametrize(
    ("query", "spellings"),
    [
        ("SKU-4711", [("sku-4711", "sku 4711", "sku4711")]),
        ("sku 4711 in stock", [("sku 4711", "sku-4711", "sku4711")]),
        ("what is E300?", [("e300", "e-300", "e 300")]),
        ("§12 Abs. 3", [("§ 12",)]),
        ("§§ 12a", [("§ 12a",)]),
        ("ISO 9001:2015", [("iso 9001:2015", "iso-9001:2015", "iso9001:2015")]),
        ("AB/12-3 or 4711-A", [("ab/12-3",), ("or 4711-a", "or-4711-a", "or4711-a", "4711-a")]),
        ("v1.2.3", [("v1.2.3", "v-1.2.3", "v 1.2.3")]),
        ("SKU–4711", [("sku-4711", "sku 4711", "sku4711")]),
        ("mail Max.Muster@firma-x.de now", [("max.muster@firma-x.de",)]),
        (
            "on 2024-05-06 at 12:30",
            [("on 2024-05-06", "on-2024-05-06", "on2024-05-06", "2024-05-06"), ("at 12:30", "at-12:30", "at12:30")],
        ),
        ("2024, 3.5 and 1,000 were: 12", []),
        ("state-of-the-art and U.S. sales", []),
    ],
)
def test_identifiers_of_a_query(query: str, spellings: list[tuple[str, ...]]) -> None:
    assert [identifier.spellings for identifier in parse_query(query).identifiers] == spellings


@given(st.text(st.sampled_from("ab1 -\"“”„«».,§@/:'\\()\n\t*&|!<>\x00é北京") | st.characters(), max_size=60))
@example('-""')
@example('"' * 33)
def test_any_text_is_parsed_or_refused_with_a_reason(query: str) -> None:
    with contextlib.suppress(InvalidQuery):
        check_parts(parse_query(query))


def check_parts(parsed: ParsedQuery) -> None:
    """Nothing in it is empty, and each phrase is found where it came from."""
    assert parsed.text.strip()
    for phrase in (*parsed.phrases, *parsed.excluded_phrases, *parsed.excluded_words):
        assert any(character.isalnum() for character in phrase)
        assert re.search(pattern_of(phrase), phrase, re.IGNORECASE)


@pytest.mark.parametrize(
    ("phrase", "there", "absent"),
    [
        ("net revenue", "The NET\n  Revenue rose", "net revenues rose"),
        ("Größe", "die größe.", "Größen"),
        ("über", "Das »über« steht", "darüber"),
        ("(see § 12)", "as (See §12) says", "see § 12"),
        ("it's", "it’s here", "its here"),
        ("state-of-the-art", "a state‑of–the-art pump", "state of the art"),
        ("北京", "我在北京大学", "我在北方京都"),
        ("C++", "in C++, mostly", "in C+"),
        ("12", "item 12.", "item 123 of A12"),
        ("a*b.c", "is a*b.c there", "is aab c there"),
    ],
)
def test_a_phrase_stands_there_as_it_is_between_the_ends_of_words(phrase: str, there: str, absent: str) -> None:
    pattern = re.compile(pattern_of(phrase), re.IGNORECASE)
    assert pattern.search(there)
    assert not pattern.search(absent)


def test_marks_join_what_overlaps_and_keep_neighbours_apart() -> None:
    marker = Marker(
        parse_query('"pump house" SKU-4711 北京大学'), ["pump", "hous", "sku-4711", "sku", "4711", "北京", "京大", "大学", "北"]
    )
    text = "Pump house, SKU-4711; SKU and 北京大学。北"
    found = marker.mark(text, {"Pump", "house", "SKU", "4711"})
    assert [text[mark.start : mark.end] for mark in found] == ["Pump house", "SKU-4711", "SKU", "北京大学"]
    assert found[0] == Highlight(start=0, end=10)


@pytest.mark.parametrize(
    ("language", "text", "config"),
    [
        ("de", "Pumpen", "german"),
        ("EN", "Pumps", "english"),
        ("nb", "pumper", "norwegian"),
        ("zh", "北京", "simple"),
        ("pl", "pompy", "simple"),
        (None, "Pump 12 — “new”", "english"),
        (None, "Größe 12", "simple"),
        (None, "泵", "simple"),
    ],
)
def test_configuration_of_a_text(language: str | None, text: str, config: str) -> None:
    assert configuration_of(language, text) == config


def test_forms_of_a_word_in_several_languages_choose_candidates_as_one() -> None:
    words = [
        Lexeme("syst", 1, 300_000, word="systeme"),
        Lexeme("system", 2, 100_000, word="systeme"),
        Lexeme("haus", 3, 30_000, word="haus"),
    ]
    query = keyword_query(words, 1_000_000, 1_000_000)
    assert query is not None
    assert query.candidates == "'haus' & ('system' | 'syst')"


@pytest.mark.parametrize("signs", ["." * 100_000, "_" * 100_000, "a." * 50_000 + "_", "-%+" * 30_000])
def test_long_rows_of_signs_are_read_once_and_are_no_address(signs: str) -> None:
    rest, identifiers = take_identifiers(f"{signs} x name.of+one@example.com")
    assert (rest.strip(), [one.spellings for one in identifiers]) == (f"{signs} x", [("name.of+one@example.com",)])


@pytest.mark.parametrize("signs", ['""', "“”", '"…"', "“ ”„"])
def test_quotation_marks_around_no_word_are_looked_for_like_other_signs(signs: str) -> None:
    parsed = parse_query(signs)
    assert parsed.text
    assert not parsed.phrases


def test_names_of_one_word_are_marked_as_words_and_those_with_signs_by_themselves() -> None:
    parsed = parse_query("E300 SKU-4711")
    marker = Marker(parsed, ["e300", "sku-4711"])
    text = "E300 is none of SKU-4711."
    assert [text[mark.start : mark.end] for mark in marker.mark(text, {"E300"})] == ["E300", "SKU-4711"]
    assert [text[mark.start : mark.end] for mark in marker.mark(text, set())] == ["SKU-4711"]
