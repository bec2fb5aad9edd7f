"""Errors that state a fact and carry what to do with it. They become HTTP only at the gateway's edge."""

from __future__ import annotations


class DocuTalkError(Exception):
    """`code` is stable and for programs; the message is for a person: what happened, to what, what to do."""

    code = "internal"


class PermanentError(DocuTalkError):
    """Trying again cannot help: the message becomes a dead letter at once."""

    code = "permanent"

    def __init__(self, reason: str, *, code: str | None = None) -> None:
        super().__init__(reason)
        if code is not None:
            self.code = code


class TransientError(DocuTalkError):
    """Trying again later may help: the message is delivered again after a delay."""

    code = "transient"


class DependencyUnavailable(TransientError):
    """A server that the service cannot work without is away. The consumer waits for it without burning attempts."""

    code = "dependency_unavailable"

    told: str | None = None
    """What a person who asked is told; None names the dependency only, as the reason of a database is for the log."""

    def __init__(self, dependency: str, reason: str) -> None:
        super().__init__(f"{dependency} is not available: {reason}")
        self.dependency = dependency


class RequestFailed(DocuTalkError):
    """A request was answered with an error, or not at all. `code` is one of: `not_found`, `invalid`, `conflict`,
    `unavailable` (nobody listens), `timeout`, `internal`, or one that the answering service names."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class NotFound(RequestFailed):
    """What was asked for does not exist, or not for this asker."""

    def __init__(self, reason: str) -> None:
        super().__init__("not_found", reason)
