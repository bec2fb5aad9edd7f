"""A workspace as an archive: the one format that `export_workspace` writes and `import_workspace` reads.

`files/<document>/<version><extension>` holds the files as they were uploaded or collected, `documents.jsonl`, `sources.jsonl` and
`sessions.jsonl` a record on each line, and `manifest.json`, at the end, what is in the archive.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from math import isfinite
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeVar
from uuid import UUID

from docutalk_common.contracts import chat, ingest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from docutalk_gateway.adapters.stored_zip import StoredZip
from docutalk_gateway.domain import ArchiveRefused, is_text, key_extension

FORMAT: Final = "docutalk-workspace"
VERSION: Final = 1
MANIFEST, DOCUMENTS, SOURCES, SESSIONS = "manifest.json", "documents.jsonl", "sources.jsonl", "sessions.jsonl"
MANIFEST_MAX = 1 << 20
# A record goes to its service in one message, which the server takes up to 2 MiB; a source may have a configuration of 1 MiB.
LINE_MAX = 1_800_000
RECORDS_MAX = 500_000
"""Documents, sources, conversations and messages together; their ids are held in memory."""
INT_MAX = 2**31 - 1
SIZE_MAX = 2**63 - 1
TEXT_MAX = 100_000

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_NAMES = re.compile(rf"files/{_UUID}/[1-9][0-9]{{0,9}}(\.[a-z0-9]{{1,10}})?|(documents|sources|sessions)\.jsonl|manifest\.json")

L = TypeVar("L", bound=BaseModel)


def path_of(document_id: UUID, version: int, filename: str) -> str:
    """Where the file of a version is in the archive."""
    return f"files/{document_id}/{version}{key_extension(filename)}"


def is_expected(name: str) -> bool:
    """Whether an archive may hold something of this name."""
    return _NAMES.fullmatch(name) is not None


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _values(item)
    elif isinstance(value, list):
        for item in value:
            yield from _values(item)
    else:
        yield value


class _Strict(BaseModel):
    """What stands in an archive is taken as it is, or not at all: what a service would refuse later is refused here."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    number_max: ClassVar[int] = INT_MAX

    @model_validator(mode="after")
    def _can_be_stored(self) -> Self:
        for value in _values(self.model_dump()):
            if isinstance(value, str) and not is_text(value):
                raise ValueError("a text holds a character that is not allowed")
            if isinstance(value, datetime) and value.tzinfo is None:
                raise ValueError("a time has no time zone")
            if isinstance(value, int) and abs(value) > self.number_max:
                raise ValueError("a number is too large")
            if isinstance(value, float) and not isfinite(value):
                raise ValueError("a number is none")
        return self


class FileVersion(_Strict):
    """One file of a document. `path` is where it is in the archive; None in an archive without files."""

    number_max = SIZE_MAX
    version: Annotated[int, Field(ge=1, le=INT_MAX)]
    filename: Annotated[str, Field(min_length=1, max_length=1000)]
    content_type: Annotated[str, Field(max_length=200, pattern=r"^[\w.+-]+/[\w.+-]+$")]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    created_at: datetime
    path: str | None


class DocumentLine(_Strict):
    """A line of `documents.jsonl`, by id. `versions` are those that were kept, oldest first."""

    number_max = SIZE_MAX
    document_id: UUID
    filename: Annotated[str, Field(min_length=1, max_length=1000)]
    created_at: datetime
    source_id: UUID | None
    origin: Annotated[str, Field(max_length=10_000)] | None
    versions: Annotated[list[FileVersion], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        numbers = [version.version for version in self.versions]
        if numbers != sorted(set(numbers)):
            raise ValueError("the versions are not in order")
        for version in self.versions:
            if version.path not in {None, path_of(self.document_id, version.version, version.filename)}:
                raise ValueError("a file does not lie where it should")
        return self


class SourceLine(ingest.ExportedSource, _Strict):
    """A line of `sources.jsonl`, by id."""

    number_max = SIZE_MAX


class SessionLine(chat.ExportedSession, _Strict):
    """A line of `sessions.jsonl`: a conversation, by id. Its messages follow."""

    type: Literal["session"]
    title: Annotated[str, Field(max_length=1000, pattern=r"\S")]


class MessageLine(chat.ExportedMessage, _Strict):
    """A line of `sessions.jsonl`: a message of the conversation before it, in its order."""

    type: Literal["message"]
    text: Annotated[str, Field(max_length=TEXT_MAX)]
    selected_text: Annotated[str, Field(max_length=TEXT_MAX)] | None = None
    rating: Literal[-1, 1] | None = None

    @model_validator(mode="after")
    def _answers_something(self) -> Self:
        if self.role == "assistant" and (self.reply_to is None or self.supported is None):
            raise ValueError("an answer says what it answers, and whether its sources support it")
        return self


class ArchivedWorkspace(_Strict):
    """The workspace itself, without its members and limits."""

    id: UUID
    name: Annotated[str, Field(min_length=1, max_length=200)]
    description: Annotated[str, Field(max_length=20_000)] | None
    system_prompt: Annotated[str, Field(max_length=20_000)] | None
    created_at: datetime


class SearchSettings(_Strict):
    """None: as the installation does it. So for all settings."""

    semantic_weight: Annotated[float, Field(ge=0, le=1)] | None


class ChatSettings(_Strict):
    """As `patch_chat_settings` takes them."""

    model: Annotated[str, Field(max_length=200)] | None
    temperature: Annotated[float, Field(ge=0, le=2)] | None
    passages: Annotated[int, Field(ge=1, le=50)] | None


class Settings(_Strict):
    """How the workspace searches and answers."""

    search: SearchSettings
    chat: ChatSettings


class Counts(_Strict):
    """What is in the archive."""

    documents: Annotated[int, Field(ge=0)]
    files: Annotated[int, Field(ge=0)]
    sources: Annotated[int, Field(ge=0)]
    sessions: Annotated[int, Field(ge=0)]
    messages: Annotated[int, Field(ge=0)]

    @property
    def records(self) -> int:
        """Everything that has an id."""
        return self.documents + self.sources + self.sessions + self.messages


class Part(_Strict):
    """A file of records. Its size in bytes and hash are of what is unpacked."""

    number_max = SIZE_MAX
    path: Literal["documents.jsonl", "sources.jsonl", "sessions.jsonl"]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Manifest(_Strict):
    """What is in an archive; that it is there, at the end, says that the archive is whole. Hashes of files stand beside them in
    `documents.jsonl`."""

    format: Literal["docutalk-workspace"]
    version: Literal[1]
    workspace: ArchivedWorkspace
    settings: Settings
    counts: Counts
    parts: list[Part]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        paths = [part.path for part in self.parts]
        if paths not in ([DOCUMENTS, SOURCES], [DOCUMENTS, SOURCES, SESSIONS]):
            raise ValueError("the parts are documents.jsonl, sources.jsonl and, with conversations, sessions.jsonl")
        if self.counts.records > RECORDS_MAX:
            raise ValueError(f"an archive has at most {RECORDS_MAX} records")
        return self


class _Format(BaseModel):
    format: str
    version: int


_DOCUMENT = TypeAdapter(DocumentLine)
_SOURCE = TypeAdapter(SourceLine)
_SESSION: TypeAdapter[SessionLine | MessageLine] = TypeAdapter(Annotated[SessionLine | MessageLine, Field(discriminator="type")])


class WorkspaceArchive:
    """An archive that is read. Raises `ArchiveRefused` with the part that is wrong, and how."""

    def __init__(self, zipped: StoredZip, manifest: Manifest) -> None:
        self.zipped = zipped
        self.manifest = manifest

    @classmethod
    async def open(cls, zipped: StoredZip) -> WorkspaceArchive:
        """Reads the manifest."""
        entry = zipped.entries.get(MANIFEST)
        if entry is None:
            raise ArchiveRefused("The archive has no manifest.json: it is not whole, or no workspace's.")
        if entry.size > MANIFEST_MAX:
            raise ArchiveRefused(f"{MANIFEST} is larger than {MANIFEST_MAX} bytes.")
        text = b"".join([piece async for piece in zipped.read(entry)])
        try:
            made_as = _Format.model_validate_json(text)
            if made_as.format != FORMAT:
                raise ArchiveRefused("This is not the archive of a workspace.")
            if made_as.version > VERSION:
                raise ArchiveRefused(
                    f"The archive was made by a newer DocuTalk: its format has version {made_as.version}, and this installation"
                    f" reads up to {VERSION}. Bring the installation up to date first."
                )
            return cls(zipped, Manifest.model_validate_json(text))
        except ValidationError as error:
            raise ArchiveRefused(f"{MANIFEST}: {_first(error)}") from None

    def documents(self) -> AsyncIterator[DocumentLine]:
        """In the order of the archive."""
        return self._lines(DOCUMENTS, _DOCUMENT)

    def sources(self) -> AsyncIterator[SourceLine]:
        """In the order of the archive."""
        return self._lines(SOURCES, _SOURCE)

    def sessions(self) -> AsyncIterator[SessionLine | MessageLine]:
        """In the order of the archive; none when it was made without conversations."""
        return self._lines(SESSIONS, _SESSION)

    async def _lines(self, path: str, of: TypeAdapter[L]) -> AsyncIterator[L]:
        part = next((part for part in self.manifest.parts if part.path == path), None)
        if part is None:
            return
        entry = self.zipped.entries.get(path)
        if entry is None or entry.size != part.size:
            raise ArchiveRefused(f"{path} is missing, or not as large as the manifest says.")
        digest = hashlib.sha256()
        pending, number = b"", 0
        async for piece in self.zipped.read(entry, digest):
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                number += 1
                yield _parsed(line, of, path, number)
                if number % 50 == 0:
                    await asyncio.sleep(0)  # others have their turn
            if len(pending) > LINE_MAX:
                raise ArchiveRefused(f"{path}, line {number + 1}: longer than {LINE_MAX} bytes.")
        if pending:
            raise ArchiveRefused(f"{path} ends in the middle of a line.")
        if digest.hexdigest() != part.sha256:
            raise ArchiveRefused(f"{path} is not what the manifest says: it was changed or damaged.")


def _parsed(line: bytes, of: TypeAdapter[L], path: str, number: int) -> L:
    if len(line) > LINE_MAX:
        raise ArchiveRefused(f"{path}, line {number}: longer than {LINE_MAX} bytes.")
    try:
        return of.validate_json(line)
    except ValidationError as error:
        raise ArchiveRefused(f"{path}, line {number}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """What is wrong, and where, without the input."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in found["loc"])
    return f"{place}: {found['msg']}." if place else f"{found['msg']}."
