"""Which names in a text are places, and which of several places of one name is meant: with the gazetteer as it is shipped."""

from __future__ import annotations

import pytest
from docutalk_embed.adapters.gazetteer import load_gazetteer
from docutalk_embed.domain.place_recognition import count_places, find_places
from hypothesis import given, settings
from hypothesis import strategies as st


def named(*texts: str, language: str | None = "en") -> list[str]:
    """What the texts, parts of one document, name: `Paris FR`, `Paris US.TX`, `France`."""
    found = [one for places in find_places(texts, load_gazetteer(), language) for one in places]
    return [
        one.place.name
        if one.place.kind == "country"
        else f"{one.place.name} {one.place.country}" + (f".{one.place.region}" if one.place.country in ("US", "CA") else "")
        for one in found
    ]


PLACES = [
    ("a large city needs no reason", "Paris was warm.", ["Paris FR"]),
    ("a list of cities", "Offices: London, Tokyo, Singapore", ["London GB", "Tokyo JP", "Singapore"]),
    ("several words", "from Rio de Janeiro to Frankfurt am Main", ["Rio de Janeiro BR", "Frankfurt am Main DE"]),
    ("words over the end of a line", "a plant in Los\nAngeles", ["Los Angeles US.CA"]),
    (
        "signs within a name",
        "in Winston-Salem, in Xi'an and in St. Louis",
        ["Winston-Salem US.NC", "Xi’an CN", "St. Louis US.MO"],
    ),
    ("without its accents", "in Sao Paulo and Dusseldorf", ["São Paulo BR", "Düsseldorf DE"]),
    ("a possessive", "Berlin's mayor went to France’s south", ["Berlin DE", "France"]),
    ("something based there", "a Munich-based maker", ["Munich DE"]),
    ("a qualifier", "in central London and in Greater Manchester", ["London GB", "Manchester GB"]),
    ("a country", "Sales in Germany rose.", ["Germany"]),
    (
        "abbreviations of countries",
        "The U.S. and the UK, but also the USA.",
        ["United States", "United Kingdom", "United States"],
    ),
    ("the end of a sentence", "They left the U.S. The others knew.", ["United States"]),
    ("other names of countries", "Great Britain, the Czech Republic, Burma", ["United Kingdom", "Czechia", "Myanmar"]),
    ("cells of a table", "United States 100 Germany 200\nJapan 300", ["United States", "Germany", "Japan"]),
    ("a state behind the city", "They live in Paris, Texas.", ["Paris US.TX"]),
    ("a state in brackets", "Cambridge (Massachusetts)", ["Cambridge US.MA"]),
    ("a postal code behind the city", "Springfield, IL 62701", ["Springfield US.IL"]),
    ("the capital's district", "Washington, D.C. 20549", ["Washington US.DC"]),
    ("a province behind the city", "London, Ontario, Canada", ["London CA.08", "Canada"]),
    ("a country behind the city", "Valencia, Venezuela", ["Valencia VE", "Venezuela"]),
    ("a country near the city", "Venezuela's economy: shops in Valencia closed.", ["Venezuela", "Valencia VE"]),
    ("a city and the state of one name", "New York, New York", ["New York City US.NY"]),
    ("the city that a state is named like", "a law firm in New York", ["New York City US.NY"]),
    ("what was told once holds", "Born in Paris, Texas. Then Paris grew.", ["Paris US.TX", "Paris US.TX"]),
    ("a word with its country behind it", "Reading, England", ["Reading GB", "United Kingdom"]),
    ("a word with reasons", "He was born in Nice, in the south of France.", ["Nice FR", "France"]),
    ("a surname's city with its state", "plants in Jackson, Mississippi", ["Jackson US.MS"]),
    ("a country with a state's name near its neighbours", "Georgia, Armenia and Turkey", ["Georgia", "Armenia", "Turkey"]),
    ("a country that is a bird", "exports to Turkey and Greece", ["Turkey", "Greece"]),
    ("a university", "the University of Chicago", ["Chicago US.IL"]),
    ("capitals", "LONDON (Reuters)", ["London GB"]),
]

NO_PLACES = [
    ("a first name", "Paris Hilton was there."),
    ("a surname", "Jack London wrote it."),
    ("a surname behind an initial", "signed by Carlos A. Rodriguez and J. London"),
    ("a surname behind a title", "Mr. Lincoln and Dr. Houston agreed."),
    ("a president", "George Washington crossed the river."),
    ("a surname in the next sentence", "Jack London was young. London wrote about dogs."),
    ("a person who speaks", "“No,” Jackson said."),
    ("a word at the start of a sentence", "Reading is fun. Nice work. Most of it is done. Split it."),
    ("words in a heading", "Mobile Orange Bath Sale Police Imperial"),
    ("words in capitals", "READING AND MOBILE SALE"),
    ("a word that the text has in small letters", "The bursa is swollen. Bursa pain is common."),
    ("months", "in March, in May and in August"),
    ("a newspaper", "The New York Times reported."),
    ("an exchange", "listed on the London Stock Exchange"),
    ("a bank", "The Bank of England and the Bank of China decided."),
    ("a company", "Boston Scientific, Phoenix Inc. and Paris & Sons"),
    ("an airline", "Air France and China Eastern fly."),
    ("a duke", "the Duke of Wellington"),
    ("a pronoun", "Please tell us. CONTACT US TODAY"),
    ("a state", "incorporated in Delaware, with plants in Texas, Oklahoma, and Georgia"),
    ("a state that is a city's namesake", "in Washington state"),
    ("an unknown namesake", "Vienna, Oregon"),
    ("continents", "in Asia and Europe"),
    ("a building", "from the White House"),
    ("a sea", "in the Gulf of Mexico and the South China Sea"),
    ("a part of a country that is called like another", "in Inner Mongolia; 内蒙古"),
    ("a country's namesakes", "Michael Jordan; Chad said so; guinea pigs in a new jersey"),
    ("part of a word", "Parisian Germanys McParis"),
    ("small letters", "paris, france"),
    ("a law and a bond", "under 15 U.S.C. 7262 and US30YT"),
    ("numbers", "2024 3M 100%"),
    ("nothing", ""),
]


@pytest.mark.parametrize(("text", "expected"), [pytest.param(text, found, id=name) for name, text, found in PLACES])
def test_places_are_found(text: str, expected: list[str]) -> None:
    assert named(text) == expected


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in NO_PLACES])
def test_what_only_looks_like_a_place_is_none(text: str) -> None:
    assert named(text) == []


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("de", "Deutschlands Werke in München, Köln und Essen", ["Germany", "Munich DE", "Köln DE", "Essen DE"]),
        ("de", "Der Raum Stuttgart und die Schweiz", ["Stuttgart DE", "Switzerland"]),
        ("de", "Das Essen war gut, die Halle groß.", []),
        ("fr", "Il habite à Lyon, aux États-Unis ou en Allemagne.", ["Lyon FR", "United States", "Germany"]),
        ("es", "Trabaja en Sevilla, España.", ["Sevilla ES", "Spain"]),
        ("pt", "Fica em Lisboa, Portugal.", ["Lisbon PT", "Portugal"]),
        ("it", "Vive a Roma, in Italia.", ["Rome IT", "Italy"]),
        ("ru", "Наш офис: город Москва.", ["Moscow RU"]),
        ("zh", "我住在北京和上海，德国很远。", ["Beijing CN", "Shanghai CN", "Germany"]),
        ("ja", "東京都とドイツに行く。アメリカンではない。", ["Tokyo JP", "Germany"]),
        (None, "An office in Berlin, Germany", ["Berlin DE", "Germany"]),
        # What a country is called in German is a word of another language elsewhere.
        ("en", "Island Polen", []),
        ("de", "Island und Polen", ["Iceland", "Poland"]),
    ],
)
def test_languages_have_names_of_their_own(language: str | None, text: str, expected: list[str]) -> None:
    assert named(text, language=language) == expected


def test_parts_of_a_document_tell_each_other_which_place_is_meant() -> None:
    assert named("The mill in Paris, Texas.", "Paris has a mill.") == ["Paris US.TX", "Paris US.TX"]
    assert named("A story by Jack London.", "London was born poor.") == []


def test_mentions_are_counted_in_each_text() -> None:
    counts = count_places(["Paris, Paris and Rome", "nothing", "Rome"], load_gazetteer(), "en")
    assert [{place.name: count for place, count in one.items()} for one in counts] == [{"Paris": 2, "Rome": 1}, {}, {"Rome": 1}]


words = st.sampled_from(
    [
        "Paris",
        "Texas",
        ",",
        ", ",
        "in",
        " ",
        "\n",
        "U.S.",
        "St. Louis",
        "New",
        "York",
        "of",
        "東京",
        "ドイツ",
        "Mr.",
        "(",
        "'s",
        "-",
        "MA",
        "İ",
        "ß",
    ]
)


@settings(max_examples=150)
@given(
    st.lists(st.lists(words | st.text(max_size=6), max_size=12).map("".join), max_size=3),
    st.sampled_from([None, "en", "de", "ja"]),
)
def test_any_text_is_read_and_every_place_found_stands_where_it_is_said_to(texts: list[str], language: str | None) -> None:
    gazetteer = load_gazetteer()
    found = find_places(texts, gazetteer, language)
    assert len(found) == len(texts)
    for text, places in zip(texts, found, strict=True):
        ends = [0, *(one.end for one in places)]
        for before, one in zip(ends, places, strict=False):
            assert before <= one.start < one.end <= len(text)
            assert one.place.kind in ("city", "country")
    assert find_places(texts, gazetteer, language) == found
