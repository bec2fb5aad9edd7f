"""The OpenID provider: where people sign in with it, and whom it says they are (OpenID Connect Core 1.0 and Discovery 1.0)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import httpx2
from authlib.common.security import is_secure_transport  # type: ignore[import-untyped]
from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]
from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]
from authlib.oidc.discovery import get_well_known_url  # type: ignore[import-untyped]
from docutalk_common.errors import DependencyUnavailable
from docutalk_common.telemetry import get_logger
from joserfc import jwt
from joserfc.errors import BadSignatureError, ClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from docutalk_gateway.domain import OpenIdFault, OpenIdRefused, clean_email

log = get_logger(__name__)

PROVIDER = "The OpenID provider"
# For a whole conversation with the provider, of at most four requests. Somebody looks at a blank page meanwhile.
SECONDS = 10.0
# What the largest of such documents have is a tenth of it.
ANSWER_MAX = 1 << 20
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
KNOWN_FOR_SECONDS = 3600.0
LEEWAY_SECONDS = 60
# Those with a public key: of the others, `none` proves nothing, and HS256 would take a public key for a secret one.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
# What the libraries raise about answers that are not what they should be.
_NOT_VALID = (JoseError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Person:
    """Whom the provider vouches for. `subject` never changes there. `email` is None unless the provider has verified it."""

    subject: str
    email: str | None
    name: str | None


class _Bounded(httpx2.AsyncByteStream):
    """The body of an answer, and no more of it than there may be."""

    def __init__(self, body: httpx2.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._body:
            size += len(piece)
            if size > ANSWER_MAX:
                raise _fault("an answer is too large")
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()


async def _bound(response: httpx2.Response) -> None:
    # It was asked for as it is. Packed, a small answer could become one of any size.
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _fault("an answer is compressed, which was not asked for")
    response.stream = _Bounded(cast("httpx2.AsyncByteStream", response.stream))


def _fault(reason: str) -> OpenIdFault:
    # Reasons name claims, keys and statuses, never a token or a secret.
    log.warning("the OpenID provider is not usable", reason=reason)
    return OpenIdFault("The OpenID provider answered with something that is not valid. The server's log says what.")


class OpenIdProvider:
    """One provider, asked as one client of it. What it says of itself and its keys are kept for an hour. `seconds`: how long
    somebody waits for it at most."""

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: str | None,
        scopes: str,
        redirect_uri: str,
        seconds: float = SECONDS,
    ) -> None:
        self.issuer = issuer
        self.redirect_uri = redirect_uri
        self._client_id = client_id
        self._client_secret = client_secret
        self._scopes = scopes
        self._seconds = seconds
        self._tls = httpx2.create_ssl_context()
        self._metadata: Mapping[str, Any] = {}
        self._keys: KeySet | None = None
        self._known_until = 0.0

    async def authorization_url(self, *, state: str, nonce: str, code_verifier: str) -> str:
        """Where to send somebody to sign in. Raises `DependencyUnavailable` and `OpenIdFault`."""
        async with self._conversation() as http:
            metadata = await self._discover(http)
            url, _ = http.create_authorization_url(
                metadata["authorization_endpoint"], state=state, nonce=nonce, code_verifier=code_verifier
            )
            return cast("str", url)

    async def identify(self, *, code: str, nonce: str, code_verifier: str) -> Person:
        """Who came back with this code. Raises `OpenIdRefused` for a code that the provider does not know (any more),
        `DependencyUnavailable` and `OpenIdFault`."""
        async with self._conversation() as http:
            metadata = await self._discover(http)
            answer = await self._exchange(http, metadata, code, code_verifier)
            id_token, access_token = answer.get("id_token"), answer.get("access_token")
            if not isinstance(id_token, str) or not isinstance(access_token, str):
                raise _fault("the token endpoint's answer lacks the ID token or the access token")
            claims = await self._verified(http, metadata, id_token, access_token, nonce)
            if "email_verified" not in claims and metadata.get("userinfo_endpoint") is not None:
                # There the claims of the scopes `email` and `profile` are; not every provider puts them into the ID token too.
                claims = {**claims, **await _user_info(http, metadata, access_token, claims["sub"])}
            return _person(claims)

    @contextlib.asynccontextmanager
    async def _conversation(self) -> AsyncIterator[Any]:
        """A client for one person: it keeps their tokens. What goes wrong with it gets a name."""
        try:
            async with (
                asyncio.timeout(self._seconds),
                AsyncOAuth2Client(
                    self._client_id,
                    self._client_secret,
                    scope=self._scopes,
                    redirect_uri=self.redirect_uri,
                    code_challenge_method="S256",
                    verify=self._tls,
                    timeout=self._seconds,
                    headers={"Accept-Encoding": "identity"},
                    event_hooks={"response": [_bound]},
                ) as http,
            ):
                yield http
        except TimeoutError:
            raise DependencyUnavailable(PROVIDER, f"no answer within {self._seconds:g} s") from None
        except httpx2.HTTPStatusError as error:
            raise _not_available(error.response) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise DependencyUnavailable(PROVIDER, f"{type(error).__name__}: {error}") from None
        except _NOT_VALID as error:
            raise _fault(f"{type(error).__name__}: {error}"[:200]) from None

    async def _discover(self, http: Any) -> Mapping[str, Any]:
        if time.monotonic() >= self._known_until:
            metadata = await _get(http, get_well_known_url(self.issuer, external=True))
            if metadata.get("issuer") != self.issuer:
                raise _fault("the issuer in its metadata is not DOCUTALK_OPENID_ISSUER, letter for letter")
            # The library can check all of it, but finds what is not used here wrong with providers that many people have.
            for name in ENDPOINTS:
                url = metadata.get(name)
                optional = name == "userinfo_endpoint" and url is None
                if not optional and not (isinstance(url, str) and is_secure_transport(url)):
                    raise _fault(f"its metadata has no {name} that begins with https://")
            self._metadata, self._keys, self._known_until = metadata, None, time.monotonic() + KNOWN_FOR_SECONDS
        return self._metadata

    async def _exchange(self, http: Any, metadata: Mapping[str, Any], code: str, code_verifier: str) -> Mapping[str, Any]:
        methods = metadata.get("token_endpoint_auth_methods_supported")
        if self._client_secret and isinstance(methods, list) and "client_secret_basic" not in methods:
            http.token_endpoint_auth_method = "client_secret_post"  # noqa: S105  the method's name
        try:
            answer = await http.fetch_token(
                metadata["token_endpoint"], grant_type="authorization_code", code=code, code_verifier=code_verifier
            )
        except OAuthError as error:
            if error.error == "invalid_grant":
                raise OpenIdRefused("The OpenID provider does not accept this sign-in (any more). Start it again.") from None
            log.warning("the OpenID provider refuses this server", error=str(error.error)[:100])
            raise OpenIdFault("The OpenID provider refuses to tell this server who you are. Its log says why.") from None
        return cast("Mapping[str, Any]", answer)

    async def _verified(
        self, http: Any, metadata: Mapping[str, Any], id_token: str, access_token: str, nonce: str
    ) -> Mapping[str, Any]:
        """The claims of the ID token, when it is the provider's, for this client, of this sign-in, and valid now."""
        try:
            token = _decode(id_token, await self._key_set(http, metadata))
        except (InvalidKeyIdError, BadSignatureError):
            # Since its keys were read, it has begun to sign with a new one.
            self._keys = None
            token = _decode(id_token, await self._key_set(http, metadata))
        claims = CodeIDToken(
            token.claims,
            token.header,
            # Without these the library looks at the authorised party (azp) only, and only sometimes.
            {"iss": {"values": [self.issuer]}, "aud": {"values": [self._client_id]}},
            {"nonce": nonce, "client_id": self._client_id, "access_token": access_token},
        )
        try:
            claims.validate(leeway=LEEWAY_SECONDS)
        except ClaimError as error:
            if error.claim in {"exp", "iat", "nbf"}:
                log.warning("an ID token is not valid at this time", claim=error.claim)
                raise OpenIdFault(
                    "The OpenID provider's answer is not valid at this time: its clock and that of this server differ. Tell the"
                    " administrator."
                ) from None
            raise _fault(f"the ID token's claim {error.claim}") from None
        subject = claims["sub"]
        if not (0 < len(subject) <= 255 and subject.isascii() and subject.isprintable()):
            raise _fault("the ID token's claim sub")
        return cast("Mapping[str, Any]", claims)

    async def _key_set(self, http: Any, metadata: Mapping[str, Any]) -> KeySet:
        if self._keys is None:
            self._keys = KeySet.import_key_set(cast("Any", await _get(http, metadata["jwks_uri"])))
        return self._keys


def _decode(id_token: str, keys: KeySet) -> jwt.Token:
    return jwt.decode(id_token, keys, registry=JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False))


async def _get(http: Any, url: str, **headers: str) -> Mapping[str, Any]:
    """A JSON object."""
    response = await http.request("GET", url, headers=headers, withhold_token=True)
    if response.status_code != 200:
        raise _not_available(response)
    try:
        found = response.json()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _fault(f"{response.url.path} is not a JSON object")
    return found


async def _user_info(http: Any, metadata: Mapping[str, Any], access_token: str, subject: str) -> Mapping[str, Any]:
    claims = await _get(http, metadata["userinfo_endpoint"], Authorization=f"Bearer {access_token}")
    if claims.get("sub") != subject:
        raise _fault("the user info is about somebody else than the ID token")
    return claims


def _not_available(response: httpx2.Response) -> DependencyUnavailable | OpenIdFault:
    reason = f"{response.url.path} answered {response.status_code}"
    if response.status_code >= 500 or response.status_code == 429:
        return DependencyUnavailable(PROVIDER, reason)
    return _fault(reason)


def _person(claims: Mapping[str, Any]) -> Person:
    # Some providers write it as a word.
    verified = claims.get("email_verified") is True or claims.get("email_verified") == "true"
    return Person(claims["sub"], _address(claims.get("email")) if verified else None, _line(claims.get("name")))


def _address(email: object) -> str | None:
    try:
        return clean_email(email) if isinstance(email, str) and len(email) <= 254 else None
    except ValueError:
        return None


def _line(name: object) -> str | None:
    text = " ".join(name.split())[:200] if isinstance(name, str) else ""
    return text if text and text.isprintable() else None
