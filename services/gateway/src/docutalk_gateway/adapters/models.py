"""The tables of the schema `gateway`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, DateTime, ForeignKey, Index, Integer, LargeBinary, Text, UniqueConstraint, Uuid, func
from sqlalchemy.dialects.postgresql import ARRAY, CITEXT, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NOW = func.now()


class Base(DeclarativeBase):
    """Everything here has time zone and UUID keys."""

    type_annotation_map = {datetime: DateTime(timezone=True), UUID: Uuid, str: Text, int: BigInteger}


class User(Base):
    """A person. `email` ignores case. Without `password_hash` they sign in at their OpenID provider only. `email_vouched`:
    somebody else than whoever made the account said that the address is theirs."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(CITEXT, unique=True)
    password_hash: Mapped[str | None]
    display_name: Mapped[str | None]
    is_admin: Mapped[bool] = mapped_column(Boolean, server_default="false")
    email_vouched: Mapped[bool] = mapped_column(Boolean, server_default="false")
    default_workspace_id: Mapped[UUID | None] = mapped_column(ForeignKey("workspaces.id", ondelete="SET NULL"))
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Workspace(Base):
    """What isolates everything. The limits are those of this workspace; None: as the installation's settings say."""

    __tablename__ = "workspaces"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str | None]
    system_prompt: Mapped[str | None]
    archived_at: Mapped[datetime | None]
    max_documents: Mapped[int | None]
    max_bytes: Mapped[int | None]
    max_questions_per_day: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Member(Base):
    """Who may do what in a workspace: `owner`, `editor` or `viewer`."""

    __tablename__ = "members"

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True)
    role: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class SignIn(Base):
    """A sign-in, which lasts as long as its refresh tokens are renewed: what people see as a session. `method` is `password` or
    `openid`. `user_agent` and `address` are those of its last use."""

    __tablename__ = "sign_ins"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    method: Mapped[str] = mapped_column(server_default="password")
    user_agent: Mapped[str | None]
    address: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    last_used_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    revoked_at: Mapped[datetime | None]


class RefreshToken(Base):
    """One link in the chain of refresh tokens of a sign-in; each use replaces the link. Only the hash is kept."""

    __tablename__ = "refresh_tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    sign_in_id: Mapped[UUID] = mapped_column(ForeignKey("sign_ins.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]


class Upload(Base):
    """Bytes that were accepted, as one version of a document. `seen_at` is set once ingest has been seen to know it.

    A document's newest version is the current one, its `superseded_at` is unset. Unique among current versions: the document,
    and the hash within a workspace. What is superseded and seen is of no use here any more: ingest tells of it.
    """

    __tablename__ = "uploads"

    document_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, server_default="1")
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id"), index=True)
    uploaded_by: Mapped[UUID]
    filename: Mapped[str]
    content_type: Mapped[str]
    size: Mapped[int]
    sha256: Mapped[str]
    object_key: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    seen_at: Mapped[datetime | None]
    superseded_at: Mapped[datetime | None]


class PostedMessage(Base):
    """Who asked what produced which answer: decides who may follow an answer, and makes a repeated POST find the first one."""

    __tablename__ = "posted_messages"
    __table_args__ = (
        UniqueConstraint("user_id", "workspace_id", "idempotency_key"),
        Index("posted_messages_of_user", "user_id", "created_at"),
    )

    answer_id: Mapped[UUID] = mapped_column(primary_key=True)
    message_id: Mapped[UUID]
    session_id: Mapped[UUID]
    workspace_id: Mapped[UUID]
    user_id: Mapped[UUID]
    idempotency_key: Mapped[str | None]
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW, index=True)


class ApiKey(Base):
    """What a program signs in with. Only the hash is kept; `hint` is the beginning of the key, to tell it from others."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    hint: Mapped[str]
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class IdempotencyKey(Base):
    """A request that was made with an `Idempotency-Key`, and its answer once there is one."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes | None] = mapped_column(LargeBinary)
    status: Mapped[int | None] = mapped_column(Integer)
    headers: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    claimed_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Invitation(Base):
    """A link that lets somebody in: makes an account, and a member of the workspace if there is one. With `email` it is for that
    address only. Only the hash of its token is kept; it works once."""

    __tablename__ = "invitations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    email: Mapped[str | None] = mapped_column(CITEXT)
    workspace_id: Mapped[UUID | None] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), index=True)
    role: Mapped[str | None]
    invited_by: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    accepted_at: Mapped[datetime | None]
    accepted_by: Mapped[UUID | None]


class PasswordReset(Base):
    """A token with which a password is set anew, made by an administrator; the latest one of an account only."""

    __tablename__ = "password_resets"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class OpenIdIdentity(Base):
    """Who somebody is at an OpenID provider: `subject` never changes there, an address may."""

    __tablename__ = "openid_identities"

    issuer: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class OpenIdFlow(Base):
    """Somebody was sent to the provider and has not come back; any gateway may receive them. `browser_hash` is of a cookie, so
    that nobody can make another person's browser finish their own sign-in; `invitation_hash` of the invitation they came with."""

    __tablename__ = "openid_flows"

    state_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    browser_hash: Mapped[bytes] = mapped_column(LargeBinary)
    nonce: Mapped[str]
    code_verifier: Mapped[str]
    return_to: Mapped[str | None]
    code_challenge: Mapped[str | None]
    invitation_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class OpenIdCode(Base):
    """Somebody came back from the provider; the application that they return to has the code, once, and its own PKCE verifier."""

    __tablename__ = "openid_codes"

    code_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    code_challenge: Mapped[str]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class SigningKey(Base):
    """What access tokens are signed with: a key is derived from `salt` and the installation's secret, so that the table alone
    signs nothing. The newest one signs; older ones are accepted until `retires_at`."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    salt: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    retires_at: Mapped[datetime | None]


class Share(Base):
    """A share link. Only the hash of its token is kept; `hint` is how it begins. `created_by` also names whose conversation it is
    that a link to a session shows."""

    __tablename__ = "shares"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), index=True)
    name: Mapped[str | None]
    target: Mapped[str]
    target_id: Mapped[UUID]
    permissions: Mapped[list[str]] = mapped_column(ARRAY(Text))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    hint: Mapped[str]
    password_hash: Mapped[str | None]
    max_uses: Mapped[int | None] = mapped_column(Integer)
    uses: Mapped[int] = mapped_column(Integer, server_default="0")
    created_by: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class ShareVisit(Base):
    """Somebody opened a share link, which is one use of it. The id is in their access token, and owns what they ask."""

    __tablename__ = "share_visits"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    share_id: Mapped[UUID] = mapped_column(ForeignKey("shares.id", ondelete="CASCADE"), index=True)
    opened_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class ShareAccess(Base):
    """The access log of share links: openings, refused ones too, and what visitors did. `action` is `opened`, `refused`, or an
    operation of the API; `document_id` the document that it was about."""

    __tablename__ = "share_accesses"
    __table_args__ = (Index("share_accesses_of_share", "share_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    share_id: Mapped[UUID] = mapped_column(ForeignKey("shares.id", ondelete="CASCADE"))
    visit_id: Mapped[UUID | None]
    action: Mapped[str]
    document_id: Mapped[UUID | None]
    reason: Mapped[str | None]
    address: Mapped[str | None]
    user_agent: Mapped[str | None]
    at: Mapped[datetime] = mapped_column(server_default=NOW, index=True)


class AuditEntry(Base):
    """What somebody did that others may have to account for. `actor` is `user`, `key`, `visitor`, `nobody` or `system`. Entries
    hold ids and no texts; of a deleted user the address and device go."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("audit_log_of_workspace", "workspace_id", "id"), Index("audit_log_of_actor", "actor_id", "id"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=NOW, index=True)
    action: Mapped[str]
    actor: Mapped[str]
    actor_id: Mapped[UUID | None]
    workspace_id: Mapped[UUID | None]
    target_id: Mapped[UUID | None]
    address: Mapped[str | None]
    user_agent: Mapped[str | None]
    details: Mapped[dict[str, str | int | bool | None]] = mapped_column(JSONB, server_default="{}")


class RateWindow(Base):
    """What was taken of a limit in a window of time, by all gateways together. Unlogged: after a crash everybody begins anew."""

    __tablename__ = "rate_windows"

    bucket: Mapped[str] = mapped_column(primary_key=True)
    window: Mapped[int] = mapped_column(primary_key=True)
    taken: Mapped[int] = mapped_column(Integer)
    ends_at: Mapped[datetime] = mapped_column(index=True)


class Erasure(Base):
    """The deletion of a workspace or a user. `kind` is `workspace` or `user`. It is complete when every service of `services` has
    given its receipts, the log is purged, and so are its children: the workspaces of a user."""

    __tablename__ = "erasures"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject_id: Mapped[UUID] = mapped_column(index=True)
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("erasures.id", ondelete="CASCADE"), index=True)
    services: Mapped[list[str]] = mapped_column(ARRAY(Text))
    requested_at: Mapped[datetime] = mapped_column(server_default=NOW)
    completed_at: Mapped[datetime | None]


class ErasureReceipt(Base):
    """What one service removed, one part of it."""

    __tablename__ = "erasure_receipts"

    erasure_id: Mapped[UUID] = mapped_column(ForeignKey("erasures.id", ondelete="CASCADE"), primary_key=True)
    service: Mapped[str] = mapped_column(primary_key=True)
    part: Mapped[int] = mapped_column(Integer, primary_key=True)
    parts: Mapped[int] = mapped_column(Integer)
    removed: Mapped[dict[str, int]] = mapped_column(JSONB)
    received_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Import(Base):
    """An archive that becomes a workspace. `status` is `queued`, `checking`, `importing`, `done` or `failed`; `held_until` says
    how long the gateway that works on it, as `held_by`, may be silent before another one takes it up. `attempts` counts those
    that ended without a word. From `importing` on there is a workspace, without members until it is `done`."""

    __tablename__ = "imports"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    object_key: Mapped[str]
    size: Mapped[int]
    name: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default="queued")
    steps_done: Mapped[int] = mapped_column(Integer, server_default="0")
    steps: Mapped[int | None] = mapped_column(Integer)
    workspace_id: Mapped[UUID | None]
    remapped: Mapped[int | None] = mapped_column(Integer)
    reason: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    finished_at: Mapped[datetime | None] = mapped_column(index=True)
    held_until: Mapped[datetime | None]
    held_by: Mapped[UUID | None]
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
