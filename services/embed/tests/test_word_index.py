"""Words in PostgreSQL: identifiers, phrases and exclusions, languages, what is counted, and marks; through whole searches."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable
from uuid import UUID

import pytest
from docutalk_common.contracts.embed import Passage, SearchMode
from docutalk_embed.domain.languages import CONFIGURATIONS
from docutalk_embed.domain.words import UNSPACED, UNSPACED_RANGES, parse_query
from sqlalchemy import text

from .conftest import Indexed


async def add(indexed: Indexed, texts: list[str], language: str | None = None) -> UUID:
    """A document in a language."""
    batches = indexed.batches(texts)
    for work in batches:
        await indexed.index(work.model_copy(update={"language": language}))
    return batches[0].document_id


async def found(indexed: Indexed, query: str, mode: SearchMode = SearchMode.KEYWORD) -> list[str]:
    """The texts, best first."""
    return [passage.text for passage in (await indexed.search(query, mode=mode, limit=100)).passages]


def marked(passage: Passage) -> list[str]:
    """The marked parts of its text."""
    return [passage.text[mark.start : mark.end] for mark in passage.highlights]


NOISE = [
    "Roses should be cut back in early spring, and 12 of them were.",
    "SKU SKU SKU: 4711 pieces of every SKU were counted, SKU by SKU.",
    "The law of 1994 has 12 parts, Abs. 3 and Art. 12 among them.",
]


@pytest.mark.parametrize(
    ("query", "right", "wrong"),
    [
        (
            "SKU-4711",
            ["The pump SKU-4711 is out of stock until the end of the year, as the supplier wrote."],
            ["SKU-4712", "SKU 47110"],
        ),
        ("sku-4711", ["Order SKU-4711."], ["Order SKU-47110.", "Order SKU-4712."]),
        (
            "§ 12",
            ["Nach § 12 haftet der Mieter.", "Siehe §12 des Gesetzes."],
            ["Nach § 13 haftet niemand.", "Siehe § 1, 12 Mal."],
        ),
        ("§12 Abs. 3", ["Gemäß § 12 Abs. 3 gilt das nicht."], ["Gemäß § 3 Abs. 12 gilt das.", "§ 13 Abs. 3"]),
        ("§ 14", ["Die §§ 12, 13 und 14 BGB."], ["Die 14 Räuber."]),
        ("ISO 9001:2015", ["Certified by ISO 9001:2015 since May."], ["ISO 9002:2015", "ISO 14001:2015 and 9001"]),
        ("iso 9001", ["Certified by ISO 9001:2015 since May."], ["ISO 9002 and 9001 others"]),
        ("AB/12-3", ["Valve AB/12-3 leaks."], ["Valve AB/12-4 leaks.", "AB 12 and 3"]),
        ("v1.2.3", ["Fixed in v1.2.3 of the tool."], ["Fixed in v1.2.4.", "Fixed in v11.2.3."]),
        ("part 4711-A", ["The part 4711-A fits."], ["The part 4711-B fits.", "Part A of 4711"]),
        ("max.muster@firma.de", ["Write to max.muster@firma.de soon."], ["Write to max.meier@firma.de soon.", "firma.de"]),
        ("SKU 4711", ["Order SKU-4711."], ["Order SKU-4712.", "Order SKU 47110."]),
        ("COVID–19", ["It was COVID-19."], ["It was COVID-20."]),
    ],
)
async def test_an_identifier_is_found_exactly_before_what_is_like_it(
    indexed: Indexed, query: str, right: list[str], wrong: list[str]
) -> None:
    await indexed.add([*wrong, *NOISE, *right])
    for mode in (SearchMode.KEYWORD, SearchMode.HYBRID):
        assert set((await found(indexed, query, mode))[: len(right)]) == set(right)


async def test_words_within_signs_of_any_kind_are_found(indexed: Indexed) -> None:
    texts = [
        "the “pumps” — valves… and/or «seals»",
        "end.Next sentence",
        "<b>bold</b> move",
        "a SKU-4711",
        "Donau\u00addampf",
        "~home rock´n´roll",
    ]
    await indexed.add(texts)
    for query, place in {
        "pump": 0,
        "valve": 0,
        "seal": 0,
        "next": 1,
        "bold": 2,
        "4711": 3,
        "donaudampf": 4,
        "home": 5,
        "rock": 5,
    }.items():
        assert await found(indexed, query) == [texts[place]]


async def test_a_phrase_must_stand_in_a_passage_in_every_mode(indexed: Indexed) -> None:
    right = ["The Net\n Revenue rose.", "Of net revenue, “net revenue” and more."]
    await indexed.add([*right, "Revenue, net of tax, rose.", "Our net revenues rose."])
    for mode in SearchMode:
        assert set(await found(indexed, '"net revenue"', mode)) == set(right)
        assert await found(indexed, 'rose "net revenue" "and more"', mode) == right[1:]
        assert await found(indexed, '"revenue net"', mode) == []


@pytest.mark.parametrize(
    "phrase", ["to be or not", "(§ 12)", "C++ it is", "SKU-4711", "über", "北京", "3.5 %", "it's", "co-op's"]
)
async def test_phrases_of_stop_words_signs_and_other_scripts_are_found(indexed: Indexed, phrase: str) -> None:
    passage = "We say to be or not (§12), as C++ it is; SKU-4711 über 我在北京大学 3.5 % it’s the co-op's."
    await indexed.add([passage, "Darüber be it, to C or 12 SKU 4711 京北 3 5 its co op."])
    assert await found(indexed, f'"{phrase}"', SearchMode.SEMANTIC) == [passage]
    assert await found(indexed, f'say "{phrase}"') == [passage]


async def test_a_phrase_of_nothing_but_stop_words_is_found_in_every_mode(make_indexed: Callable[[], Indexed]) -> None:
    indexed, other = make_indexed(), make_indexed()
    await indexed.add(["That is it: to be, or not to be at all.", "It is not as it was to be.", "Pumps."])
    await other.add(["To be, or not to be."])
    for mode in SearchMode:
        assert await found(indexed, '"to be, or not"', mode) == ["That is it: to be, or not to be at all."]
    assert len(await found(indexed, '"to be"')) == 2
    assert await found(indexed, '"to be" -"not as"') == ["That is it: to be, or not to be at all."]
    assert await found(indexed, "to be") == []


async def test_exclusions_leave_passages_out_in_every_mode(indexed: Indexed) -> None:
    texts = ["pump and valve", "pump and valves", "pump and seal", "pump, SKU-4711", "pump in the garden house"]
    await indexed.add(texts)
    for mode in SearchMode:
        assert set(await found(indexed, "pump -valve", mode)) == {*texts[2:]}
        assert set(await found(indexed, 'pump -"valve"', mode)) == {*texts[1:]}
        assert set(await found(indexed, 'pump -SKU-4711 -"garden house"', mode)) == {*texts[:3]}
        assert set(await found(indexed, "pump -the", mode)) == {*texts[:4]}
        assert len(await found(indexed, "pump -5", mode)) == 5


async def test_a_document_is_read_in_its_own_language(indexed: Indexed) -> None:
    german = "Die Brücken über die Flüsse wurden erneuert."
    await add(indexed, [german], "de")
    await add(indexed, ["The bridges were renewed.", "The die was cast."], "en")
    assert await found(indexed, "eine Brücke am Fluss") == [german]
    assert await found(indexed, "bridge") == ["The bridges were renewed."]
    # "die" and "der" say that the query is German: no passage is found for its stop words, whatever the language.
    assert await found(indexed, "die Farbe der Autos") == []
    # By itself it may be the English one.
    assert await found(indexed, "die") == ["The die was cast."]


async def test_a_word_that_is_a_stop_word_of_a_rarer_language_only_is_found(indexed: Indexed) -> None:
    await add(indexed, ["The hat was lost in the cold war.", "It was a cold day.", "Nobody knew."], "en")
    await add(indexed, ["Der Hut war weg, und niemand hat ihn gesehen."], "de")
    assert await found(indexed, "hat") == ["The hat was lost in the cold war."]
    assert (await found(indexed, "cold war"))[0] == "The hat was lost in the cold war."
    assert await found(indexed, "wer hat das and not der Hut") == ["Der Hut war weg, und niemand hat ihn gesehen."]


async def test_words_of_a_language_without_word_forms_are_found_as_they_are(indexed: Indexed) -> None:
    await add(indexed, ["Pompa wody została naprawiona."], "pl")
    assert len(await found(indexed, "pompa")) == 1
    assert await found(indexed, "pompy") == []


async def test_chinese_japanese_korean_and_thai_are_found_by_their_words(make_indexed: Callable[[], Indexed]) -> None:
    texts = {
        "zh": ["北京大学今天发布了新的研究报告。", "北方的京剧团在大城市学习。"],
        "ja": ["東京都は新しい橋を建設する。", "京都の東にある古い寺。"],
        "ko": ["서울은 대한민국의 수도이다.", "울산의 서쪽 항구."],
        "th": ["กรุงเทพมหานครเป็นเมืองหลวง", "เชียงใหม่อยู่ทางเหนือ"],
    }
    queries = {"zh": "北京大学", "ja": "東京", "ko": "서울", "th": "กรุงเทพ"}
    indexed = make_indexed()
    for language, listed in texts.items():
        await add(indexed, listed, language)
    for language, query in queries.items():
        assert (await found(indexed, query))[0] == texts[language][0]
        assert await found(indexed, f'"{query}"') == texts[language][:1]


@pytest.mark.parametrize(
    ("language", "passage", "query", "expected"),
    [
        ("de", "Größe: 12 Brücken über die Straße.", "Brücke die Straßen", ["Brücken", "Straße"]),
        ("en", "See “pumps” in ISO 9001:2015, §12 and ISO 14001.", "pump § 12 iso 9001", ["pumps", "ISO 9001", "§12", "ISO"]),
        ("zh", "北京大学在北京。", "北京", ["北京", "北京"]),
        ("en", "The net  revenue of the net.", '"net revenue"', ["net  revenue", "net"]),
        ("en", "state-of-the-art pump-house", "art house", ["art", "house"]),
        ("fr", "L’économie française d’aujourd'hui", "économies", ["économie"]),
    ],
)
async def test_marks_are_those_of_the_passages_language(
    indexed: Indexed, language: str, passage: str, query: str, expected: list[str]
) -> None:
    await add(indexed, [passage], language)
    [shown] = (await indexed.search(query)).passages
    assert marked(shown) == expected


async def test_counts_of_several_languages_are_gone_with_their_documents(indexed: Indexed) -> None:
    kept = await add(indexed, ["pumps and SKU-4711", "Größe"])
    before = await indexed.counts()
    gone = await add(indexed, ["Pumpen und Brücken, SKU-4711"], "de")
    assert (await indexed.counts())[1]["sku-4711"] == 2
    assert await configurations(indexed) == {"english": 1, "simple": 1, "german": 1}
    await indexed.delete(gone)
    assert await indexed.counts() == before
    await indexed.delete(kept)
    assert await indexed.counts() == (0, {})
    assert await configurations(indexed) == {}


async def configurations(indexed: Indexed) -> dict[str, int]:
    """How many chunks of the workspace are read with each configuration."""
    async with indexed.db.read() as session:
        statement = text("SELECT config, chunk_count FROM configurations WHERE workspace_id = :workspace_id")
        return {row[0]: row[1] for row in await session.execute(statement, {"workspace_id": indexed.workspace_id})}


async def test_chunks_with_as_many_different_words_as_there_can_be_are_stored(indexed: Indexed) -> None:
    chance = random.Random(3)
    ideographs = "".join(map(chr, range(0x4E00, 0x4E00 + 2000)))
    thai = "".join(chance.choice([chr(code) for code in range(0xE01, 0xE3B)]) for _ in range(2000))
    names = " ".join(f"{chr(97 + n % 26)}{n}-{n}" for n in range(250))
    words = " ".join(f"{a}{b}" for a in "abcdefghijklmnopqrstuvwxyz" for b in "abcdefghijklmnopqrstuvwxyz0")[:2000]
    await indexed.add([ideographs, thai, names, words])
    assert await found(indexed, '"z25-25"') == [names]


async def test_every_configuration_that_postgresql_ships_has_its_languages(indexed: Indexed) -> None:
    async with indexed.db.read() as session:
        shipped = set((await session.execute(text("SELECT cfgname FROM pg_ts_config"))).scalars())
    assert {*CONFIGURATIONS.values(), "simple"} == shipped


async def test_queries_name_identifiers_as_the_index_has_them(indexed: Indexed) -> None:
    listed = ["SKU-4711", "§ 12a", "ISO 9001:2015", "AB/12-3", "v1.2.3", "a.b@c.de", "4711-A", "2024-05-06", "snake_2_x", "Ü-5"]
    async with indexed.db.read() as session:
        for name in listed:
            stored = await session.scalar(text("SELECT identifiers(:name)"), {"name": f"See {name}, please."})
            [identifier] = parse_query(name).identifiers
            assert identifier.spellings[0] in stored
        for number in ("2024", "3.5", "12:30", "1,000", "12-month"):
            assert await session.scalar(text("SELECT identifiers(:name)"), {"name": f"of {number} of"}) == []


async def test_scripts_without_spaces_are_the_same_for_the_index_and_for_marks(indexed: Indexed) -> None:
    edges = [ord(edge) + step for edge in UNSPACED_RANGES.replace("-", "") for step in (-1, 0, 1)]
    codes = {*range(0x20, 0xD800, 11), *range(0xF900, 0x10000, 11), *edges}
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    async with indexed.db.read() as session:
        separated = await session.execute(
            text("SELECT c FROM unnest(CAST(:characters AS text[])) AS c WHERE separated_text(c) = ' ' || c || ' '"),
            {"characters": characters},
        )
        told = set(separated.scalars())
    assert all(UNSPACED.match(character) for character in told)
    # The others are written otherwise since Unicode has a plainer form of them.
    assert {c for c in characters if UNSPACED.match(c) and unicodedata.is_normalized("NFKC", c)} == told
