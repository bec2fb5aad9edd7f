"""Errors that `docutalk up` shows to a person: what happened, to what, what to do."""

from __future__ import annotations


class StartError(Exception):
    """DocuTalk can't start; the message is one that a person can act on."""


class HomeInUse(StartError):
    """Another DocuTalk runs on this state folder."""


class PortInUse(StartError):
    """Somebody else listens on the port that the gateway should use."""


class ChildFailed(StartError):
    """A program could not be started or ended at once; `tail` holds the last lines of its log."""

    def __init__(self, reason: str, *, tail: str = "") -> None:
        super().__init__(reason)
        self.tail = tail
