"""What goes over HTTP about share links."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr, model_validator

from docutalk_gateway.adapters import models
from docutalk_gateway.api.search_shapes import Moment
from docutalk_gateway.api.shapes import Body, Line
from docutalk_gateway.domain import PASSWORD_MAX, PASSWORD_MIN, SharePermission, ShareTarget
from docutalk_gateway.use_cases.create_share import NewShare
from docutalk_gateway.use_cases.find_share import State, state_of
from docutalk_gateway.use_cases.open_share import Opened
from docutalk_gateway.use_cases.show_share import Shown

Permissions = Annotated[list[SharePermission], Field(min_length=1, max_length=len(SharePermission))]
Uses = Annotated[int, Field(ge=1, le=1_000_000)]
Password = Annotated[SecretStr, Field(min_length=PASSWORD_MIN, max_length=PASSWORD_MAX)]


class NewTarget(Body):
    """What is shared: the whole workspace (without `id`), a document, what a source brought, or a conversation of your own."""

    kind: ShareTarget
    id: UUID | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.id is None) != (self.kind is ShareTarget.WORKSPACE):
            raise ValueError("a document, source or session is named by its id; a workspace is that of the path, without one")
        return self


class NewShareLink(Body):
    """A link to make. None of the `permissions` includes another one:

    `view`: lists, texts and pictures of pages; of a session its messages. `search`: passages and places. `chat`: conversations of
    one's own, whose answers cite what is shared. `comment`: to rate answers and remark on them, of use together with `chat`.
    `copy`: the files as they were uploaded, and conversations as files. A link to a session takes `view` and `copy` only.

    Without `expires_at` and `max_uses` it works until it is revoked. Each opening is a use.
    """

    name: Line | None = None
    target: NewTarget
    permissions: Permissions
    expires_at: Moment | None = None
    max_uses: Uses | None = None
    password: Password | None = None

    def wanted(self, workspace_id: UUID) -> NewShare:
        """For the use case."""
        return NewShare(
            target=self.target.kind,
            target_id=self.target.id or workspace_id,
            permissions=frozenset(self.permissions),
            name=self.name,
            expires_at=self.expires_at,
            max_uses=self.max_uses,
            password=self.password.get_secret_value() if self.password else None,
        )


class ShareLinkChanges(Body):
    """What to change; a field that is left out stays. Null takes the name, the end, the limit or the password away. It holds at
    once for those who have opened the link; a new password ends their visits."""

    name: Line | None = None
    permissions: Permissions = []
    expires_at: Moment | None = None
    max_uses: Uses | None = None
    password: Password | None = None


class Target(BaseModel):
    """What a link leads to."""

    kind: ShareTarget
    id: UUID


class ShareLink(BaseModel):
    """A link. `hint` is how its token begins. `state` says whether it can be opened: `active`, `revoked`, `expired`, `used_up`
    (who opened it before may still look around)."""

    id: UUID
    name: str | None
    hint: str
    target: Target
    permissions: list[SharePermission]
    state: State
    has_password: bool
    uses: int
    max_uses: int | None
    created_by: UUID
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, share: models.Share) -> ShareLink:
        """From the table."""
        return cls(
            id=share.id,
            name=share.name,
            hint=share.hint,
            target=Target(kind=ShareTarget(share.target), id=share.target_id),
            permissions=[SharePermission(permission) for permission in share.permissions],
            state=state_of(share, datetime.now(UTC)),
            has_password=share.password_hash is not None,
            uses=share.uses,
            max_uses=share.max_uses,
            created_by=share.created_by,
            created_at=share.created_at,
            expires_at=share.expires_at,
            revoked_at=share.revoked_at,
        )


class CreatedShareLink(ShareLink):
    """`token` and `link`, which holds it, are shown this once."""

    token: str
    link: str


class ShareLinkAccess(BaseModel):
    """An entry of a link's log. `action` is `opened`, `refused`, or the operation of the API that a visitor called, with the
    document that it was about; `reason` says why it was refused. A visit is one opening and all that came of it."""

    id: UUID
    at: datetime
    action: str
    visit_id: UUID | None
    document_id: UUID | None
    reason: str | None
    address: str | None
    user_agent: str | None

    @classmethod
    def of(cls, access: models.ShareAccess) -> ShareLinkAccess:
        """From the table."""
        return cls.model_validate(access, from_attributes=True)


class SharedTarget(BaseModel):
    """`name` is the workspace's or the source's, the document's filename, or the conversation's title; null while a password
    hides it."""

    kind: ShareTarget
    name: str | None


class Shared(BaseModel):
    """What somebody sees of a link who has it."""

    target: SharedTarget
    permissions: list[SharePermission]
    needs_password: bool
    expires_at: datetime | None

    @classmethod
    def of(cls, shown: Shown) -> Shared:
        """Without anything that names the workspace."""
        return cls(
            target=SharedTarget(kind=ShareTarget(shown.share.target), name=shown.name),
            permissions=[SharePermission(permission) for permission in shown.share.permissions],
            needs_password=shown.share.password_hash is not None,
            expires_at=shown.share.expires_at,
        )


class OpenShare(Body):
    """The link's password, if it has one."""

    password: Annotated[SecretStr, Field(max_length=PASSWORD_MAX)] | None = None


class Visit(BaseModel):
    """A visit has begun. With `access_token` as `Authorization: Bearer …` call the operations of this workspace that the
    permissions open; conversations in it belong to the visit. `expires_in` is in seconds; there is nothing to refresh it with."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  the scheme's name
    expires_in: int
    workspace_id: UUID
    target: Target
    permissions: list[SharePermission]
    visit_id: UUID

    @classmethod
    def of(cls, opened: Opened) -> Visit:
        """As it was opened."""
        share = opened.share
        return cls(
            access_token=opened.access_token,
            expires_in=opened.expires_in,
            workspace_id=share.workspace_id,
            target=Target(kind=ShareTarget(share.target), id=share.target_id),
            permissions=[SharePermission(permission) for permission in share.permissions],
            visit_id=opened.visit.id,
        )
