"""What a command asks in its middle, once it knows what to ask. Passwords come from a variable, too."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import typer

CURRENT = "Current password (empty if you have none)"


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """asyncio only notes a Ctrl-C, and would act on it after the answer."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def confirm(question: str) -> None:
    """Ends the command (`Abort`) unless the answer is yes."""
    with _interruptible():
        typer.confirm(question, abort=True, err=True)


def ask(what: str, default: str | None = None) -> str:
    """A line of text. An empty `default` lets somebody say nothing, and a script that has nothing to read."""
    with _interruptible():
        try:
            return str(typer.prompt(what, default=default, show_default=bool(default), err=True)).strip()
        except typer.Abort as aborted:
            if default == "" and isinstance(aborted.__context__, EOFError):
                return ""
            raise


def password(what: str = "Password", *, variable: str = "DOCUTALK_PASSWORD", may_be_empty: bool = False) -> str:
    """One that is there already."""
    if given := os.environ.get(variable):
        return given
    with _interruptible():
        default = "" if may_be_empty else None
        return str(typer.prompt(what, default=default, show_default=False, hide_input=True, err=True))


def new_password(what: str = "New password", *, variable: str = "DOCUTALK_NEW_PASSWORD") -> str:
    """One that is to be, asked for twice. How long it has to be the server says."""
    if given := os.environ.get(variable):
        return given
    with _interruptible():
        return str(typer.prompt(what, hide_input=True, confirmation_prompt="Once more", err=True))
