"""Where somebody is signed in, and the end of it."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from docutalk_gateway.adapters import repository
from docutalk_gateway.api import account_shapes, shapes
from docutalk_gateway.api.context import Page, SignedIn
from docutalk_gateway.use_cases import end_sign_ins

router = APIRouter(tags=["identity"])


@router.get("/users/me/sessions")
async def list_sign_ins(caller: SignedIn, page: Page) -> shapes.Listing[account_shapes.SignIn]:
    """Where you are signed in, last used first."""
    async with caller.gateway.db.read() as session:
        found, total = await repository.sign_ins_of(session, caller.user_id, offset=page.offset, limit=page.per_page)
    items = [account_shapes.SignIn.of(sign_in, caller.credentials.sign_in_id) for sign_in in found]
    return shapes.Listing(items=items, total=total, page=page.page, per_page=page.per_page)


@router.delete("/users/me/sessions/{sign_in_id}", status_code=204, response_class=Response)
async def end_sign_in(caller: SignedIn, sign_in_id: UUID) -> None:
    """Ends one of your sign-ins, also this one. Its tokens are refused from now on."""
    await end_sign_ins.end_sign_in(caller.gateway.db, caller.cause, caller.actor, user_id=caller.user_id, sign_in_id=sign_in_id)


@router.delete("/users/me/sessions", status_code=204, response_class=Response)
async def end_other_sign_ins(caller: SignedIn) -> None:
    """Ends all of your sign-ins but this one."""
    await end_sign_ins.end_other_sign_ins(
        caller.gateway.db, caller.cause, caller.actor, user_id=caller.user_id, keep=caller.credentials.sign_in_id
    )
