"""Access tokens (JWT, RFC 7519), refresh tokens and API keys (random, stored as a hash)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from docutalk_gateway.domain import NotSignedIn

ALGORITHM = "HS256"
ISSUER = "docutalk"
# Tells a key from an access token at a glance, also to programs that look for secrets in published code.
KEY_PREFIX = "dtk_"
HINT_LENGTH = 12
VISIT_SECONDS = 12 * 3600


@dataclass(frozen=True)
class Identity:
    """Whom an access token names: a person by the sign-in it came from, or a visitor by the opening of a share link. `key_id` is
    what it was signed with."""

    sign_in_id: UUID | None = None
    visit_id: UUID | None = None
    key_id: str = ""


@dataclass(frozen=True)
class Key:
    """A signing key. None of them is stored: `derive` makes it."""

    id: str
    secret: bytes

    @classmethod
    def derive(cls, key_id: str, salt: bytes, secret: str) -> Key:
        """From what is stored and what only the processes know (HKDF with SHA-256, RFC 5869)."""
        return cls(key_id, HKDF(hashes.SHA256(), 32, salt, b"docutalk access token").derive(secret.encode()))


class AccessTokens:
    """Signs with the newest of its keys and reads with all of them. The keys change while it is used: `replace`."""

    def __init__(self, *, seconds: int, visit_seconds: int = VISIT_SECONDS) -> None:
        self._keys: dict[str, Key] = {}
        self._newest: Key | None = None
        self.seconds = seconds
        self.visit_seconds = visit_seconds
        """A visitor has nothing to refresh theirs with. It is looked up with each request whether the visit still stands."""

    def replace(self, keys: Sequence[Key]) -> None:
        """These keys, newest first, and no others from now on."""
        self._keys = {key.id: key for key in keys}
        self._newest = keys[0]

    @property
    def longest_seconds(self) -> int:
        """For which a token of any kind may be valid."""
        return max(self.seconds, self.visit_seconds)

    def knows(self, token: str) -> bool:
        """Whether the token names a key that is here. One that is not may have been made a moment ago by another gateway."""
        try:
            return jwt.get_unverified_header(token).get("kid") in self._keys
        except jwt.InvalidTokenError:
            return True  # reading it says what is wrong with it

    def issue(self, identity: Identity, *, until: datetime | None = None) -> str:
        """A token for this person or visitor, valid from now on, and not beyond `until`."""
        assert self._newest is not None, "keys are loaded before anybody signs in"
        now = datetime.now(UTC)
        expires = now + timedelta(seconds=self.seconds if identity.visit_id is None else self.visit_seconds)
        claims: dict[str, Any] = {"iss": ISSUER, "iat": now, "exp": min(expires, until) if until else expires}
        if identity.sign_in_id is not None:
            claims["sid"] = str(identity.sign_in_id)
        else:
            claims["vis"] = str(identity.visit_id)
        return jwt.encode(claims, self._newest.secret, algorithm=ALGORITHM, headers={"kid": self._newest.id})

    def read(self, token: str) -> Identity:
        """Whose token it is. Raises `NotSignedIn` when it is forged, expired or not one of ours."""
        try:
            key = self._keys.get(jwt.get_unverified_header(token).get("kid", ""))
            if key is None:
                raise NotSignedIn("The access token is not valid any more. Refresh it or sign in again.")
            claims = jwt.decode(
                token,
                key.secret,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                # Not when it was issued: by a gateway whose clock is ahead of this one's.
                options={"require": ["exp", "iss"], "verify_iat": False},
            )
            if "vis" in claims:
                return Identity(visit_id=UUID(claims["vis"]), key_id=key.id)
            return Identity(sign_in_id=UUID(claims["sid"]), key_id=key.id)
        except jwt.ExpiredSignatureError:
            raise NotSignedIn("The access token has expired. Refresh it or sign in again.") from None
        except (jwt.InvalidTokenError, ValueError, KeyError, TypeError, AttributeError):
            raise NotSignedIn("The access token is not valid.") from None


def new_token() -> str:
    """256 random bits, URL safe: a refresh token, the token of a link."""
    return secrets.token_urlsafe(32)


def new_api_key() -> str:
    """The same behind `dtk_`."""
    return KEY_PREFIX + new_token()


def hash_token(token: str) -> bytes:
    """What is stored of a token or a key. A plain hash is enough: the token itself is random, there is nothing to guess."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def hint_of(key: str) -> str:
    """The beginning, by which a person tells a key from others: 8 of its 43 random characters."""
    return key[:HINT_LENGTH]
