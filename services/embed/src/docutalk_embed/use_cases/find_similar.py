"""Find the documents of a workspace that are like one of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from uuid import UUID

from docutalk_common.contracts.embed import FindSimilar, SearchFilters, SimilarDocument, SimilarDocuments
from docutalk_common.db import Database
from docutalk_common.errors import NotFound

from docutalk_embed.adapters import similar_documents as adapter
from docutalk_embed.adapters.model_registry import find_serving
from docutalk_embed.adapters.passage_repository import STATEMENT_SECONDS, PassageRepository
from docutalk_embed.domain import MAX_LIMIT, InvalidQuery, is_better_exact
from docutalk_embed.domain.grouping import Piece
from docutalk_embed.use_cases.show_passages import place_of

BEST_PASSAGES = 3
"""Of each document so many count: one passage may be alike by chance, and the rest of a long document says little."""
PASSAGES_FOR_EACH = 20
"""So many passages are looked at for each document that is asked for, because a long one takes many of the nearest."""


async def find_similar(request: FindSimilar, db: Database) -> SimilarDocuments:
    """Most alike first: by the mean cosine between the middle of the document's vectors and the passages of another one that
    are nearest to it. Raises `InvalidQuery`, and `NotFound` also while the document has no passages that can be found."""
    started = time.perf_counter()
    if not 1 <= request.limit <= MAX_LIMIT:
        raise InvalidQuery(f"the limit is {request.limit}; it may be 1 to {MAX_LIMIT}")
    async with db.read(patience=STATEMENT_SECONDS) as session:
        model = await find_serving(session)
        around = adapter.SimilarDocuments(session, request.workspace_id, request.document_id, model.table)
        middle = await around.middle()
        if middle is None:
            raise NotFound(f"The document {request.document_id} has no passages to compare with here. Wait until it is ready.")
        found = PassageRepository(session, request.workspace_id, SearchFilters())
        scope = await found.scope()
        exact = is_better_exact(scope.total, await found.everything(model.table))
        near = await around.around(middle, request.limit * PASSAGES_FOR_EACH, exact=exact)
        scores = _scores(near, request.limit)
        candidates = [one for document_id in scores for one in _of(near, document_id)]
        pairs = {pair.chunk_id: pair for pair in await around.pairs(middle, [one.chunk_id for one in candidates])}
        best = [
            max((pairs[one.chunk_id] for one in _of(near, document_id)), key=lambda pair: pair.cosine) for document_id in scores
        ]
        pieces = await found.pieces([chunk_id for pair in best for chunk_id in (pair.chunk_id, pair.own_chunk_id)])
    items = [
        _similar(score, pieces[pair.chunk_id], pieces[pair.own_chunk_id])
        for pair, score in zip(best, scores.values(), strict=True)
    ]
    return SimilarDocuments(items=items, took_ms=(time.perf_counter() - started) * 1000)


def _of(near: Iterable[adapter.Near], document_id: UUID) -> list[adapter.Near]:
    return [one for one in near if one.document_id == document_id][:BEST_PASSAGES]


def _scores(near: Iterable[adapter.Near], limit: int) -> dict[UUID, float]:
    """The best documents with their scores, 0…1, best first."""
    cosines: dict[UUID, list[float]] = {}
    for one in near:
        cosines.setdefault(one.document_id, []).append(one.cosine)
    means = {document_id: sum(best := values[:BEST_PASSAGES]) / len(best) for document_id, values in cosines.items()}
    order = sorted(means, key=lambda document_id: (-means[document_id], document_id))
    return {document_id: min(max(means[document_id], 0.0), 1.0) for document_id in order[:limit]}


def _similar(score: float, passage: Piece, like: Piece) -> SimilarDocument:
    return SimilarDocument(
        document_id=passage.document_id,
        filename=passage.filename,
        score=score,
        passage=place_of(passage),
        text=passage.text or "",
        like=place_of(like),
    )
