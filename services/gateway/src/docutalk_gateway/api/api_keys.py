"""API keys: with one a program does what its owner may do, without their password."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from docutalk_gateway.adapters import models, repository
from docutalk_gateway.api.context import Page, SignedIn
from docutalk_gateway.api.search_shapes import Moment
from docutalk_gateway.api.shapes import Body, Line, Listing
from docutalk_gateway.domain import Scope
from docutalk_gateway.use_cases.create_api_key import create_api_key
from docutalk_gateway.use_cases.delete_api_key import delete_api_key

# No `Idempotency-Key`: the stored answer to replay would be the key itself, in clear for a day.
router = APIRouter(tags=["identity"])


# What most programs do: not rule over workspaces.
_USUAL: list[Scope] = [scope for scope in Scope if scope is not Scope.WORKSPACES_MANAGE]


class NewApiKey(Body):
    """`name` says what the key is for. Without `expires_at` it is valid until it is deleted. `scopes` are what it may do, never
    more than you may; without them all but `workspaces:manage`."""

    name: Line
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))] = _USUAL
    expires_at: Moment | None = None


class ApiKey(BaseModel):
    """`hint` is how the key begins. `last_used_at` is exact to a minute."""

    id: UUID
    name: str
    hint: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, key: models.ApiKey) -> ApiKey:
        """As it is stored."""
        return cls.model_validate(key, from_attributes=True)


class CreatedApiKey(ApiKey):
    """`key` is shown this once."""

    key: str


@router.post("/users/me/api-keys", status_code=201)
async def add_api_key(caller: SignedIn, body: NewApiKey) -> CreatedApiKey:
    """Makes a key, which signs in as `Authorization: Bearer dtk_…`, also to `/v1` and `/mcp`. Keep it: it is not shown again."""
    stored, key = await create_api_key(
        caller.gateway.db,
        caller.cause,
        caller.actor,
        user_id=caller.user_id,
        name=body.name,
        scopes=body.scopes,
        expires_at=body.expires_at,
    )
    return CreatedApiKey(**ApiKey.of(stored).model_dump(), key=key)


@router.get("/users/me/api-keys")
async def list_api_keys(caller: SignedIn, page: Page) -> Listing[ApiKey]:
    """Your keys, newest first, also those that have expired."""
    async with caller.gateway.db.read() as session:
        found, total = await repository.api_keys_of(session, caller.user_id, offset=page.offset, limit=page.per_page)
    return Listing(items=[ApiKey.of(key) for key in found], total=total, page=page.page, per_page=page.per_page)


@router.delete("/users/me/api-keys/{key_id}", status_code=204, response_class=Response)
async def remove_api_key(caller: SignedIn, key_id: UUID) -> None:
    """Deletes a key: it signs in no more."""
    await delete_api_key(caller.gateway.db, caller.cause, caller.actor, user_id=caller.user_id, key_id=key_id)
