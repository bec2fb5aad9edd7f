"""What embed says and answers: passages found by meaning and by words, the models behind it, and places that are named."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from docutalk_common.contracts.envelope import Contract, DocumentEvent, ErasureReceipt, Message, MessageKind


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


class ModelSwitched(Message):
    """From this moment on every search compares with the vectors of `to_model`. Emitted for each workspace with passages, in
    the transaction that switched; going back is a switch too."""

    type = "embed.model.switched.v1"
    kind: ClassVar[MessageKind] = "event"
    owner = "embed"
    change_id: UUID
    from_model: str
    to_model: str
    switched_by: UUID | None = None

    @property
    def entity_id(self) -> UUID:
        return self.change_id


class SearchMode(StrEnum):
    """Which lists take part in the ranking."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"


class BoundingBox(Contract):
    """Degrees; `west` may be greater than `east`, then the box crosses the 180th meridian."""

    west: float
    south: float
    east: float
    north: float


class SearchFilters(Contract):
    """Narrows a search; all of them must hold. Empty means no restriction.

    `created_from` and `created_before` speak of when the document was uploaded or collected; `languages` are ISO 639-1, as
    detected; `box` wants a place within it to be named in the passage's document. `isolated`: as if there were nothing in the
    workspace but what the others leave, so that not even a score tells how common a word is elsewhere.
    """

    document_ids: list[UUID] = []
    content_types: list[str] = []
    source_ids: list[UUID] = []
    languages: list[str] = []
    created_from: datetime | None = None
    created_before: datetime | None = None
    box: BoundingBox | None = None
    isolated: bool = False


class SearchPassages(Contract):
    """`rpc.embed.v1.passage.search` → `PassagesFound`. `limit` 1 to 100.

    In `query`, "quoted words" must stand in a passage as they are, `-word` and `-"quoted words"` must not. `after` is the
    `next` of the page before; everything else must be as it was then. `merge` joins neighbouring chunks to one passage and
    shows near duplicates once. A model that has not given the query's vector after `model_seconds` is taken for one that is
    away: a hybrid search goes by the words then.
    """

    workspace_id: UUID
    query: str
    limit: int = 10
    mode: SearchMode = SearchMode.HYBRID
    filters: SearchFilters = SearchFilters()
    after: str | None = None
    merge: bool = True
    model_seconds: float | None = None


class Highlight(Contract):
    """`text[start:end]` of the passage matched a word of the query."""

    start: int
    end: int


class PassageScores(Contract):
    """The parts of a score; None where the passage was not in that list. `semantic`: cosine; `keyword`: BM25; `name`: how much
    of the query the document's name holds, 0…1."""

    semantic: float | None = None
    keyword: float | None = None
    name: float | None = None


class PassagePlace(Contract):
    """Where a passage stands."""

    chunk_id: UUID
    document_id: UUID
    filename: str
    page: int
    start: int
    end: int


class Passage(Contract):
    """A passage with its place: `text` is `page_text[start:end]`; `score` is fused and within 0…1.

    `chunk_ids` are all chunks that were joined to it, in the order of the text, `chunk_id` the best of them. `duplicates` are
    the places of passages that say nearly the same and are not listed themselves.
    """

    chunk_id: UUID
    chunk_ids: list[UUID] = []
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
    duplicates: list[PassagePlace] = []


class PassagesFound(Contract):
    """Best first. `took_ms` is the time inside embed; `model` the one whose vectors were compared with; `next` asks for the
    page after this one, None at the end."""

    passages: list[Passage]
    took_ms: float
    model: str = ""
    next: str | None = None


class GetSearchSettings(Contract):
    """`rpc.embed.v1.settings.get` → `SearchSettings`."""

    workspace_id: UUID


class ChangeSearchSettings(Contract):
    """`rpc.embed.v1.settings.change` → `SearchSettings`. None takes the default; error `invalid` outside of 0…1."""

    workspace_id: UUID
    semantic_weight: float | None


class SearchSettings(Contract):
    """How a workspace's searches rank. `semantic_weight`: the share of meaning in a hybrid score, the rest are the words."""

    semantic_weight: float
    is_default: bool


class FindSimilar(Contract):
    """`rpc.embed.v1.document.similar` → `SimilarDocuments`; error `not_found`, also while it has no passages.

    `limit` 1 to 100."""

    workspace_id: UUID
    document_id: UUID
    limit: int = 10


class SimilarDocument(Contract):
    """`score` 0…1; `passage` is what it has most in common with the document asked about, `like` that document's own."""

    document_id: UUID
    filename: str
    score: float
    passage: PassagePlace
    text: str
    like: PassagePlace


class SimilarDocuments(Contract):
    """Most alike first."""

    items: list[SimilarDocument]
    took_ms: float


class ListPlaces(Contract):
    """`rpc.embed.v1.place.list` → `Places`: those named in a workspace, or in one document; most mentioned first."""

    workspace_id: UUID
    document_id: UUID | None = None
    box: BoundingBox | None = None
    limit: int = 100
    offset: int = 0


class Place(Contract):
    """A place of the gazetteer. `kind`: `city` or `country`; `country`: ISO 3166-1 alpha-2."""

    place_id: int
    name: str
    kind: str
    country: str
    latitude: float
    longitude: float
    population: int


class PlaceNamed(Contract):
    """In how many documents a place is named, and how often."""

    place: Place
    documents: int
    mentions: int


class Places(Contract):
    """`total` counts all places, whatever the limit."""

    items: list[PlaceNamed]
    total: int


class ModelProvider(StrEnum):
    """Where vectors are computed."""

    BUILT_IN = "built-in"
    """In this process, shipped with it."""
    FASTEMBED = "fastembed"
    """In this process, from an ONNX model in a local folder."""
    OPENAI = "openai"
    """By an endpoint that speaks OpenAI's `/embeddings`."""


class Distance(StrEnum):
    """How vectors are compared."""

    COSINE = "cosine"
    DOT = "dot"


class EmbeddingModel(Contract):
    """A model that is known here. `passages` is how many of the installation's passages have a vector of it."""

    name: str
    provider: ModelProvider
    provider_model: str
    dimension: int
    distance: Distance = Distance.COSINE
    query_prefix: str = ""
    passage_prefix: str = ""
    max_tokens: int = 256
    is_serving: bool = False
    passages: int = 0
    created_at: datetime


class ListModels(Contract):
    """`rpc.embed.v1.model.list` → `Models`."""


class ModelOffer(Contract):
    """A well-known model that may be registered by its name alone, when its provider is set up here."""

    name: str
    provider: ModelProvider
    dimension: int
    max_tokens: int
    is_ready: bool
    reason: str | None = None
    """What is missing when it is not ready."""


class Models(Contract):
    """Those registered, oldest first, and those that could be."""

    items: list[EmbeddingModel]
    offers: list[ModelOffer] = []


class RegisterModel(Contract):
    """`rpc.embed.v1.model.register` → `EmbeddingModel`. What is left out is taken from the list of well-known models.

    The model is asked for a vector first. Errors: `invalid` (something is missing or wrong, the dimension for example),
    `conflict` (the name is taken), `unavailable` (its provider does not answer).
    """

    name: str
    provider: ModelProvider | None = None
    provider_model: str | None = None
    dimension: int | None = None
    distance: Distance | None = None
    query_prefix: str | None = None
    passage_prefix: str | None = None
    max_tokens: int | None = None


class RemoveModel(Contract):
    """`rpc.embed.v1.model.remove` → `ModelRemoved`; errors `not_found`, `conflict` (it serves, or is part of a change)."""

    name: str


class ModelRemoved(Contract):
    """The model and its vectors are gone."""

    name: str


class ChangeState(StrEnum):
    """Where a change of model is. Until it ends, both models are kept up to date and the way back is one call."""

    RUNNING = "running"
    """Vectors of the new model are being computed; searches use the old one."""
    PAUSED = "paused"
    COMPLETE = "complete"
    """Every passage has a vector of both; it may be switched."""
    SWITCHED = "switched"
    """Searches use the new model; rolling back makes this `complete` again."""
    FINISHED = "finished"
    """The old model's vectors are dropped."""
    CANCELLED = "cancelled"
    """The new model's vectors are dropped."""


class ModelChange(Contract):
    """A change of the installation's model. Counts are passages; `reason` says why nothing moves, None while it does."""

    change_id: UUID
    from_model: str
    to_model: str
    state: ChangeState
    reason: str | None = None
    passages_done: int
    passages_total: int
    passages_per_second: float | None = None
    eta_seconds: float | None = None
    started_by: UUID | None = None
    started_at: datetime
    completed_at: datetime | None = None
    switched_at: datetime | None = None
    ended_at: datetime | None = None


class StartChange(Contract):
    """`rpc.embed.v1.change.start` → `ModelChange`; errors `not_found`, `conflict` (one is open; the model serves)."""

    to_model: str
    started_by: UUID | None = None


class ListChanges(Contract):
    """`rpc.embed.v1.change.list` → `ModelChanges`."""


class ModelChanges(Contract):
    """Newest first."""

    items: list[ModelChange]


class ChangeStep(StrEnum):
    """What may be done with an open change."""

    PAUSE = "pause"
    RESUME = "resume"
    SWITCH = "switch"
    """Searches use the new model from now on; when every passage has its vector."""
    ROLL_BACK = "roll-back"
    FINISH = "finish"
    """Drops the old model's vectors, after a switch."""
    CANCEL = "cancel"
    """Drops the new model's vectors, before a switch."""


class StepChange(Contract):
    """`rpc.embed.v1.change.step` → `ModelChange`; errors `not_found`, `conflict` (not from this state; passages are missing)."""

    change_id: UUID
    step: ChangeStep
    asked_by: UUID | None = None


class ComparePassages(Contract):
    """`rpc.embed.v1.passage.compare` → `Comparison`: the same queries against both models of the open change.

    1 to 20 queries, `limit` 1 to 20; error `conflict` when no change is open.
    """

    workspace_id: UUID
    queries: list[str]
    limit: int = 10
    mode: SearchMode = SearchMode.SEMANTIC
    filters: SearchFilters = SearchFilters()


class ComparedQuery(Contract):
    """What each model finds; `overlap` is the share of the passages that both list."""

    query: str
    before: list[Passage]
    after: list[Passage]
    overlap: float
    before_ms: float
    after_ms: float


class Comparison(Contract):
    """`coverage`: share of the workspace's passages that have a vector of the new model: below 1 it cannot find the others."""

    from_model: str
    to_model: str
    coverage: float
    queries: list[ComparedQuery]


class EmbedTexts(Contract):
    """`rpc.embed.v1.text.embed` → `Embeddings`. At most 256 texts."""

    texts: list[str]


class Embeddings(Contract):
    """One unit vector for each text, in order."""

    model: str
    vectors: list[list[float]]


class DataErased(ErasureReceipt):
    """The receipt of embed for a deleted workspace or user."""

    type = "embed.data.erased.v1"
    owner = "embed"
