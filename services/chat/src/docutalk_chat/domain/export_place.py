"""Where the next page of an export begins, as text that the asker keeps."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from docutalk_common.errors import RequestFailed


@dataclass(frozen=True)
class ExportPlace:
    """Behind a record: a session, or a message of it. The numbers are positions of messages, 0 behind the session itself."""

    session_id: UUID
    question: int = 0
    message: int = 0

    def __str__(self) -> str:
        return f"{self.session_id}.{self.question}.{self.message}"

    @classmethod
    def read(cls, after: str | None) -> ExportPlace:
        """The beginning for None. Raises `RequestFailed("invalid")`."""
        if after is None:
            return cls(_BEFORE_ALL)
        try:
            session_id, question, message = after.split(".")
            place = cls(UUID(session_id), int(question), int(message))
        except ValueError as error:
            raise _UNREADABLE from error
        if not (0 <= place.question < 1 << 63 and 0 <= place.message < 1 << 63):
            raise _UNREADABLE
        return place


_BEFORE_ALL = UUID(int=0)
_UNREADABLE = RequestFailed("invalid", "`after` cannot be read: give the `next` of the page before as it came, or leave it out")
