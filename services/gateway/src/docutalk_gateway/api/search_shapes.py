"""What goes over HTTP about searching: passages, documents that are alike, and places."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

from docutalk_common.contracts import embed
from docutalk_common.contracts.embed import SearchMode
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, StringConstraints, WithJsonSchema, model_validator

from docutalk_gateway.api.shapes import Body


def _in_utc(value: datetime) -> datetime:
    """The same moment, as the database keeps it."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("the year is out of range") from None


Query = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc), WithJsonSchema({"type": "string", "format": "date-time"})]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Language = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, pattern="^[A-Za-z]{2}$")]
ContentType = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class BoundingBox(Body):
    """Degrees. A `west` that is greater than `east` means a box across the 180th meridian."""

    west: Longitude
    south: Latitude
    east: Longitude
    north: Latitude

    @model_validator(mode="after")
    def _upright(self) -> Self:
        if self.south > self.north:
            raise ValueError("south must not be greater than north")
        return self

    def asked(self) -> embed.BoundingBox:
        """As embed is asked."""
        return embed.BoundingBox.model_validate(self.model_dump())


class SearchFilters(Body):
    """Narrows a search; all of them must hold, and an empty list restricts nothing.

    `languages` are ISO 639-1 as detected. `created_from` (included) and `created_before` (not included) speak of when a
    document was uploaded or collected, with their offset from UTC. With `box`, a place within it is named in the document.
    """

    document_ids: Annotated[list[UUID], Field(max_length=1000)] = []
    content_types: Annotated[list[ContentType], Field(max_length=50)] = []
    source_ids: Annotated[list[UUID], Field(max_length=1000)] = []
    languages: Annotated[list[Language], Field(max_length=50)] = []
    created_from: Moment | None = None
    created_before: Moment | None = None
    box: BoundingBox | None = None

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.created_from and self.created_before and self.created_from >= self.created_before:
            raise ValueError("created_from must be before created_before")
        return self

    def asked(self) -> embed.SearchFilters:
        """As embed is asked."""
        return embed.SearchFilters.model_validate(self.model_dump())


class SearchRequest(Body):
    """`mode` chooses the lists that are ranked: by meaning, by words, or both fused.

    In `query`, "words in quotes" must stand in a passage as they are; `-word` and `-"words in quotes"` must not. `after` is the
    `next` of the answer before, with everything else as it was. `merge` joins neighbouring passages and shows near duplicates
    once.
    """

    query: Query
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    mode: SearchMode = SearchMode.HYBRID
    filters: SearchFilters = SearchFilters()
    after: Annotated[str, Field(min_length=1, max_length=100_000)] | None = None
    merge: bool = True


class Highlight(BaseModel):
    """`text[start:end]` of the result is a word of the query."""

    start: int
    end: int


class Scores(BaseModel):
    """The parts of a score, null where the passage was not in that list: `semantic` is a cosine, `keyword` is BM25, `name` is how
    much of the query the document's name holds, 0…1."""

    semantic: float | None
    keyword: float | None
    name: float | None


class PassagePlace(BaseModel):
    """Where a passage stands: `start` to `end` of that page's text, in characters."""

    chunk_id: UUID
    document_id: UUID
    filename: str
    page: int
    start: int
    end: int

    @classmethod
    def of(cls, place: embed.PassagePlace) -> PassagePlace:
        """As embed tells it."""
        return cls.model_validate(place.model_dump())


class SearchResult(BaseModel):
    """A passage: `text` is `start` to `end` of that page, in characters. `score` is within 0 and 1.

    `chunk_ids` are the passages that were joined to this one, `chunk_id` is the best of them. `duplicates` say nearly the same
    and are not listed themselves.
    """

    chunk_id: UUID
    chunk_ids: list[UUID]
    document_id: UUID
    version: int
    filename: str
    page: int
    start: int
    end: int
    text: str
    highlights: list[Highlight]
    score: float
    scores: Scores
    duplicates: list[PassagePlace]

    @classmethod
    def of(cls, passage: embed.Passage) -> SearchResult:
        """As embed tells it."""
        return cls.model_validate(passage.model_dump())


class SearchResults(BaseModel):
    """Best first. `took_ms` is from the request's arrival to its answer. `model` is the one whose vectors were compared, null
    when only words were ranked: in mode `keyword`, and in mode `hybrid` while the model is away.

    `next` asks for the results after these, as `after`; it is null when there are no more. The pages of one search fit together,
    whatever is uploaded or deleted meanwhile.
    """

    results: list[SearchResult]
    took_ms: float
    model: str | None
    next: str | None


class SearchSettings(BaseModel):
    """How a workspace's searches rank. `semantic_weight` is the share of meaning in the score of a hybrid search."""

    semantic_weight: float
    is_default: bool

    @classmethod
    def of(cls, settings: embed.SearchSettings) -> SearchSettings:
        """As embed tells it."""
        return cls.model_validate(settings.model_dump())


class SearchSettingsChanges(Body):
    """From 0, words only, to 1, meaning only; null takes the default."""

    semantic_weight: Annotated[float, Field(ge=0, le=1)] | None


class CompareRequest(Body):
    """Searches to run with both models of the open change."""

    queries: Annotated[list[Query], Field(min_length=1, max_length=20)]
    limit: Annotated[int, Field(ge=1, le=20)] = 10
    mode: SearchMode = SearchMode.SEMANTIC
    filters: SearchFilters = SearchFilters()


class ComparedQuery(BaseModel):
    """What each model finds, best first. `overlap` is the share of the results that both list, 0…1."""

    query: str
    before: list[SearchResult]
    after: list[SearchResult]
    overlap: float
    before_ms: float
    after_ms: float

    @classmethod
    def of(cls, compared: embed.ComparedQuery) -> ComparedQuery:
        """As embed tells it."""
        return cls.model_validate(compared.model_dump())


class Comparison(BaseModel):
    """The same searches with the model before and after the change. `coverage` is the share of the workspace's passages that
    have a vector of the new model: below 1 it cannot find the others yet."""

    from_model: str
    to_model: str
    coverage: float
    queries: list[ComparedQuery]

    @classmethod
    def of(cls, comparison: embed.Comparison) -> Comparison:
        """As embed tells it."""
        return cls.model_validate(comparison.model_dump())


class SimilarDocument(BaseModel):
    """A document that is alike. `passage`, whose text is `text`, is what it has most in common with the document that was asked
    about; `like` is that one's own passage. `score` is within 0 and 1."""

    document_id: UUID
    filename: str
    score: float
    passage: PassagePlace
    text: str
    like: PassagePlace

    @classmethod
    def of(cls, document: embed.SimilarDocument) -> SimilarDocument:
        """As embed tells it."""
        return cls.model_validate(document.model_dump())


class SimilarDocuments(BaseModel):
    """Most alike first."""

    items: list[SimilarDocument]
    took_ms: float


class NamedPlace(BaseModel):
    """A place of the gazetteer, and how often it is named in how many documents. `id` is that of GeoNames, `kind` is `city` or
    `country`, `country` is ISO 3166-1 alpha-2."""

    id: int
    name: str
    kind: str
    country: str
    latitude: float
    longitude: float
    population: int
    documents: int
    mentions: int

    @classmethod
    def of(cls, named: embed.PlaceNamed) -> NamedPlace:
        """As embed tells it."""
        counts = {"documents": named.documents, "mentions": named.mentions}
        return cls.model_validate({"id": named.place.place_id, **named.place.model_dump(), **counts})
