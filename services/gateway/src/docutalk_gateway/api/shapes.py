"""What goes over HTTP, as JSON. Shapes are the API's own: contracts between services may change without it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar
from uuid import UUID

from docutalk_common.contracts import ingest
from docutalk_common.contracts.ingest import BulkAction, DocumentStatus, RunStatus, SourceKind
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from docutalk_gateway.adapters import models
from docutalk_gateway.domain import (
    EMAIL_MAX,
    FILENAME_MAX,
    PASSWORD_MAX,
    PASSWORD_MIN,
    Role,
    clean_email,
    clean_filename,
    is_text,
)
from docutalk_gateway.use_cases.follow_events import TimelineEvent
from docutalk_gateway.use_cases.read_dead_letters import DeadLetterEntry

T = TypeVar("T")

DEPTH_MAX = 32


Email = Annotated[
    str, Field(max_length=EMAIL_MAX), AfterValidator(clean_email), WithJsonSchema({"type": "string", "format": "email"})
]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=20_000)]
# As `clean_filename` would leave it.
Filename = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=FILENAME_MAX)]


class Body(BaseModel):
    """A request's body. An unknown field is refused: it is a typing error, or an option that would be ignored in silence."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="after")
    def _only_text(self) -> Self:
        # PostgreSQL has no NUL in its texts, and half a surrogate pair, which JSON can spell, is no text at all (pydantic
        # looks for it everywhere but in secrets). Refusing them here makes it the caller's error.
        for name, value in self:
            for text in _leaves(name, value):
                plain = text.get_secret_value() if isinstance(text, SecretStr) else text
                if isinstance(plain, str) and not is_text(plain):
                    raise ValueError(f"{name} holds a character that is not allowed")
        return self


def _leaves(name: str, value: Any) -> Iterator[Any]:
    """The values in a structure as JSON has them, and the names of its fields. Raises `ValueError` for one that is too deep: what
    writes and reads it later goes down by calling itself."""
    level = [value]
    for _ in range(DEPTH_MAX):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                yield from item
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            else:
                yield item
        if not below:
            return
        level = below
    raise ValueError(f"{name} is nested more than {DEPTH_MAX} deep")


class Listing(BaseModel, Generic[T]):
    """A page of a list; `page` counts from 1, `total` is of the whole list."""

    items: list[T]
    total: int
    page: int
    per_page: int


# Identity --------------------------------------------------------------------------------------------------------


class Registration(Body):
    """A new account. `invitation` is the token of one, which also opens a registration that is closed."""

    email: Email
    password: Annotated[SecretStr, Field(min_length=PASSWORD_MIN, max_length=PASSWORD_MAX)]
    display_name: Line | None = None
    invitation: Annotated[str, Field(max_length=200)] | None = None


class Credentials(Body):
    """A sign-in."""

    email: Annotated[str, Field(max_length=EMAIL_MAX)]
    password: Annotated[SecretStr, Field(max_length=PASSWORD_MAX)]


class RefreshRequest(Body):
    """A refresh token, to be used up."""

    refresh_token: Annotated[str, Field(max_length=200)]


class Tokens(BaseModel):
    """`expires_in` is in seconds and speaks of the access token. The refresh token works once and gives a new pair."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  the scheme's name
    expires_in: int


class User(BaseModel):
    """A person. `default_workspace_id` is null when they are a member of none any more."""

    id: UUID
    email: str
    display_name: str | None
    is_admin: bool
    default_workspace_id: UUID | None
    created_at: datetime

    @classmethod
    def of(cls, user: models.User) -> User:
        """From the table."""
        return cls.model_validate(user, from_attributes=True)


# Workspaces ------------------------------------------------------------------------------------------------------


class NewWorkspace(Body):
    """A workspace to make."""

    name: Line
    description: Text | None = None
    system_prompt: Text | None = None


class WorkspaceChanges(Body):
    """What to change; a field that is left out stays."""

    name: Line = ""
    description: Text | None = None
    system_prompt: Text | None = None


class Workspace(BaseModel):
    """A workspace, and what the caller may do in it. With `archived_at` it is read and searched, and nothing changes in it."""

    id: UUID
    name: str
    description: str | None
    system_prompt: str | None
    role: Role
    archived_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, workspace: models.Workspace, role: Role) -> Workspace:
        """From the table."""
        return cls(
            id=workspace.id,
            name=workspace.name,
            description=workspace.description,
            system_prompt=workspace.system_prompt,
            role=role,
            archived_at=workspace.archived_at,
            created_at=workspace.created_at,
            updated_at=workspace.updated_at,
        )


class Member(BaseModel):
    """Who may do what in a workspace."""

    user_id: UUID
    email: str
    display_name: str | None
    role: Role
    created_at: datetime

    @classmethod
    def of(cls, member: models.Member, user: models.User) -> Self:
        """From the tables."""
        return cls(
            user_id=user.id,
            email=user.email,
            display_name=user.display_name,
            role=Role(member.role),
            created_at=member.created_at,
        )


# Documents -------------------------------------------------------------------------------------------------------


class UploadedDocument(BaseModel):
    """`duplicate_of` is set when the workspace has these bytes already; it is `id`, and nothing new was made."""

    id: UUID
    filename: str
    status: DocumentStatus
    duplicate_of: UUID | None = None


class Uploaded(BaseModel):
    """In the order of the files."""

    documents: list[UploadedDocument]


class Progress(BaseModel):
    """Counts never go back within a version. A total is null until it is known; `percent` is of the whole way to `ready`.

    `queue_position` counts from 1 while the document waits for its turn; `eta_seconds` is how long it may take until `ready`,
    from the speed measured lately, null where nothing was measured.
    """

    pages_done: int
    pages_total: int | None
    chunks_done: int
    chunks_total: int | None
    percent: int
    queue_position: int | None
    eta_seconds: int | None

    @classmethod
    def of(cls, document: ingest.Document) -> Progress:
        """Reading the pages and storing the passages are taken for half of the way each."""
        pages = _share(document.pages_done, document.page_count)
        chunks = _share(document.chunks_done, document.chunk_count)
        percent = 100 if document.status is DocumentStatus.READY else min(99, int(50 * pages + 50 * chunks))
        return cls(
            pages_done=document.pages_done,
            pages_total=document.page_count,
            chunks_done=document.chunks_done,
            chunks_total=document.chunk_count,
            percent=percent,
            queue_position=document.queue_position,
            eta_seconds=_whole_seconds(document.eta_seconds),
        )


def _share(done: int, total: int | None) -> float:
    return min(1.0, done / total) if total else 0.0


def _whole_seconds(seconds: float | None) -> int | None:
    """An estimate is no more precise than that, and a feed of fractions would never be the same twice."""
    return None if seconds is None else math.ceil(seconds)


class Metadata(BaseModel):
    """What a document says of itself; null where it says nothing. `language` is detected (ISO 639-1)."""

    title: str | None
    author: str | None
    created_at: datetime | None
    modified_at: datetime | None
    language: str | None


class Document(BaseModel):
    """A document. `reason` says why it failed; `code` says it to a program.

    `version` is the newest version of its file, which status and progress speak of, `attempt` counts the tries at it.
    `served_version` is the one whose pages are read and found, null while there is none. `source_id` and `origin` (an address)
    are set when a source brought it.
    """

    id: UUID
    filename: str
    content_type: str
    size: int
    sha256: str
    status: DocumentStatus
    code: str | None
    reason: str | None
    page_count: int | None
    chunk_count: int | None
    progress: Progress
    topics: list[str]
    version: int
    served_version: int | None
    attempt: int
    metadata: Metadata
    source_id: UUID | None
    origin: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, document: ingest.Document) -> Self:
        """As ingest tells it, without where its bytes lie."""
        return cls(
            id=document.document_id,
            filename=document.filename,
            content_type=document.content_type,
            size=document.size,
            sha256=document.sha256,
            status=document.status,
            code=document.code,
            reason=document.reason,
            page_count=document.page_count,
            chunk_count=document.chunk_count,
            progress=Progress.of(document),
            topics=[],
            version=document.version,
            served_version=document.served_version,
            attempt=document.attempt,
            metadata=Metadata.model_validate(document.metadata.model_dump()),
            source_id=document.source_id,
            origin=document.origin,
            created_at=document.created_at,
            updated_at=document.updated_at,
        )


class DocumentChanges(Body):
    """What to change of a document."""

    filename: Filename

    @field_validator("filename")
    @classmethod
    def _clean(cls, value: str) -> str:
        return clean_filename(value)


class Retry(Body):
    """`password` opens an encrypted file; it is forgotten when the file has been read."""

    password: Annotated[SecretStr, Field(min_length=1, max_length=PASSWORD_MAX)] | None = None


class BulkChange(Body):
    """One action on many documents: those of `document_ids`, or else those that fit all of `status`, `q` and `source_id`, of
    which at least one is given."""

    action: BulkAction
    document_ids: Annotated[list[UUID], Field(min_length=1, max_length=500)] | None = None
    status: DocumentStatus | None = None
    q: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    source_id: UUID | None = None

    @model_validator(mode="after")
    def _chosen(self) -> Self:
        filtered = any(value is not None for value in (self.status, self.q, self.source_id))
        if filtered == (self.document_ids is not None):
            raise ValueError("choose documents either by document_ids, or by status, q or source_id")
        return self


class Refused(BaseModel):
    """Why one document was left as it is."""

    document_id: UUID
    code: str
    reason: str


class BulkChanged(BaseModel):
    """The documents that were changed, at most 500 at a time; `remaining` more would fit, ask again for those."""

    document_ids: list[UUID]
    refused: list[Refused]
    remaining: int


class NewVersion(Document):
    """`unchanged`: the document has these bytes already, as its newest version, and stays as it is."""

    unchanged: bool = False


class Version(BaseModel):
    """One version of a document's file. The newest ten are kept."""

    version: int
    filename: str
    content_type: str
    size: int
    sha256: str
    page_count: int | None
    created_by: UUID
    created_at: datetime

    @classmethod
    def of(cls, version: ingest.DocumentVersion) -> Version:
        """As ingest tells it, without where its bytes lie."""
        return cls.model_validate(version.model_dump())


class Versions(BaseModel):
    """Newest first. `served_version` is the one whose pages are read and found."""

    items: list[Version]
    served_version: int | None


class WorkspaceProgress(BaseModel):
    """A workspace's documents together. `documents` counts them by status; pages and chunks are those of unfinished ones, as
    far as they are known; `eta_seconds` is how long all of them may take, null where nothing was measured."""

    documents: dict[str, int]
    pages_done: int
    page_count: int
    chunks_done: int
    chunk_count: int
    eta_seconds: int | None

    @classmethod
    def of(cls, progress: ingest.WorkspaceProgress) -> WorkspaceProgress:
        """As ingest tells it."""
        return cls(**{**progress.model_dump(), "eta_seconds": _whole_seconds(progress.eta_seconds)})


class Page(BaseModel):
    """`label` is what the document itself calls the page, `kind` what it is: `page`, `slide`, `sheet`, `chapter`, or `text` for
    a format without pages. Offsets of citations and passages are characters of `text`, in this version."""

    number: int
    label: str
    kind: str
    version: int
    text: str


class Box(BaseModel):
    """A rectangle, in points (of an image: pixels) from the upper left corner of the page as it is shown."""

    left: float
    top: float
    right: float
    bottom: float


class Boxes(BaseModel):
    """A box for each line of the quote, on a page of `width` by `height` points. None where the quote cannot be placed."""

    width: float
    height: float
    boxes: list[Box]

    @classmethod
    def of(cls, found: ingest.Boxes) -> Boxes:
        """As ingest tells it."""
        return cls.model_validate(found.model_dump())


class Unit(BaseModel):
    """A named stretch of a page: characters `start` to `end` of its text. `kind` is `heading` (with its `level` from 1), `table`,
    `row`, `notes`, `record`, `header` or `attachment`; further kinds may come."""

    ordinal: int
    page: int
    kind: str
    label: str
    level: int
    start: int
    end: int


class Units(BaseModel):
    """In order. `more`: ask again with `after` set to the last `ordinal`. `extractor` names what read the document, `text_hash`
    is the SHA-256 of the text of all pages, joined by form feeds: both change when offsets may."""

    items: list[Unit]
    more: bool
    extractor: str | None
    text_hash: str | None

    @classmethod
    def of(cls, found: ingest.Units) -> Units:
        """As ingest tells it."""
        return cls.model_validate(found.model_dump())


class Event(BaseModel):
    """A step in the life of a document or of a source, or a switch to another model for searching. `event` is `<entity>.<verb>`;
    `sequence` is its `Last-Event-ID`."""

    id: UUID
    sequence: int
    event: str
    type: str
    time: datetime
    document_id: UUID | None
    source_id: UUID | None
    correlation_id: UUID
    actor: str | None
    data: dict[str, Any]

    @classmethod
    def of(cls, event: TimelineEvent) -> Event:
        """From the log."""
        document_id, source_id = (event.envelope.data.get(name) for name in ("document_id", "source_id"))
        return cls(
            id=event.envelope.id,
            sequence=event.sequence,
            event=event.name,
            type=event.envelope.type,
            time=event.envelope.time,
            document_id=UUID(str(document_id)) if document_id else None,
            source_id=UUID(str(source_id)) if source_id else None,
            correlation_id=event.envelope.correlation_id,
            actor=event.envelope.actor,
            data=event.data,
        )


# Sources ---------------------------------------------------------------------------------------------------------


class Schedule(Body):
    """When a source is collected again: `cron` (five fields, in `timezone`) or `every_seconds`."""

    cron: Annotated[str, Field(max_length=200)] | None = None
    every_seconds: Annotated[int, Field(ge=60, le=366 * 24 * 3600)] | None = None
    timezone: Annotated[str, Field(max_length=100)] = "UTC"

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.cron is None) == (self.every_seconds is None):
            raise ValueError("give either cron or every_seconds")
        return self


class NewSource(Body):
    """Where documents come from. `config` by `kind`:

    `text`: `{title, text}` · `urls`: `{urls}` · `csv`: `{url}` or `{text}`, with `key_column?, title_column?, delimiter?` ·
    `feed`: `{url, full_text, max_items}` · `search`: `{query, max_results}`.
    """

    kind: SourceKind
    name: Line
    config: dict[str, Any]
    schedule: Schedule | None = None


class SourceChanges(Body):
    """What to change; a field that is left out stays. `schedule: null` ends the collecting by the clock."""

    name: Line = ""
    config: dict[str, Any] = {}
    schedule: Schedule | None = None
    paused: bool = False


class SourceRun(BaseModel):
    """One collection of a source. The counts are of items; `reason` says why it failed, or what of it did."""

    id: UUID
    source_id: UUID
    trigger: Literal["created", "manual", "schedule"]
    status: RunStatus
    found: int
    new: int
    changed: int
    unchanged: int
    failed: int
    reason: str | None
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, run: ingest.SourceRun) -> SourceRun:
        """As ingest tells it."""
        return cls.model_validate({"id": run.run_id, **run.model_dump()})


class Source(BaseModel):
    """A source with its last run. `document_count` is of documents that are not deleted."""

    id: UUID
    kind: SourceKind
    name: str
    config: dict[str, Any]
    schedule: Schedule | None
    paused: bool
    next_run_at: datetime | None
    last_run: SourceRun | None
    document_count: int
    created_by: UUID
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, source: ingest.Source) -> Source:
        """As ingest tells it."""
        last_run = SourceRun.of(source.last_run) if source.last_run else None
        return cls.model_validate({"id": source.source_id, **source.model_dump(), "last_run": last_run})


# Operations ------------------------------------------------------------------------------------------------------


class DeadLetter(BaseModel):
    """A message that a consumer gave up on, and why."""

    sequence: int
    service: str
    durable: str
    stream: str
    subject: str
    message_id: str | None
    workspace_id: UUID | None
    document_id: UUID | None
    code: str
    reason: str
    attempts: int
    failed_at: datetime

    @classmethod
    def of(cls, entry: DeadLetterEntry) -> DeadLetter:
        """From the stream."""
        return cls.model_validate({"sequence": entry.sequence, **entry.letter.model_dump()})


class DeadLetterDetail(DeadLetter):
    """With the message itself: `payload` in base64, as it was on the wire."""

    payload: str
    headers: dict[str, str]


class Health(BaseModel):
    """`degraded` when one of the checks is not `ok`; such a check says what is wrong."""

    status: Literal["ok", "degraded"]
    checks: dict[str, str]
