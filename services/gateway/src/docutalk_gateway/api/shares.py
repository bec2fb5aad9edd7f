"""Share links: made and watched by editors of a workspace, opened by whoever has one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated
from uuid import UUID

from docutalk_common.errors import NotFound, RequestFailed
from fastapi import APIRouter, Path, Request, Response

from docutalk_gateway.adapters import models, share_repository
from docutalk_gateway.api import share_shapes as shapes
from docutalk_gateway.api.context import SIGNS_TOKENS, Access, Member, Page, actor_of, anonymous_cause, gateway_of
from docutalk_gateway.api.links import link_to
from docutalk_gateway.api.permissions import targets_of
from docutalk_gateway.api.shapes import Listing
from docutalk_gateway.domain import SharePermission, ShareTarget
from docutalk_gateway.use_cases.change_share import change_share
from docutalk_gateway.use_cases.create_share import create_share
from docutalk_gateway.use_cases.name_share_target import name_share_target
from docutalk_gateway.use_cases.open_share import open_share
from docutalk_gateway.use_cases.revoke_share import revoke_share
from docutalk_gateway.use_cases.show_share import show_share

# No `Idempotency-Key`: the stored answer to replay would hold the token in clear, and so would the path of the public routes.
router = APIRouter(tags=["shares"])
public = APIRouter(tags=["shares"])

_SHARES = "/workspaces/{workspace_id}/shares"
Token = Annotated[str, Path(max_length=200, description="The token of a link")]


@router.post(_SHARES, status_code=201)
async def add_share(request: Request, access: Member, body: shapes.NewShareLink, response: Response) -> shapes.CreatedShareLink:
    """Makes a link that needs no account. Keep it: it is not shown again."""
    gateway, wanted = access.gateway, body.wanted(access.workspace_id)
    _check(wanted.permissions, wanted.target)
    requests = gateway.broker.requests
    await name_share_target(
        gateway.db,
        requests,
        access.cause,
        workspace_id=access.workspace_id,
        user_id=access.user_id,
        target=wanted.target,
        target_id=wanted.target_id,
    )
    share, token = await create_share(
        gateway.db,
        gateway.passwords,
        access.cause,
        access.actor,
        workspace_id=access.workspace_id,
        user_id=access.user_id,
        wanted=wanted,
    )
    response.headers["Location"] = f"/api/v1/workspaces/{access.workspace_id}/shares/{share.id}"
    link = link_to(request, f"/shared/{token}")
    return shapes.CreatedShareLink(**shapes.ShareLink.of(share).model_dump(), token=token, link=link)


@router.get(_SHARES)
async def list_shares(access: Member, page: Page) -> Listing[shapes.ShareLink]:
    """The links into this workspace, newest first, also those that have ended."""
    async with access.gateway.db.read() as session:
        found, total = await share_repository.shares_of(session, access.workspace_id, offset=page.offset, limit=page.per_page)
    items = [shapes.ShareLink.of(share) for share in found]
    return Listing(items=items, total=total, page=page.page, per_page=page.per_page)


@router.get(_SHARES + "/{share_id}")
async def get_share(access: Member, share_id: UUID) -> shapes.ShareLink:
    """One link."""
    return shapes.ShareLink.of(await _share(access, share_id))


@router.patch(_SHARES + "/{share_id}")
async def patch_share(access: Member, share_id: UUID, body: shapes.ShareLinkChanges) -> shapes.ShareLink:
    """Changes a link, also for those who have opened it. What it leads to stays."""
    changes = body.model_dump(exclude_unset=True)
    if body.password is not None:
        changes["password"] = body.password.get_secret_value()
    _check(body.permissions, ShareTarget((await _share(access, share_id)).target))
    changed = await change_share(
        access.gateway.db,
        access.gateway.passwords,
        access.cause,
        access.actor,
        workspace_id=access.workspace_id,
        share_id=share_id,
        changes=changes,
    )
    return shapes.ShareLink.of(changed)


@router.delete(_SHARES + "/{share_id}", status_code=204, response_class=Response)
async def remove_share(access: Member, share_id: UUID) -> None:
    """Revokes a link: it cannot be opened any more, and who has opened it is refused from their next request on. It stays listed,
    with its log."""
    await revoke_share(access.gateway.db, access.cause, access.actor, workspace_id=access.workspace_id, share_id=share_id)


@router.get(_SHARES + "/{share_id}/accesses")
async def list_share_accesses(access: Member, share_id: UUID, page: Page) -> Listing[shapes.ShareLinkAccess]:
    """Who opened a link, or was refused, and what they did, newest first; of the last 90 days unless the installation says
    otherwise."""
    await _share(access, share_id)
    async with access.gateway.db.read() as session:
        found, total = await share_repository.accesses_of(session, share_id, offset=page.offset, limit=page.per_page)
    items = [shapes.ShareLinkAccess.of(entry) for entry in found]
    return Listing(items=items, total=total, page=page.page, per_page=page.per_page)


async def _share(access: Access, share_id: UUID) -> models.Share:
    async with access.gateway.db.read() as session:
        share = await share_repository.share_of(session, access.workspace_id, share_id)
    if share is None:
        raise NotFound("There is no such share link.")
    return share


def _check(permissions: Collection[SharePermission], target: ShareTarget) -> None:
    """Raises `RequestFailed("invalid")` for what a link to such a target would not let anybody do."""
    useless = [
        permission.value for permission in SharePermission if permission in permissions and target not in targets_of(permission)
    ]
    if useless:
        possible = [permission.value for permission in SharePermission if target in targets_of(permission)]
        raise RequestFailed(
            "invalid", f"A link to a {target.value} cannot grant {', '.join(useless)}. It can grant {', '.join(possible)}."
        )


@public.get("/shared/{token}")
async def get_shared(request: Request, token: Token) -> shapes.Shared:
    """What a link is of. To look is no use of it."""
    gateway = gateway_of(request)
    shown = await show_share(gateway.db, gateway.broker.requests, anonymous_cause(request), actor_of(request), token=token)
    return shapes.Shared.of(shown)


@public.post("/shared/{token}/open", dependencies=SIGNS_TOKENS)
async def open_shared(request: Request, token: Token, body: shapes.OpenShare | None = None) -> shapes.Visit:
    """Begins a visit, which is one use of the link. `403` of type `share_password` without its password or with another one."""
    gateway = gateway_of(request)
    password = body.password if body is not None else None
    opened = await open_share(
        gateway.db,
        gateway.passwords,
        gateway.tokens,
        anonymous_cause(request),
        actor_of(request),
        token=token,
        password=password.get_secret_value() if password is not None else None,
    )
    return shapes.Visit.of(opened)
