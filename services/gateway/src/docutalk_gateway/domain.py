"""What the gateway knows without I/O: roles, limits, clean filenames, and errors that state a fact."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from uuid import UUID

from docutalk_common.errors import DocuTalkError
from email_validator import validate_email

EMAIL_MAX = 254
PASSWORD_MIN = 8
PASSWORD_MAX = 1024
FILENAME_MAX = 255

# What a browser may hide or turn around in a name: `invoice\u202efdp.exe` is shown as `invoiceexe.pdf`.
_DIRECTION_MARKS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_EXTENSION = re.compile(r"\.[a-z0-9]{1,10}")


class Role(StrEnum):
    """What a member may do in a workspace. An owner may do all, a viewer may only read and ask."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"

    @property
    def can_write(self) -> bool:
        """Whether documents may be added, changed and deleted."""
        return self is not Role.VIEWER


@dataclass(frozen=True)
class Limits:
    """How much a workspace may hold, and how often it may be asked; None: as much and as often as anybody likes."""

    max_documents: int | None = None
    max_bytes: int | None = None
    max_questions_per_day: int | None = None

    @property
    def are_of_storage(self) -> bool:
        """Whether what it holds has to be counted."""
        return self.max_documents is not None or self.max_bytes is not None


NO_LIMITS = Limits()


class ImportStatus(StrEnum):
    """Where an import is. Until it is `importing` nothing has been changed."""

    QUEUED = "queued"
    CHECKING = "checking"
    IMPORTING = "importing"
    DONE = "done"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing changes any more."""
        return self in {ImportStatus.DONE, ImportStatus.FAILED}


class Scope(StrEnum):
    """What an API key may do; never more than its owner."""

    DOCUMENTS_READ = "documents:read"
    DOCUMENTS_WRITE = "documents:write"
    SEARCH = "search"
    CHAT = "chat"
    WORKSPACES_READ = "workspaces:read"
    WORKSPACES_MANAGE = "workspaces:manage"


class SharePermission(StrEnum):
    """What a share link lets its visitors do: look, search, ask, rate answers and remark on them, take the files along."""

    VIEW = "view"
    SEARCH = "search"
    CHAT = "chat"
    COMMENT = "comment"
    COPY = "copy"


class ShareTarget(StrEnum):
    """What a share link leads to."""

    WORKSPACE = "workspace"
    DOCUMENT = "document"
    SOURCE = "source"
    SESSION = "session"


class ErasureKind(StrEnum):
    """What is erased."""

    WORKSPACE = "workspace"
    USER = "user"


class GatewayError(DocuTalkError):
    """Something that the caller did, or may not do. `api/problems.py` knows the status."""


class NotSignedIn(GatewayError):
    """No access token, or one that is not valid (any more)."""

    code = "not_signed_in"


class WrongCredentials(GatewayError):
    """The same for an unknown account and for a wrong password, so that accounts cannot be probed."""

    code = "wrong_credentials"

    def __init__(self) -> None:
        super().__init__("The e-mail address or the password is wrong.")


class WrongPassword(GatewayError):
    """Somebody who is signed in gave another password than theirs. Not 401: their sign-in is fine, a client would refresh it."""

    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("The current password is wrong. Nothing was changed.")


class InvalidRefreshToken(GatewayError):
    """Unknown, expired, revoked or used before. In the last case the whole family is revoked."""

    code = "invalid_refresh_token"

    def __init__(self) -> None:
        super().__init__("The refresh token is not valid. Sign in again.")


class RegistrationClosed(GatewayError):
    """Only an administrator makes accounts here."""

    code = "registration_closed"

    def __init__(self) -> None:
        super().__init__("Registration is closed on this server. Ask its administrator for an account.")


class OpenIdRefused(GatewayError):
    """Whoever comes from the OpenID provider is not let in, or did not come by the way that they were sent. The message says why,
    and what to do."""

    code = "openid_refused"


class OpenIdFault(GatewayError):
    """The OpenID provider answers with what is not valid, or does not accept this server. The log says more than the message."""

    code = "openid_fault"


class EmailTaken(GatewayError):
    """There is an account with this address."""

    code = "email_taken"

    def __init__(self) -> None:
        super().__init__("There is already an account with this e-mail address.")


class NotAllowed(GatewayError):
    """The caller may see this, but not do that."""

    code = "not_allowed"


class WorkspaceArchived(GatewayError):
    """It can be read, searched, exported, restored and deleted."""

    code = "workspace_archived"

    def __init__(self) -> None:
        super().__init__("This workspace is archived. Restore it to change something or to ask.")


class QuotaExceeded(GatewayError):
    """A workspace has as much as it may have. The message says of what, and how much."""

    code = "quota_exceeded"


class Conflict(GatewayError):
    """It stands against something that is so. The message says what, and what to do first."""

    code = "conflict"


class TooManyRequests(GatewayError):
    """Somebody asks faster than they may. `retry_after` is in seconds."""

    code = "too_many_requests"

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class WrongSharePassword(GatewayError):
    """A share link has a password, and this is not it."""

    code = "share_password"


class QuestionsUsedUp(TooManyRequests):
    """A workspace was asked as often today as it may be. `retry_after`: the seconds until midnight, UTC."""

    code = "questions_used_up"

    def __init__(self, per_day: int, retry_after: float) -> None:
        super().__init__(
            f"This workspace may be asked {per_day} questions a day, and was asked them today. Ask again in"
            f" {retry_after / 3600:.1f} hours, at midnight UTC, or let an administrator raise the limit.",
            retry_after,
        )


class TooManyApiKeys(GatewayError):
    """Keys that are made by a program which never deletes one."""

    code = "conflict"

    def __init__(self, most: int) -> None:
        super().__init__(f"You have {most} API keys, the most there can be. Delete one that is not used any more.")


class ServerStops(GatewayError):
    """Whoever waits here would wait in vain. The answer goes on being made."""

    code = "unavailable"

    def __init__(self) -> None:
        super().__init__("The server is being restarted. The answer will stand in its conversation; else ask again in a moment.")


class UnknownTopic(GatewayError):
    """An answer from all documents would look like one from the topic's."""

    code = "unknown_topic"

    def __init__(self, topic: str) -> None:
        super().__init__(f"This workspace has no topic {topic!r}. Leave `topic` out to ask all of its documents.")


class TooManyMessages(GatewayError):
    """Somebody asks more questions than the installation allows."""

    code = "too_many_messages"

    def __init__(self, per_minute: int, retry_after: float) -> None:
        super().__init__(f"You may ask {per_minute} questions a minute. Ask again in {retry_after:.0f} s.")
        self.retry_after = retry_after


class FileTooLarge(GatewayError):
    """Nothing of the request was kept."""

    code = "file_too_large"

    def __init__(self, filename: str, limit: int) -> None:
        super().__init__(f"{filename} is larger than the limit of {limit} bytes. Nothing of this request was stored.")


class MalformedUpload(GatewayError):
    """The body is not the multipart form that was announced, or it ends early."""

    code = "malformed_upload"


class KeyReused(GatewayError):
    """One `Idempotency-Key`, two different requests."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for a different request. Use a new key for a new request.")


class KeyInUse(GatewayError):
    """The first request with this key is still being worked on."""

    code = "idempotency_key_in_use"

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is still being worked on. Try again in a moment.")


class BytesAlreadyHere(GatewayError):
    """A new version of a document would have the bytes of another document of the workspace."""

    code = "conflict"

    def __init__(self, filename: str, document_id: UUID) -> None:
        super().__init__(f"This workspace has the same bytes already, as the document {filename} ({document_id}).")


class VersionsFromSource(GatewayError):
    """A document's versions come either from people or from its source, which counts them."""

    code = "conflict"

    def __init__(self) -> None:
        super().__init__("This document comes from a source, which brings its new versions. Upload the file as a document.")


class DocumentNotRegistered(GatewayError):
    """Accepted a moment ago and not registered yet."""

    code = "document_being_accepted"

    def __init__(self) -> None:
        super().__init__("The document was accepted a moment ago and is not registered yet. Try again in a moment.")


def clean_email(raw: str) -> str:
    """An address as it is stored. Raises `ValueError` for what is none."""
    # Installations in a private network have addresses like admin@office.local.
    return validate_email(raw, check_deliverability=False, test_environment=True, globally_deliverable=False).normalized


class ArchiveRefused(GatewayError):
    """An archive cannot become a workspace. The message says which part of it, and why."""

    code = "archive_refused"


def is_text(value: str) -> bool:
    """Whether it can be stored and hashed: no NUL, and no half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in value


def clean_filename(raw: str) -> str:
    """A name to show: no path, no control or direction characters, NFC, at most 255 characters with its extension kept."""
    text = unicodedata.normalize("NFC", raw.encode("utf-8", "replace").decode("utf-8"))
    text = "".join(c for c in text if unicodedata.category(c) != "Cc")
    text = _DIRECTION_MARKS.sub("", text).replace("\\", "/").rsplit("/", 1)[-1].strip()
    if text in {"", ".", ".."}:
        return "unnamed"
    if len(text) > FILENAME_MAX:
        suffix = PurePosixPath(text).suffix[:20]
        text = text[: FILENAME_MAX - len(suffix)] + suffix
    return text


def key_extension(filename: str) -> str:
    """The extension for an object key: lower case letters and digits, or nothing."""
    suffix = PurePosixPath(filename).suffix.lower()
    return suffix if _EXTENSION.fullmatch(suffix) else ""
