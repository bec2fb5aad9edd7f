"""Accounts as administrators see them, and what access tokens are signed with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from docutalk_gateway.adapters import account_repository, repository
from docutalk_gateway.api import account_shapes, shapes
from docutalk_gateway.api.context import Page, SignedIn
from docutalk_gateway.api.links import link_to
from docutalk_gateway.use_cases import keep_signing_keys
from docutalk_gateway.use_cases import make_password_reset as resets
from docutalk_gateway.use_cases import unlink_openid as unlinking
from docutalk_gateway.use_cases.change_user import change_user

# No `Idempotency-Key`: the stored answer to replay would hold the token of a reset in clear.
router = APIRouter(tags=["administration"])


@router.get("/admin/users")
async def list_users(
    caller: SignedIn, page: Page, q: Annotated[str | None, Query(max_length=200, pattern="^[^\\x00]*$")] = None
) -> shapes.Listing[account_shapes.Account]:
    """All accounts, newest first; with `q` those whose address or name has it in it."""
    async with caller.gateway.db.read() as session:
        found, total = await account_repository.accounts(session, q, offset=page.offset, limit=page.per_page)
    items = [account_shapes.Account.of(user) for user in found]
    return shapes.Listing(items=items, total=total, page=page.page, per_page=page.per_page)


@router.patch("/admin/users/{user_id}")
async def patch_user(caller: SignedIn, user_id: UUID, body: account_shapes.AccountRights) -> account_shapes.Account:
    """Makes somebody an administrator or none, keeps an account out or lets it in again. The last administrator stays one."""
    changes = body.model_dump(exclude_unset=True)
    user = await change_user(
        caller.gateway.db,
        caller.cause,
        caller.actor,
        user_id=user_id,
        is_admin=changes.get("is_admin"),
        disabled=changes.get("disabled"),
        email_vouched=changes.get("email_vouched"),
    )
    return account_shapes.Account.of(user)


@router.delete("/admin/users/{user_id}/openid", status_code=204, response_class=Response)
async def unlink_openid(caller: SignedIn, user_id: UUID) -> None:
    """Takes from an account whom it belongs to at the OpenID provider, for example when the address was given to somebody new."""
    await unlinking.unlink_openid(caller.gateway.db, caller.cause, caller.actor, user_id=user_id)


@router.post("/admin/users/{user_id}/password-reset", status_code=201)
async def make_password_reset(request: Request, caller: SignedIn, user_id: UUID) -> account_shapes.PasswordReset:
    """Makes a token with which somebody sets a password within a day. Keep it: it is not shown again."""
    token, expires_at = await resets.make_password_reset(caller.gateway.db, caller.cause, caller.actor, user_id=user_id)
    # Behind the #, where it gets into no log: whatever opens the link reads it there and posts it.
    return account_shapes.PasswordReset(token=token, link=link_to(request, f"/auth/reset#token={token}"), expires_at=expires_at)


@router.get("/admin/signing-keys")
async def list_signing_keys(caller: SignedIn, page: Page) -> shapes.Listing[account_shapes.SigningKey]:
    """The keys that access tokens are signed with and accepted of, newest first."""
    async with caller.gateway.db.read() as session:
        found = await repository.signing_keys(session, datetime.now(UTC))
    items = [account_shapes.SigningKey.of(key) for key in found[page.offset : page.offset + page.per_page]]
    return shapes.Listing(items=items, total=len(found), page=page.page, per_page=page.per_page)


@router.post("/admin/signing-keys", status_code=201)
async def rotate_signing_key(caller: SignedIn, body: account_shapes.KeyRotation) -> account_shapes.SigningKey:
    """Makes a new key, which signs from now on. With `at_once` everybody has to refresh their access token."""
    gateway = caller.gateway
    made = await keep_signing_keys.rotate_signing_key(
        gateway.db, gateway.tokens, gateway.secret, caller.cause, caller.actor, at_once=body.at_once
    )
    return account_shapes.SigningKey.of(made)
