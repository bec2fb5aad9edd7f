"""The tables of the schema `gateway`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, DateTime, ForeignKey, Index, Integer, LargeBinary, Text, UniqueConstraint, Uuid, func
from sqlalchemy.dialects.postgresql import CITEXT, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NOW = func.now()


class Base(DeclarativeBase):
    """Everything here has time zone and UUID keys."""

    type_annotation_map = {datetime: DateTime(timezone=True), UUID: Uuid, str: Text, int: BigInteger}


class User(Base):
    """A person. `email` ignores case."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(CITEXT, unique=True)
    password_hash: Mapped[str]
    display_name: Mapped[str | None]
    is_admin: Mapped[bool] = mapped_column(Boolean, server_default="false")
    default_workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Workspace(Base):
    """What isolates everything."""

    __tablename__ = "workspaces"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str | None]
    system_prompt: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Member(Base):
    """Who may do what in a workspace: `owner`, `editor` or `viewer`."""

    __tablename__ = "members"

    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True)
    role: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class RefreshToken(Base):
    """One link in a chain of refresh tokens. A sign-in starts a family; each use replaces the link. Only the hash is kept."""

    __tablename__ = "refresh_tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    family_id: Mapped[UUID] = mapped_column(index=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    user_agent: Mapped[str | None]
    address: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Upload(Base):
    """Bytes that were accepted, as one version of a document. `seen_at` is set once ingest has been seen to know it.

    A document's newest version is the current one, its `superseded_at` is unset. Unique among current versions: the document,
    and the hash within a workspace. What is superseded and seen is of no use here any more: ingest tells of it.
    """

    __tablename__ = "uploads"

    document_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, server_default="1")
    workspace_id: Mapped[UUID] = mapped_column(ForeignKey("workspaces.id"))
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
