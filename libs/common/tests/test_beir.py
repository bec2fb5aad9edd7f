"""Judged collections: the forms they come in, and the figures by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from docutalk_common.testing.beir import BrokenCollection, Collection, ndcg, read_qrels, recall

EXPECTED = {"q1": {"a/1": 1, "b 2": 1}, "q 2": {"c": 1}}


@pytest.mark.parametrize(
    "lines",
    [
        ["query-id\tcorpus-id\tscore", "q1\ta/1\t1", "q1\tb 2\t1", "q 2\tc\t1"],
        ["q1\ta/1\t1", "q1\tb 2\t1.0", "", "q 2\tc\t1"],
        ["\ufeffquery-id\tcorpus-id", "q1\ta/1", "q1\tb 2", "q 2\tc"],
        ["q1\t0\ta/1\t1", "q1\t0\tb 2\t1", "q 2\tQ0\tc\t1"],
    ],
    ids=["with a header", "without one", "no grades", "TREC"],
)
def test_every_form_of_judgements_says_the_same(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "qrels.tsv"
    path.write_text("\r\n".join(lines), encoding="utf-8")
    assert read_qrels(path) == EXPECTED


def test_judgements_that_cannot_be_read_name_their_line(tmp_path: Path) -> None:
    path = tmp_path / "qrels.tsv"
    path.write_text("q1 a 1\nq1 b good\n", encoding="utf-8")
    with pytest.raises(BrokenCollection, match="line 2: the grade 'good'"):
        read_qrels(path)


def _collection(folder: Path) -> Path:
    corpus = [
        {"_id": 1, "text": "first"},
        {"_id": "2", "title": None, "text": "line\u2028inside"},
        {"_id": "2", "title": " Second ", "text": "again"},
        {"_id": "3", "title": "", "text": ""},
    ]
    queries = [{"_id": "1", "text": "first"}, {"_id": "x", "text": "nothing is relevant"}, {"_id": "y", "text": "not judged"}]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / f"{name}.jsonl").write_text(text + "\n\n", encoding="utf-8")
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("1 2 2\n1 gone 1\nx 1 0\nz 1 1\n", encoding="utf-8")
    return folder


def test_collection_with_gaps_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    collection = Collection.read(_collection(tmp_path))
    assert {key: document.content for key, document in collection.documents.items()} == {
        "1": "first",
        "2": "Second\n\nagain",
        "3": "",
    }
    assert collection.queries == {"1": "first"}
    assert collection.relevance == {"1": {"2": 2, "gone": 1}}
    assert collection.is_itself("1", "1")
    assert not collection.is_itself("1", "2")


def test_folder_without_a_collection_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BrokenCollection, match=r"no corpus\.jsonl"):
        Collection.read(tmp_path)
    _collection(tmp_path)
    with pytest.raises(BrokenCollection, match=r"no graded\.tsv"):
        Collection.read(tmp_path, "graded.tsv")


def test_ndcg_and_recall_by_hand() -> None:
    relevance = {"a": 2, "b": 1, "c": 1, "bad": -1}
    found = ["x", "a", "bad", "b"]
    gain = 2 / math.log2(3) + 1 / math.log2(5)
    best = 2 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(found, relevance) == pytest.approx(gain / best)
    assert ndcg(found, relevance, depth=2) == pytest.approx(2 / math.log2(3) / (2 + 1 / math.log2(3)))
    assert ndcg(["a", "b", "c"], relevance) == 1
    assert recall(found, relevance) == pytest.approx(2 / 3)
    assert recall(found, relevance, depth=2) == pytest.approx(1 / 3)
    assert (ndcg(found, {}), recall(found, {})) == (0, 0)
