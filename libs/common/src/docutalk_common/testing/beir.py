"""Collections with judged queries in the form of BEIR (Thakur et al. 2021), and how well a ranking does on them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_QRELS = ("qrels.tsv", "qrels/test.tsv", "qrels.txt", "qrels/test.txt")
_QUERY_COLUMNS = {"query-id", "query_id", "query", "qid", "topic"}


class BrokenCollection(Exception):
    """The folder does not hold a collection; the message says what is missing or wrong, and where."""


@dataclass(frozen=True)
class Document:
    """`title` is empty where there is none."""

    title: str
    text: str

    @property
    def content(self) -> str:
        """Title before text, as is usual where a model takes one text."""
        return "\n\n".join(part for part in (self.title, self.text) if part)


@dataclass(frozen=True)
class Collection:
    """Documents and queries by id, and for each query how relevant documents are: at least one is, by a grade above 0."""

    name: str
    documents: Mapping[str, Document]
    queries: Mapping[str, str]
    relevance: Mapping[str, Mapping[str, int]]

    @classmethod
    def read(cls, folder: Path, qrels: str | None = None) -> Collection:
        """`corpus.jsonl`, `queries.jsonl` and the judgements: `qrels` below the folder, else those of the test part.

        The last of several documents with one id counts. Queries without text or without a relevant document are left out:
        there is nothing to find. Raises `BrokenCollection`.
        """
        documents = {
            str(row["_id"]): Document((row.get("title") or "").strip(), (row.get("text") or "").strip())
            for row in _rows(folder / "corpus.jsonl")
        }
        queries = {str(row["_id"]): (row.get("text") or "").strip() for row in _rows(folder / "queries.jsonl")}
        judged = read_qrels(_found(folder, (qrels,) if qrels else _QRELS))
        relevance = {query: grades for query, grades in judged.items() if queries.get(query) and max(grades.values()) > 0}
        if not relevance:
            raise BrokenCollection(f"{folder}: no judgement is of a query in queries.jsonl")
        return cls(folder.name, documents, {query: queries[query] for query in relevance}, relevance)

    def is_itself(self, query: str, document: str) -> bool:
        """Whether the document is the query, as where a text is to be answered by others of its kind (ArguAna): it does not
        count as found."""
        return query == document and document in self.documents and self.documents[document].text == self.queries[query]


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Grades by query and document, from lines of query and document (relevant), with a grade behind them, or as in TREC:
    query, a number that means nothing, document, grade. With a line of names above or without one. Raises `BrokenCollection`.
    """
    relevance: dict[str, dict[str, int]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        cells = [cell.strip() for cell in (line.split("\t") if "\t" in line else line.split())]
        if not any(cells) or (number == 1 and cells[0].lower() in _QUERY_COLUMNS):
            continue
        match cells:
            case [query, document]:
                grade = "1"
            case [query, document, grade] | [query, _, document, grade]:
                pass
            case _:
                raise BrokenCollection(f"{path}, line {number}: {len(cells)} columns; 2, 3 or 4 are known")
        try:
            relevance.setdefault(query, {})[document] = int(float(grade))
        except ValueError:
            raise BrokenCollection(f"{path}, line {number}: the grade {grade!r} is not a number") from None
    return relevance


def ndcg(ranked: Sequence[str], relevance: Mapping[str, int], depth: int = 10) -> float:
    """Normalised discounted cumulative gain (Järvelin & Kekäläinen 2002), with the grades themselves as gains as trec_eval has
    it; negative grades gain nothing."""
    grades = [max(0, relevance.get(document, 0)) for document in ranked]
    best = _gain(sorted((grade for grade in relevance.values() if grade > 0), reverse=True), depth)
    return _gain(grades, depth) / best if best else 0.0


def recall(ranked: Sequence[str], relevance: Mapping[str, int], depth: int = 100) -> float:
    """Share of the relevant documents that are among the first `depth`."""
    relevant = {document for document, grade in relevance.items() if grade > 0}
    return len(relevant.intersection(ranked[:depth])) / len(relevant) if relevant else 0.0


def _gain(grades: Sequence[int], depth: int) -> float:
    return sum(grade / math.log2(place + 2) for place, grade in enumerate(grades[:depth]))


def _found(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise BrokenCollection(f"{folder}: no {' or '.join(names)}")


def _rows(path: Path) -> Iterator[dict[str, str | None]]:
    if not path.is_file():
        raise BrokenCollection(f"{path.parent}: no {path.name}")
    with path.open(encoding="utf-8-sig") as file:
        # Not `splitlines`, which also ends a line at U+2028, and JSON may hold that as it is.
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                row["_id"]
            except (ValueError, KeyError, TypeError) as error:
                raise BrokenCollection(f"{path}, line {number}: not an object with an _id ({error})") from None
            yield row
