"""From a ranking of chunks to what a person is shown: neighbours joined, and what says the same shown once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from uuid import UUID

from docutalk_embed.domain.ranking import Ranked

MAX_JOINED = 3
"""Chunks in one passage: about a page, which is as much as a person reads at a glance."""
SHINGLE_WORDS = 4
SAME_SHARE = 0.9
"""A passage of which this share stands in a better one, counted in runs of four words, says nothing new."""


@dataclass(frozen=True)
class Piece:
    """A chunk as it is stored. `gap`: what stands between the chunk before on its page and this one, None when unknown;
    `config`: PostgreSQL's configuration that its words were read with."""

    chunk_id: UUID
    document_id: UUID
    version: int
    filename: str
    ordinal: int
    page: int
    start: int
    end: int
    text: str
    gap: str | None
    config: str


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
    """Best first. Of chunks that say the same the best stays; then each takes in the neighbours that are left, the better
    side first. Chunks without a piece are left out."""
    known = [ranked for ranked in ranking if ranked.chunk_id in pieces]
    kept_for = _duplicates([pieces[ranked.chunk_id] for ranked in known])
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
    while len(joined) < MAX_JOINED:
        first, last = joined[0], joined[-1]
        before = left.get((first.document_id, first.version, first.page, first.ordinal - 1))
        after = left.get((last.document_id, last.version, last.page, last.ordinal + 1))
        if before is not None and not touch(pieces[before.chunk_id], first):
            before = None
        if after is not None and not touch(last, pieces[after.chunk_id]):
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
    return after.start <= before.end or (after.gap is not None and len(after.gap) == after.start - before.end)


def joined_text(parts: Sequence[Piece]) -> str:
    """The text from the start of the first chunk to the end of the last, as it stands on the page. They must `touch`."""
    text = parts[0].text
    for before, after in pairwise(parts):
        overlap = before.end - after.start
        text += after.text[overlap:] if overlap >= 0 else (after.gap or "") + after.text
    return text


def _duplicates(pieces: Iterable[Piece]) -> dict[UUID, UUID]:
    """By chunk the better one that says the same."""
    kept_for: dict[UUID, UUID] = {}
    by_text: dict[str, UUID] = {}
    shingles: dict[UUID, frozenset[Shingle]] = {}
    holders: dict[Shingle, list[UUID]] = {}
    for piece in pieces:
        words = piece.text.lower().split()
        text = " ".join(words)
        if (kept := by_text.get(text)) is not None:
            kept_for[piece.chunk_id] = kept
            continue
        mine = frozenset(_shingles(words))
        shared = Counter(holder for shingle in mine for holder in holders.get(shingle, ()))
        alike = [holder for holder, count in shared.items() if count >= SAME_SHARE * len(mine)]
        if alike:
            kept_for[piece.chunk_id] = alike[0]
            continue
        by_text[text] = piece.chunk_id
        shingles[piece.chunk_id] = mine
        for shingle in mine:
            holders.setdefault(shingle, []).append(piece.chunk_id)
    return kept_for


Shingle = tuple[str, ...]


def _shingles(words: Sequence[str]) -> Iterator[Shingle]:
    if len(words) < SHINGLE_WORDS:
        yield tuple(words)
    for start in range(len(words) - SHINGLE_WORDS + 1):
        yield tuple(words[start : start + SHINGLE_WORDS])
