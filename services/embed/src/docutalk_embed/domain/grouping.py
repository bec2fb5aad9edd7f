"""From a ranking of chunks to what a person is shown: neighbours joined, and what says the same shown once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from uuid import UUID

from docutalk_embed.domain.ranking import Ranked

MAX_JOINED = 3
"""Chunks in one passage: about a page, which is as much as a person reads at a glance."""
COMPARED = 100
"""So many of the best chunks are compared with each other."""
FEW_CHARACTERS = 10
LENGTH_SLACK, SEMANTIC_SLACK, KEYWORD_SLACK = 0.1, 0.04, 0.1
"""How far length and scores of nearly the same texts may be apart. On annual reports they are by .03 and a tenth at most, and
few pairs of texts are left to be compared word by word."""
JOINED_SHARE = 0.5
"""A neighbour joins a passage when it has at least this share of its score: what is about something else adds only length."""
SHINGLE_WORDS = 4
SAME_SHARE = 0.9
"""A passage of which this share stands in a better one, counted in runs of four words, says nothing new."""

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Piece:
    """A chunk as it is stored. `gap`: what stands between the chunk before on its page and this one, None when unknown;
    `config`: PostgreSQL's configuration that its words were read with;
    `text`: None when it was not read."""

    chunk_id: UUID
    document_id: UUID
    version: int
    filename: str
    ordinal: int
    page: int
    start: int
    end: int
    gap: str | None
    config: str
    text: str | None


@dataclass
class Group:
    """A passage to show: `best` gave it its place, `chunk_ids` are in the order of the text."""

    best: Ranked
    chunk_ids: list[UUID]
    duplicates: list[UUID] = field(default_factory=list)


def ungrouped(ranking: Sequence[Ranked]) -> list[Group]:
    """Each chunk for itself."""
    return [Group(ranked, [ranked.chunk_id]) for ranked in ranking]


def group(ranking: Sequence[Ranked], pieces: Mapping[UUID, Piece]) -> list[Group]:
    """Best first. Of the first `COMPARED` chunks, whose texts must be there, those that say the same as a better one are its
    duplicates; then each takes in the neighbours that are left, the better side first."""
    known = [ranked for ranked in ranking if ranked.chunk_id in pieces]
    kept_for = _duplicates(known, pieces)
    duplicates: dict[UUID, list[UUID]] = {}
    for ranked in known:
        if (kept := kept_for.get(ranked.chunk_id)) is not None:
            duplicates.setdefault(kept, []).append(ranked.chunk_id)
    left = {_place(pieces[ranked.chunk_id]): ranked for ranked in known if ranked.chunk_id not in kept_for}
    groups: list[Group] = []
    for ranked in known:
        if left.pop(_place(pieces[ranked.chunk_id]), None) is None or ranked.chunk_id in kept_for:
            continue
        chunk_ids = _joined(ranked, left, pieces)
        groups.append(Group(ranked, chunk_ids, [other for chunk in chunk_ids for other in duplicates.get(chunk, [])]))
    return groups


_Place = tuple[UUID, int, int, int]


def _place(piece: Piece) -> _Place:
    return piece.document_id, piece.version, piece.page, piece.ordinal


def _joined(best: Ranked, left: dict[_Place, Ranked], pieces: Mapping[UUID, Piece]) -> list[UUID]:
    """The chunks of the passage around `best`; those that join it are taken out of `left`."""
    joined = [pieces[best.chunk_id]]
    least = JOINED_SHARE * best.score
    while len(joined) < MAX_JOINED:
        first, last = joined[0], joined[-1]
        before = left.get((first.document_id, first.version, first.page, first.ordinal - 1))
        after = left.get((last.document_id, last.version, last.page, last.ordinal + 1))
        if before is not None and not (before.score >= least and touch(pieces[before.chunk_id], first)):
            before = None
        if after is not None and not (after.score >= least and touch(last, pieces[after.chunk_id])):
            after = None
        if before is not None and (after is None or before.score >= after.score):
            joined.insert(0, pieces[left.pop(_place(pieces[before.chunk_id])).chunk_id])
        elif after is not None:
            joined.append(pieces[left.pop(_place(pieces[after.chunk_id])).chunk_id])
        else:
            break
    return [piece.chunk_id for piece in joined]


def touch(before: Piece, after: Piece) -> bool:
    """Whether all text between two neighbouring chunks is known."""
    if not (before.start < after.start and before.end < after.end):
        return False
    return after.start <= before.end or (after.gap is not None and len(after.gap) == after.start - before.end)


def is_one_text(parts: Sequence[Piece]) -> bool:
    """Whether the chunks follow one another on one page, so that they can be joined."""
    return all(
        _place(after) == (before.document_id, before.version, before.page, before.ordinal + 1) and touch(before, after)
        for before, after in pairwise(parts)
    )


def joined_text(parts: Sequence[Piece]) -> str:
    """The text from the start of the first chunk to the end of the last, as it stands on the page. They must `touch`, and have
    their texts."""
    text = parts[0].text or ""
    for before, after in pairwise(parts):
        added, overlap = after.text or "", before.end - after.start
        text += added[overlap:] if overlap >= 0 else (after.gap or "") + added
    return text


def _duplicates(ranking: Sequence[Ranked], pieces: Mapping[UUID, Piece]) -> dict[UUID, UUID]:
    """By chunk the better one that says the same."""
    kept_for: dict[UUID, UUID] = {}
    kept: list[_Candidate] = []
    for ranked in ranking[:COMPARED]:
        text = pieces[ranked.chunk_id].text
        if text is None:
            continue
        candidate = _Candidate.of(ranked, text)
        better = next((other for other in kept if other.may_say(candidate) and other.says(candidate)), None)
        if better is None:
            kept.append(candidate)
        else:
            kept_for[ranked.chunk_id] = better.chunk_id
    return kept_for


@dataclass
class _Candidate:
    """A text with what tells cheaply that another one is not nearly the same; its words are taken apart only if need be."""

    chunk_id: UUID
    length: int
    semantic: float
    keyword: float
    text: str

    @classmethod
    def of(cls, ranked: Ranked, text: str) -> _Candidate:
        return cls(ranked.chunk_id, len(text), ranked.semantic or 0.0, ranked.keyword or 0.0, text)

    def may_say(self, other: _Candidate) -> bool:
        """Whether length and scores are as close as those of nearly the same texts, which are in the same lists."""
        return (
            abs(self.length - other.length) <= LENGTH_SLACK * self.length + FEW_CHARACTERS
            and abs(self.semantic - other.semantic) <= SEMANTIC_SLACK
            and abs(self.keyword - other.keyword) <= KEYWORD_SLACK * self.keyword
        )

    def says(self, other: _Candidate) -> bool:
        """Whether nearly all that the other text says stands in this one."""
        # A text that shares nine tenths of its runs of words shares nearly all of its words.
        if len(self.words & other.words) < SAME_SHARE * len(other.words):
            return False
        # The same form filled in with another number says something else.
        if not other.numbers <= self.numbers:
            return False
        return len(self.shingles & other.shingles) >= SAME_SHARE * len(other.shingles)

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(self.text.lower().split())

    @cached_property
    def numbers(self) -> frozenset[str]:
        return frozenset(_NUMBER.findall(self.text))

    @cached_property
    def shingles(self) -> frozenset[tuple[str, ...]]:
        words = self.text.lower().split()
        runs = zip(*(words[start:] for start in range(SHINGLE_WORDS)), strict=False)
        return frozenset(runs) or frozenset([tuple(words)])
