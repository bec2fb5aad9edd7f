"""Oneself: who is signed in, and what they change of it."""

from __future__ import annotations

from docutalk_common.errors import NotFound
from fastapi import APIRouter, Response

from docutalk_gateway.adapters import repository
from docutalk_gateway.api import account_shapes, shapes
from docutalk_gateway.api.context import SignedIn
from docutalk_gateway.use_cases.change_account import NewEmail, change_account
from docutalk_gateway.use_cases.change_password import change_password as set_new_password

# No `Idempotency-Key`: what is done twice here is the same as once.
router = APIRouter(tags=["identity"])


@router.get("/users/me")
async def me(caller: SignedIn) -> shapes.User:
    """Who is signed in."""
    async with caller.gateway.db.read() as session:
        user = await repository.user_by_id(session, caller.user_id)
    if user is None:
        raise NotFound("This account does not exist any more.")
    return shapes.User.of(user)


@router.patch("/users/me")
async def patch_me(caller: SignedIn, body: account_shapes.AccountChanges) -> shapes.User:
    """Changes your name, your default workspace, or the address that you sign in with."""
    gateway = caller.gateway
    changes = body.model_dump(exclude_unset=True, include={"display_name", "default_workspace_id"})
    new_email: NewEmail | None = None
    if "email" in body.model_fields_set and body.current_password is not None:
        new_email = NewEmail(body.email, body.current_password.get_secret_value())
    user = await change_account(
        gateway.db,
        gateway.passwords,
        caller.cause,
        caller.actor,
        limits=gateway.attempt_limits,
        user_id=caller.user_id,
        changes=changes,
        new_email=new_email,
    )
    return shapes.User.of(user)


@router.post("/users/me/password", status_code=204, response_class=Response)
async def change_password(caller: SignedIn, body: account_shapes.PasswordChange) -> None:
    """Sets a new password and ends every other sign-in. This one goes on."""
    gateway, current = caller.gateway, body.current_password
    await set_new_password(
        gateway.db,
        gateway.passwords,
        caller.cause,
        caller.actor,
        limits=gateway.attempt_limits,
        user_id=caller.user_id,
        keep=caller.credentials.sign_in_id,
        current_password=current.get_secret_value() if current is not None else None,
        new_password=body.new_password.get_secret_value(),
    )
