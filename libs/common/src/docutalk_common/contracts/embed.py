"""What embed says and answers: passages found by meaning and by words."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from docutalk_common.contracts.envelope import Contract, DocumentEvent


class ChunksIndexed(DocumentEvent):
    """A batch is stored. Progress only: it is not part of a document's timeline (its entity is `chunks`)."""

    type = "embed.chunks.indexed.v1"
    owner = "embed"
    batch: int | None = None
    attempt: int | None = None
    """Whose work it was: a batch that an earlier attempt stored may have been dropped since, with that attempt."""
    chunks_done: int
    chunk_count: int


class DocumentIndexed(DocumentEvent):
    """Every chunk of this version can be found. Emitted once, in the transaction that stored the last batch."""

    type = "embed.document.indexed.v1"
    owner = "embed"
    chunk_count: int


class DocumentUnindexed(DocumentEvent):
    """The receipt of embed: so many chunks of a deleted document, with their vectors and words, are gone for good."""

    type = "embed.document.unindexed.v1"
    owner = "embed"
    chunks: int


class SearchMode(StrEnum):
    """Which lists take part in the ranking."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"


class SearchFilters(Contract):
    """Narrows a search. Empty means no restriction."""

    document_ids: list[UUID] = []
    content_types: list[str] = []


class SearchPassages(Contract):
    """`rpc.embed.v1.passage.search` → `PassagesFound`. `limit` 1 to 100."""

    workspace_id: UUID
    query: str
    limit: int = 10
    mode: SearchMode = SearchMode.HYBRID
    filters: SearchFilters = SearchFilters()


class Highlight(Contract):
    """`text[start:end]` of the passage matched a word of the query."""

    start: int
    end: int


class PassageScores(Contract):
    """The parts of a score; None where the passage was not in that list. `semantic`: cosine; `keyword`: raw text score."""

    semantic: float | None = None
    keyword: float | None = None


class Passage(Contract):
    """A passage with its place: `text` is `page_text[start:end]`; `score` is fused and within 0…1."""

    chunk_id: UUID
    document_id: UUID
    version: int = 1
    filename: str
    page: int
    start: int
    end: int
    text: str
    highlights: list[Highlight] = []
    score: float
    scores: PassageScores


class PassagesFound(Contract):
    """Best first. `took_ms` is the time inside embed."""

    passages: list[Passage]
    took_ms: float


class EmbedTexts(Contract):
    """`rpc.embed.v1.text.embed` → `Embeddings`. At most 256 texts."""

    texts: list[str]


class Embeddings(Contract):
    """One unit vector for each text, in order."""

    model: str
    vectors: list[list[float]]
