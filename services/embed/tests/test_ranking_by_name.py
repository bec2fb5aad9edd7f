"""What the name of a document adds to a ranking, and what it must not take away."""

from __future__ import annotations

from uuid import UUID

import pytest
from docutalk_common.contracts.embed import SearchFilters, SearchMode
from docutalk_embed.domain.names import MAX_NAMED, NO_NAMES, NameWord, names_to_look_for, weigh_names
from sqlalchemy import text

from .conftest import Indexed

TAXES = ["Income taxes were 2.1 billion.", "The effective rate was 21 percent."]
A, B, C = UUID(int=1), UUID(int=2), UUID(int=3)


async def reports(indexed: Indexed) -> dict[str, UUID]:
    """Three reports that say the same things of different companies and years."""
    names = ["NORTHWIND_2021_10K.pdf", "NORTHWIND_2022_10K.pdf", "CONTOSOFOODS_2022_10K.pdf"]
    return {
        name: await indexed.add([f"{line} Item {number}." for line in TAXES], filename=name) for number, name in enumerate(names)
    }


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("What were Northwind's income taxes in FY2021?", "NORTHWIND_2021_10K.pdf"),
        ("income taxes of northwind 2022", "NORTHWIND_2022_10K.pdf"),
        ("How much did Contoso Foods pay in income taxes?", "CONTOSOFOODS_2022_10K.pdf"),
    ],
)
async def test_the_document_that_a_query_names_comes_first(indexed: Indexed, query: str, name: str) -> None:
    documents = await reports(indexed)
    first, *others = (await indexed.search(query)).passages
    assert first.document_id == documents[name]
    assert "taxes" in first.text
    assert first.scores.name == pytest.approx(1)
    assert all((passage.scores.name or 0) < 1 for passage in others if passage.document_id != documents[name])


async def test_a_renamed_document_is_found_by_its_new_name_only(indexed: Indexed) -> None:
    documents = await reports(indexed)
    renamed = documents["NORTHWIND_2021_10K.pdf"]
    await indexed.rename(renamed, "Fabrikam annual report.pdf")
    assert (await indexed.search("income taxes of Fabrikam")).passages[0].document_id == renamed
    named = {p.document_id for p in (await indexed.search("income taxes of Northwind")).passages if p.scores.name}
    assert named == {documents["NORTHWIND_2022_10K.pdf"]}


async def test_a_title_names_a_document_too(indexed: Indexed) -> None:
    await reports(indexed)
    [work] = indexed.batches(TAXES, filename="scan0001.pdf")
    await indexed.index(work.model_copy(update={"title": "Tailspin Toys: Annual Report"}))
    assert (await indexed.search("income taxes of Tailspin Toys")).passages[0].document_id == work.document_id


async def test_the_names_of_deleted_documents_are_forgotten(indexed: Indexed) -> None:
    documents = await reports(indexed)
    for document_id in documents.values():
        await indexed.delete(document_id)
    async with indexed.db.read() as session:
        left = await session.scalar(
            text("SELECT count(*) FROM document_names WHERE workspace_id = :workspace_id"), {"workspace_id": indexed.workspace_id}
        )
    assert left == 0


async def test_a_query_that_names_nothing_is_ranked_without_names(indexed: Indexed) -> None:
    await reports(indexed)
    passages = (await indexed.search("effective rate")).passages
    assert passages
    assert all(passage.scores.name is None for passage in passages)
    assert passages[0].score == pytest.approx(1)


async def test_a_name_that_all_documents_share_tells_nothing(indexed: Indexed) -> None:
    for line in TAXES:
        await indexed.add([line], filename="taxes.txt")
    assert all(passage.scores.name is None for passage in (await indexed.search("income taxes")).passages)


async def test_passages_that_hold_only_a_word_of_the_name_are_still_found_by_words(indexed: Indexed) -> None:
    await indexed.add(["The garden is closed.", "Roses grow in the garden."], filename="garden.txt")
    await indexed.add(["Roses were sold."], filename="minutes.txt")
    await indexed.add(["Pumps were sold."], filename="pumps.txt")
    for query in ("garden roses", "garden"):
        found = {p.text: p.scores.keyword for p in (await indexed.search(query)).passages if p.scores.keyword is not None}
        assert {"The garden is closed.", "Roses grow in the garden."} <= found.keys()
    assert (await indexed.search("garden roses")).passages[0].text == "Roses grow in the garden."


async def test_names_count_in_hybrid_searches_only(indexed: Indexed) -> None:
    await reports(indexed)
    for mode in (SearchMode.SEMANTIC, SearchMode.KEYWORD):
        passages = (await indexed.search("income taxes of Contoso Foods", mode=mode)).passages
        assert passages
        assert all(passage.scores.name is None for passage in passages)


async def test_a_document_outside_of_the_filters_is_not_named(indexed: Indexed) -> None:
    documents = await reports(indexed)
    only = documents["CONTOSOFOODS_2022_10K.pdf"]
    passages = (await indexed.search("income taxes of Northwind in 2022", filters=SearchFilters(document_ids=[only]))).passages
    assert {passage.document_id for passage in passages} == {only}


def test_neighbouring_words_are_looked_for_as_one_and_numbers_from_four_digits_on() -> None:
    words = names_to_look_for("What drove American Express' FY2022 margin in Q4?")
    assert {"american", "express", "american express", "2022", "fy", "margin"} <= set(words)
    assert not {"q", "4", "american express fy 2022"} & set(words)


def test_a_name_weighs_by_the_rarity_of_what_it_shares_with_the_query() -> None:
    rare, common = NameWord(("netflix",), 1, {A: 10}), NameWord(("2015",), 4, {A: 10, B: 5, C: 7})
    names = weigh_names([rare, common], 10)
    assert names.shares[A] == pytest.approx(1)
    assert 0 < names.shares[B] == names.shares[C] < 0.5
    assert names.documents == (A,)
    assert set(names.words) == {"netflix", "2015"}


def test_words_in_nearly_all_names_and_too_many_documents_name_nothing() -> None:
    assert weigh_names([NameWord(("report",), 8, {A: 1})], 10) == NO_NAMES
    many = {UUID(int=number): 1 for number in range(MAX_NAMED + 1)}
    names = weigh_names([NameWord(("report",), len(many), many)], 1000)
    assert names.shares.keys() == many.keys()
    assert names.documents == ()
    assert weigh_names([NameWord(("report",), 1, {A: 1_000_000})], 1000).documents == ()
