"""What goes over HTTP about the models that texts are compared with, and about changing them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from docutalk_common.contracts import embed
from docutalk_common.contracts.embed import ChangeState, Distance, ModelProvider
from pydantic import BaseModel, Field, StringConstraints

from docutalk_gateway.api.shapes import Body

ModelName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
# Some models want a whole sentence of instruction there.
Prefix = Annotated[str, Field(max_length=2000)]


class NewModel(Body):
    """A model to register. Of a well-known one the name is enough; what is given takes the place of what is known.

    `provider_model` is what the provider calls it. `query_prefix` and `passage_prefix` are put before each text, as the model's
    makers say. `max_tokens` of a text count, the rest is not looked at.
    """

    name: ModelName
    provider: ModelProvider | None = None
    provider_model: ModelName | None = None
    dimension: Annotated[int, Field(ge=1, le=16_000)] | None = None
    distance: Distance | None = None
    query_prefix: Prefix | None = None
    passage_prefix: Prefix | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    def asked(self) -> embed.RegisterModel:
        """As embed is asked."""
        return embed.RegisterModel.model_validate(self.model_dump())


class Model(BaseModel):
    """A model that is known here. Searches use the one that `is_serving`; `passages` of the installation have a vector of it."""

    name: str
    provider: ModelProvider
    provider_model: str
    dimension: int
    distance: Distance
    query_prefix: str
    passage_prefix: str
    max_tokens: int
    is_serving: bool
    passages: int
    created_at: datetime

    @classmethod
    def of(cls, model: embed.EmbeddingModel) -> Model:
        """As embed tells it."""
        return cls.model_validate(model.model_dump())


class ModelOffer(BaseModel):
    """A well-known model that may be registered by its name alone. `reason` says what is missing when it is not ready."""

    name: str
    provider: ModelProvider
    dimension: int
    max_tokens: int
    is_ready: bool
    reason: str | None


class Models(BaseModel):
    """Those that are registered, oldest first, and those that could be."""

    items: list[Model]
    offers: list[ModelOffer]

    @classmethod
    def of(cls, models: embed.Models) -> Models:
        """As embed tells it."""
        return cls.model_validate(models.model_dump())


class NewChange(Body):
    """Which model to change to."""

    to_model: ModelName


class ModelChange(BaseModel):
    """A change of the installation's model. Counts are passages.

    `running` (vectors are computed) and `paused` become `complete`, which may be `switched` and rolled back, until it is
    `finished` (the old vectors are dropped) or `cancelled` (the new ones are). `reason` says why nothing moves, null while it
    does.
    """

    id: UUID
    from_model: str
    to_model: str
    state: ChangeState
    reason: str | None
    passages_done: int
    passages_total: int
    passages_per_second: float | None
    eta_seconds: float | None
    started_by: UUID | None
    started_at: datetime
    completed_at: datetime | None
    switched_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, change: embed.ModelChange) -> ModelChange:
        """As embed tells it."""
        return cls.model_validate({"id": change.change_id, **change.model_dump()})


class ModelChanges(BaseModel):
    """Newest first."""

    items: list[ModelChange]
