"""Workspaces and accounts are deleted, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from docutalk_common.errors import NotFound
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, SecretStr

from docutalk_gateway.adapters import erasure_repository
from docutalk_gateway.adapters.erasure_repository import ErasureState
from docutalk_gateway.api import shapes
from docutalk_gateway.api.context import Member, SignedIn, gateway_of
from docutalk_gateway.domain import PASSWORD_MAX, ErasureKind
from docutalk_gateway.use_cases import delete_user as deletion_of_user
from docutalk_gateway.use_cases import delete_workspace as deletion_of_workspace

router = APIRouter(tags=["erasure"])


class AccountDeletion(shapes.Body):
    """Proof of who deletes their account; without an own password, as with OpenID, none is needed."""

    password: Annotated[SecretStr, Field(max_length=PASSWORD_MAX)] | None = None


class Receipt(BaseModel):
    """What a service removed, counted by kind."""

    service: str
    removed: dict[str, int]


class Erasure(BaseModel):
    """How far the deletion of a workspace or a user is. `complete`: no service holds anything of it, nor the log, nor the object
    store. `waiting_for` names the services that have not said so yet; `children` are the erasures of workspaces that went with
    a user."""

    id: UUID
    kind: ErasureKind
    status: Literal["pending", "complete"]
    requested_at: datetime
    completed_at: datetime | None
    receipts: list[Receipt]
    waiting_for: list[str]
    children: list[UUID]

    @classmethod
    def of(cls, state: ErasureState) -> Self:
        """From the tables."""
        erasure = state.erasure
        return cls(
            id=erasure.id,
            kind=ErasureKind(erasure.kind),
            status="pending" if erasure.completed_at is None else "complete",
            requested_at=erasure.requested_at,
            completed_at=erasure.completed_at,
            receipts=[Receipt(service=service, removed=removed) for service, removed in state.removed.items()],
            waiting_for=state.waiting_for,
            children=[child.id for child in state.children],
        )


def _begun(state: ErasureState, response: Response) -> Erasure:
    response.headers["Location"] = f"/api/v1/erasures/{state.erasure.id}"
    return Erasure.of(state)


@router.delete("/workspaces/{workspace_id}", status_code=202)
async def delete_workspace(access: Member, response: Response) -> Erasure:
    """Deletes a workspace with all that is in it, for good. Nobody can enter it from now on; the other services follow, and the
    address in `Location` says what each of them has removed. Owners only, and not with an API key."""
    state = await deletion_of_workspace.delete_workspace(
        access.gateway.db, access.cause, access.actor, workspace_id=access.workspace_id
    )
    return _begun(state, response)


@router.delete("/users/me", status_code=202)
async def delete_me(caller: SignedIn, response: Response, body: AccountDeletion | None = None) -> Erasure:
    """Deletes your account for good, with your conversations everywhere and the workspaces that you are the only member of. In
    others' workspaces your documents stay, without your name. Sign-ins and API keys end at once."""
    gateway = caller.gateway
    password = body.password if body is not None else None
    state = await deletion_of_user.delete_own_account(
        gateway.db,
        gateway.storage,
        gateway.passwords,
        caller.cause,
        caller.actor,
        limits=gateway.attempt_limits,
        user_id=caller.user_id,
        sign_in_id=caller.credentials.sign_in_id,
        password=password.get_secret_value() if password is not None else None,
    )
    return _begun(state, response)


@router.delete("/admin/users/{user_id}", status_code=202)
async def delete_user(caller: SignedIn, user_id: UUID, response: Response) -> Erasure:
    """Deletes an account for good, as its owner would. Administrators only; not the last one."""
    gateway = caller.gateway
    state = await deletion_of_user.delete_user(gateway.db, gateway.storage, caller.cause, caller.actor, user_id=user_id)
    return _begun(state, response)


@router.get("/erasures/{erasure_id}")
async def get_erasure(request: Request, erasure_id: UUID) -> Erasure:
    """How far a deletion is. For everybody who has its id, which nobody can guess: who deleted their account has no sign-in."""
    async with gateway_of(request).db.read() as session:
        erasure = await erasure_repository.erasure_by_id(session, erasure_id)
        if erasure is None:
            raise NotFound("There is no such erasure.")
        return Erasure.of(await erasure_repository.erasure_state(session, erasure))
