"""Make a model known here, after it has given a vector; searches notice nothing of it until a change of model."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from docutalk_common.contracts.embed import EmbeddingModel, ModelProvider, RegisterModel
from docutalk_common.db import Cause, Database
from docutalk_common.errors import RequestFailed
from sqlalchemy.exc import IntegrityError

from docutalk_embed.adapters.batcher import Lane
from docutalk_embed.adapters.model_catalogue import KNOWN_MODELS, KnownModel
from docutalk_embed.adapters.model_registry import ModelRecord, ModelRegistry, find_model
from docutalk_embed.adapters.model_repository import add_model, list_models
from docutalk_embed.domain import is_storable

MAX_DIMENSION = 4000
"""What the index over half-precision vectors takes."""
MIN_TOKENS, MAX_TOKENS = 8, 131_072
MAX_PREFIX = 1000
MAX_PROVIDER_MODEL = 200
DEFAULT_TOKENS = 256
_NAME = re.compile(r"[A-Za-z0-9._-]{1,80}")
_PROBE = "Pumps were replaced in the harbour."


async def register_model(request: RegisterModel, db: Database, registry: ModelRegistry, cause: Cause) -> EmbeddingModel:
    """The registered model. Without a dimension it is that of the vector which the model gives.

    Raises `RequestFailed`: `invalid`, `conflict` when the name is taken, and `ModelUnavailable` when the model gives none.
    """
    record = _record(request)
    async with db.read() as session:
        if await find_model(session, record.name):
            raise _taken(record.name)
    record = await _probed(record, registry)
    try:
        async with db.transaction(cause) as transaction:
            await add_model(transaction.session, record)
    except IntegrityError as error:
        raise _taken(record.name) from error
    async with db.read() as session:
        [registered] = await list_models(session, record.name)
    return registered


def _record(request: RegisterModel) -> ModelRecord:
    """What was asked for, completed by what is well known; a dimension of 0 is to be found out. Raises `invalid`."""
    if not _NAME.fullmatch(request.name):
        raise _invalid("a model's name has 1 to 80 letters, digits, dots, dashes and underscores")
    known = KNOWN_MODELS.get(request.name)
    provider = request.provider or (known.provider if known else None)
    if provider is None:
        raise _invalid(f"{request.name} is not a well-known model: say which provider has it, fastembed or openai")
    if provider is ModelProvider.BUILT_IN:
        raise _invalid("there is one built-in model, and it is registered already")
    if known is None:
        known = KnownModel(request.name, provider, request.name, 0, DEFAULT_TOKENS)
    elif known.provider is not provider:
        # The same weights, run by somebody else: they want the same prefixes under another name.
        known = replace(known, provider_model=request.name)
    given = request.model_dump(exclude_none=True)
    query_prefix, passage_prefix = known.prefixes
    record = ModelRecord(
        id=0,
        name=request.name,
        provider=provider,
        provider_model=given.get("provider_model", known.provider_model),
        dimension=given.get("dimension", known.dimension),
        distance=given.get("distance", known.distance),
        query_prefix=given.get("query_prefix", query_prefix),
        passage_prefix=given.get("passage_prefix", passage_prefix),
        max_tokens=given.get("max_tokens", known.max_tokens),
    )
    _check(record, is_dimension_given="dimension" in given)
    return record


def _check(record: ModelRecord, *, is_dimension_given: bool) -> None:
    if is_dimension_given and not 1 <= record.dimension <= MAX_DIMENSION:
        raise _invalid(f"the dimension is {record.dimension:,}; it may be 1 to {MAX_DIMENSION:,}")
    if not MIN_TOKENS <= record.max_tokens <= MAX_TOKENS:
        raise _invalid(f"the model may be given {record.max_tokens:,} tokens; {MIN_TOKENS} to {MAX_TOKENS:,} are possible")
    for what, text, most in (
        ("prefix of queries", record.query_prefix, MAX_PREFIX),
        ("prefix of passages", record.passage_prefix, MAX_PREFIX),
        ("model's name at its provider", record.provider_model, MAX_PROVIDER_MODEL),
    ):
        if len(text) > most or not is_storable(text):
            raise _invalid(f"the {what} has more than {most} characters, or one that cannot be stored")
    if not record.provider_model.strip():
        raise _invalid("the model's name at its provider is empty")


async def _probed(record: ModelRecord, registry: ModelRegistry) -> ModelRecord:
    """The record with the dimension that the model really has."""
    async with registry.opened(record) as embedder:
        vectors = np.asarray(await embedder.embed([record.passage_prefix + _PROBE], Lane.INTERACTIVE), np.float32)
    found = vectors.shape[1]
    if record.dimension not in (0, found):
        raise _invalid(f"{record.name} gives vectors of {found:,} numbers, not of {record.dimension:,}")
    if found > MAX_DIMENSION:
        raise _invalid(f"{record.name} gives vectors of {found:,} numbers; at most {MAX_DIMENSION:,} can be searched")
    if not np.isfinite(vectors).all() or not np.any(vectors):
        raise _invalid(f"{record.name} gives a vector that points nowhere (zero, NaN or infinite)")
    return replace(record, dimension=found)


def _invalid(reason: str) -> RequestFailed:
    return RequestFailed("invalid", reason)


def _taken(name: str) -> RequestFailed:
    return RequestFailed("conflict", f"there is a model {name} already; remove it first, or choose another name")
