"""Access tokens (JWT, RFC 7519), refresh tokens and API keys (random, stored as a hash)."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt

from docutalk_gateway.domain import NotSignedIn

ALGORITHM = "HS256"
ISSUER = "docutalk"
# Tells a key from an access token at a glance, also to programs that look for secrets in published code.
KEY_PREFIX = "dtk_"
HINT_LENGTH = 12


@dataclass(frozen=True)
class Identity:
    """Who makes a request. `family_id` names the sign-in that the access token came from."""

    user_id: UUID
    family_id: UUID


class AccessTokens:
    """Signs and reads access tokens."""

    def __init__(self, secret: str, *, seconds: int) -> None:
        self._secret = secret
        self.seconds = seconds

    def issue(self, identity: Identity) -> str:
        """A token for this person, valid from now on."""
        now = datetime.now(UTC)
        claims = {
            "iss": ISSUER,
            "sub": str(identity.user_id),
            "sid": str(identity.family_id),
            "iat": now,
            "exp": now + timedelta(seconds=self.seconds),
        }
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def read(self, token: str) -> Identity:
        """Whose token it is. Raises `NotSignedIn` when it is forged, expired or not one of ours."""
        try:
            claims = jwt.decode(
                token, self._secret, algorithms=[ALGORITHM], issuer=ISSUER, options={"require": ["exp", "sub", "sid", "iss"]}
            )
            return Identity(UUID(claims["sub"]), UUID(claims["sid"]))
        except jwt.ExpiredSignatureError:
            raise NotSignedIn("The access token has expired. Refresh it or sign in again.") from None
        except (jwt.InvalidTokenError, ValueError):
            raise NotSignedIn("The access token is not valid.") from None


def new_refresh_token() -> str:
    """256 random bits, URL safe."""
    return secrets.token_urlsafe(32)


def hash_refresh_token(token: str) -> bytes:
    """What is stored. A plain hash is enough: the token itself is random, there is nothing to guess."""
    return hashlib.sha256(token.encode()).digest()


def new_api_key() -> str:
    """256 random bits, URL safe, behind `dtk_`."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def hash_api_key(key: str) -> bytes:
    """What is stored; a plain hash, as of a refresh token."""
    return hashlib.sha256(key.encode()).digest()


def hint_of(key: str) -> str:
    """The beginning, by which a person tells a key from others: 8 of its 43 random characters."""
    return key[:HINT_LENGTH]
