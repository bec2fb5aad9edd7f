"""Show the next passages of a ranking as they are stored now, inside of a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from uuid import UUID

from docutalk_common.contracts.embed import Highlight, Passage, PassagePlace, PassageScores

from docutalk_embed.domain.grouping import Group, Piece, is_one_text, joined_text
from docutalk_embed.domain.ranking import Ranked
from docutalk_embed.use_cases.rank_passages import Search

MOST_BYTES = 1_500_000
"""Of the passages in one answer; a message holds 2 MiB, and a hundred long passages of some scripts are more."""


async def show_passages(
    search: Search, groups: Sequence[Group], limit: int, pieces: Mapping[UUID, Piece] | None = None
) -> tuple[list[Passage], Sequence[Group]]:
    """The first `limit` of the groups of which something is still there, fewer when they are very long, and the groups after
    them. `pieces` are the chunks of all groups, some with their texts, when they are at hand; else they are read."""
    shown: list[_Shown] = []
    while len(shown) < limit and groups:
        part, groups = groups[: limit - len(shown)], groups[limit - len(shown) :]
        here = await search.found.pieces(_all_chunks(part)) if pieces is None else pieces
        shown += [one for group in part if (one := _shown(group, here)) is not None]
    unread = [piece.chunk_id for one in shown for piece in one.pieces if piece.text is None]
    if unread:
        read = await search.found.pieces(unread)
        shown = [replace(one, pieces=[read.get(piece.chunk_id, piece) for piece in one.pieces]) for one in shown]
    marks = await search.index.highlights(search.words, [(one.pieces[0].config, one.text) for one in shown])
    passages = [_passage(one, highlights) for one, highlights in zip(shown, marks, strict=True)]
    sizes = accumulate(len(passage.model_dump_json().encode()) for passage in passages)
    fitting = max(1, sum(size <= MOST_BYTES for size in sizes))
    return passages[:fitting], [*(one.group for one in shown[fitting:]), *groups]


def _all_chunks(groups: Sequence[Group]) -> list[UUID]:
    return [chunk_id for group in groups for chunk_id in (*group.chunk_ids, *group.duplicates)]


@dataclass(frozen=True)
class _Shown:
    """A group whose chunks are at hand."""

    group: Group
    best: Ranked
    pieces: Sequence[Piece]
    duplicates: Sequence[Piece]

    @property
    def text(self) -> str:
        return joined_text(self.pieces)


def _shown(group: Group, pieces: Mapping[UUID, Piece]) -> _Shown | None:
    """None when its document is gone, and every other that says the same."""
    own = [pieces[chunk_id] for chunk_id in group.chunk_ids if chunk_id in pieces]
    others = [pieces[chunk_id] for chunk_id in group.duplicates if chunk_id in pieces]
    if len(own) == len(group.chunk_ids):
        # A version that was read again since the page before may be cut otherwise.
        return _Shown(group, group.best, own if is_one_text(own) else [pieces[group.best.chunk_id]], others)
    if not others:
        return None
    first, *rest = others
    return _Shown(group, replace(group.best, chunk_id=first.chunk_id), [first], rest)


def _passage(shown: _Shown, highlights: list[Highlight]) -> Passage:
    first, last, best = shown.pieces[0], shown.pieces[-1], shown.best
    return Passage(
        chunk_id=best.chunk_id,
        chunk_ids=[piece.chunk_id for piece in shown.pieces],
        document_id=first.document_id,
        version=first.version,
        filename=first.filename,
        page=first.page,
        start=first.start,
        end=last.end,
        text=shown.text,
        highlights=highlights,
        score=best.score,
        scores=PassageScores(semantic=best.semantic, keyword=best.keyword, name=best.name),
        duplicates=[place_of(piece) for piece in shown.duplicates],
    )


def place_of(piece: Piece) -> PassagePlace:
    """Where a chunk stands."""
    return PassagePlace(
        chunk_id=piece.chunk_id,
        document_id=piece.document_id,
        filename=piece.filename,
        page=piece.page,
        start=piece.start,
        end=piece.end,
    )
