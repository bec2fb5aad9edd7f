"""Links that people hand on: to an invitation, to what is shared, to a new password."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import typer

from docutalk_cli.account import Account, TokenStore, find_account, place_only
from docutalk_cli.client import ClientError
from docutalk_cli.output import Exit


class Kind(StrEnum):
    """What a link leads to, as its path says."""

    INVITATION = "/invited/"
    SHARE = "/shared/"
    RESET = "/auth/reset#token="


_NAMES = {Kind.INVITATION: "an invitation", Kind.SHARE: "something shared", Kind.RESET: "a new password"}
_TOKEN = re.compile(r"[A-Za-z0-9_-]{8,200}")


class LinkLeadsElsewhere(ClientError):
    """A link is of another server than the one that commands go to."""

    exit_code = Exit.USAGE


@dataclass(frozen=True)
class Link:
    """`token` is what the link is worth; `address` is None when nothing but that was given."""

    token: str
    address: str | None = None

    def account(self, url: str | None, home: Path | None) -> Account:
        """Who follows it. It is a stranger's word where it leads to: what signs in somewhere is sent nowhere else.

        Raises `LinkLeadsElsewhere`.
        """
        store = TokenStore()
        account = find_account(url, home, os.environ, store)
        if self.address in (None, account.url):
            return account
        login = None if url is not None else store.get(str(self.address))
        if login is None:
            raise LinkLeadsElsewhere(f"{self._elsewhere(account.url)} Sign in there with docutalk login --url {self.address}")
        return Account(str(self.address), email=login.email, login=login)

    def place(self, url: str | None, home: Path | None) -> Account:
        """Where it leads to, for what needs no sign-in. Raises `LinkLeadsElsewhere`."""
        if self.address is None:
            return find_account(url, home, place_only(os.environ), TokenStore())
        if url is not None and url.rstrip("/") != self.address:
            raise LinkLeadsElsewhere(
                f"{self._elsewhere(url)} If both are the same server, give only the link's token: {self.token[:4]}…"
            )
        return Account(self.address)

    def _elsewhere(self, usual: str) -> str:
        return f"The link leads to {self.address}, and this command goes to {usual}."


def read(given: str, kind: Kind) -> Link:
    """A link, or its token alone. Raises `BadParameter`."""
    address, separator, token = given.strip().rpartition(f"/api/v1{kind.value}")
    if not _TOKEN.fullmatch(token) or (separator and not address.startswith(("http://", "https://"))):
        raise typer.BadParameter(f"{given!r} is no link to {_NAMES[kind]}, nor the token of one", param_hint="LINK")
    return Link(token, address.rstrip("/") if separator else None)
