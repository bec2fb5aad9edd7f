"""The public API over HTTP: signs in, renews tokens, turns every error into one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
from httpx_sse import EventSource, SSEError

from docutalk_cli.account import Account, Tokens, TokenStore
from docutalk_cli.output import Exit

Json = dict[str, Any]

API = "/api/v1"
# The server sends a keep-alive every 15 s on event streams.
_STREAM_SILENCE_SECONDS = 60.0
_RECONNECTS = 6
# How long nothing may move while a file is stored, or begins to be made.
_FILE_SECONDS = 300.0
_PIECE = 256 << 10
_TOO_MANY_REQUESTS = 429
_LONGEST_WAIT_SECONDS = 30.0
# A minute in all: a server that is started again is back within seconds.
_UPLOAD_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_PASSING = frozenset({429, 502, 503, 504})


class ClientError(Exception):
    """What a person reads; `exit_code` is what a script reads."""

    exit_code = Exit.FAILED


class NoAddress(ClientError):
    """What was given as the server's address is none."""

    exit_code = Exit.USAGE


class NotText(ClientError):
    """What was given on the command line, or in a variable, is not in the terminal's encoding."""

    exit_code = Exit.USAGE


class NotReachable(ClientError):
    """Nobody answered."""

    exit_code = Exit.NO_ACCESS


class NotSignedIn(ClientError):
    """The server does not know who asks."""

    exit_code = Exit.NO_ACCESS


class Refused(ClientError):
    """The server answered with an error. `problem` is its problem details (RFC 9457), as far as it sent any."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status = status
        self.problem = problem
        super().__init__(_sentence(status, problem))


@dataclass(frozen=True)
class StreamEvent:
    """One server-sent event with its JSON."""

    id: str
    name: str
    data: Json


class _Pieces:
    """A file's content from its beginning, each time that it is asked for."""

    def __init__(self, file: Any) -> None:
        self._file = file

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            yield piece


class Api:
    """One command's conversation with the server. Use it as an async context manager."""

    def __init__(self, account: Account, store: TokenStore) -> None:
        """Raises `NoAddress`."""
        _check_address(account.url)
        self.account = account
        self._store = store
        self._tokens = account.login
        self._renewing = asyncio.Lock()
        self._http = httpx.AsyncClient(
            base_url=account.url,
            # Uploads may take any time; what counts is that something moves.
            timeout=httpx.Timeout(60.0, connect=5.0, pool=None),
            headers={"User-Agent": "docutalk-cli"},
            # A proxy of the environment cannot reach this machine's own loopback.
            trust_env=not _is_loopback(account.url),
        )

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: str | int | None) -> Json:
        """The JSON of a GET below `/api/v1`."""
        parameters = {name: value for name, value in query.items() if value is not None}
        return _body(await self._send("GET", path, params=parameters))

    async def get_text(self, path: str, **query: str) -> str:
        """The text of a GET that answers with none of the API's JSON."""
        return (await self._send("GET", path, params=query)).text

    async def post(self, path: str, body: Json, *, timeout: float | None = None) -> Json:
        """The JSON of a POST. `timeout` in seconds replaces the usual minute without a byte."""
        extra: dict[str, Any] = {} if timeout is None else {"timeout": httpx.Timeout(timeout, connect=5.0)}
        return _body(await self._send("POST", path, json=body, **extra))

    async def patch(self, path: str, body: Json) -> Json:
        """The JSON of a PATCH."""
        return _body(await self._send("PATCH", path, json=body))

    async def delete(self, path: str, body: Json | None = None, **query: str | int | None) -> Json:
        """The JSON of a DELETE; most have none."""
        parameters = {name: value for name, value in query.items() if value is not None}
        return _body(await self._send("DELETE", path, params=parameters, json=body))

    async def public(self, method: str, path: str, body: Json | None = None) -> Json:
        """The JSON of what needs no sign-in; nothing is said about who asks."""
        return _body(_checked(await self._raw(method, API + path, json=body)))

    @contextlib.asynccontextmanager
    async def download(self, path: str, **query: str) -> AsyncIterator[tuple[httpx.Headers, AsyncIterator[bytes]]]:
        """The headers of a GET, and its content piece by piece. Raises `NotReachable` when it breaks off, also in the middle."""
        timeout = httpx.Timeout(_FILE_SECONDS, connect=5.0, pool=None)
        response = await self._send("GET", path, params=query, timeout=timeout, stream=True)
        try:
            yield response.headers, self._pieces(response)
        finally:
            await response.aclose()

    async def _pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        try:
            async for piece in response.aiter_bytes():
                yield piece
        except httpx.TransportError as error:
            raise self._not_reachable(error) from error

    async def upload(self, path: str, filename: str, file: Any) -> Json:
        """One file as a multipart form, read in pieces of 64 KiB while it is sent. `file` needs `read`, `seek` and `fileno`.

        Sent again after a lost connection and when the server is busy or away for a moment. The key makes the server do it
        once, also when its answer to the first try was lost.
        """
        # The server looks at the content; a guess from the name would only be noise.
        return await self._sent(path, file, files={"file": (filename, file, "application/octet-stream")})

    async def send_archive(self, path: str, file: Any, **query: str | None) -> Json:
        """One ZIP archive as the body of a POST, otherwise as `upload`."""
        given = {name: value for name, value in query.items() if value is not None}
        headers = {"Content-Type": "application/zip", "Content-Length": str(os.fstat(file.fileno()).st_size)}
        return await self._sent(path, file, params=given, content=_Pieces(file), headers=headers)

    async def _sent(self, path: str, file: Any, *, headers: Mapping[str, str] | None = None, **request: Any) -> Json:
        named = {"Idempotency-Key": str(uuid4()), **(headers or {})}
        timeout = httpx.Timeout(_FILE_SECONDS, connect=5.0, pool=None)
        for pause in (*_UPLOAD_PAUSES, None):
            file.seek(0)
            try:
                return _body(await self._send("POST", path, timeout=timeout, headers=named, **request))
            except (NotReachable, Refused) as error:
                if pause is None or not passes(error):
                    raise
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def sign_in(self, email: str, password: str) -> Tokens:
        """Tokens for an e-mail address and a password."""
        return Tokens.answered(email, await self.public("POST", "/auth/login", {"email": email, "password": password}))

    async def sign_out(self, tokens: Tokens) -> None:
        """Ends a sign-in on the server."""
        await self._raw("POST", f"{API}/auth/logout", json={"refresh_token": tokens.refresh_token})

    @contextlib.asynccontextmanager
    async def post_events(self, path: str, body: Json) -> AsyncIterator[AsyncIterator[StreamEvent]]:
        """The events that a POST is answered with, once."""
        async with self._events("POST", path, json=body) as events:
            yield events

    async def follow(self, path: str, *, after: str | None = None) -> AsyncIterator[StreamEvent]:
        """The events of a GET stream for ever: connects again where it was after every interruption.

        Raises `NotReachable` after about half a minute without a connection, `Refused` when the server does not want.
        """
        failures = 0
        while True:
            headers = {} if after is None else {"Last-Event-ID": after}
            try:
                async with self._events("GET", path, headers=headers) as events:
                    async for event in events:
                        failures = 0
                        after = event.id or after
                        yield event
            except NotReachable:
                failures += 1
                if failures > _RECONNECTS:
                    raise
            await asyncio.sleep(min(0.5 * 2**failures, 8.0))

    @contextlib.asynccontextmanager
    async def _events(self, method: str, path: str, **request: Any) -> AsyncIterator[AsyncIterator[StreamEvent]]:
        headers = {"Accept": "text/event-stream", **request.pop("headers", {})}
        timeout = httpx.Timeout(_STREAM_SILENCE_SECONDS, connect=5.0, pool=None)
        response = await self._send(method, path, headers=headers, timeout=timeout, stream=True, **request)
        try:
            yield self._decoded(response)
        finally:
            await response.aclose()

    async def _decoded(self, response: httpx.Response) -> AsyncIterator[StreamEvent]:
        try:
            async for event in EventSource(response).aiter_sse():
                if not event.data:  # only a new reconnection time
                    continue
                yield StreamEvent(event.id, event.event, json.loads(event.data))
        except (httpx.TransportError, SSEError) as error:
            raise self._not_reachable(error) from error

    async def _send(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **request: Any) -> httpx.Response:
        """Sends with a token; a token that is refused is renewed once, a limit that is met is waited for once."""
        token = await self._access_token()
        for last in (False, True):
            signed = {"Authorization": f"Bearer {token}", **(headers or {})}
            answer = await self._raw(method, API + path, headers=signed, **request)
            if answer.status_code == httpx.codes.UNAUTHORIZED and self.account.token is not None:
                why = _sentence(answer.status_code, _problem(answer))
                raise NotSignedIn(f"{self.account.url} does not accept the token in DOCUTALK_TOKEN. {why}")
            if not last and answer.status_code == httpx.codes.UNAUTHORIZED:
                token = await self._access_token(refused=token)
                continue
            if not last and answer.status_code == _TOO_MANY_REQUESTS:
                await asyncio.sleep(_wait_asked_for(answer))
                continue
            break
        return _checked(answer)

    async def _raw(self, method: str, path: str, *, stream: bool = False, **request: Any) -> httpx.Response:
        extensions = {} if "timeout" not in request else {"timeout": request.pop("timeout").as_dict()}
        try:
            built = self._http.build_request(method, path, extensions=extensions or None, **request)
        except UnicodeEncodeError as error:
            given = error.object[error.start : error.end]
            raise NotText(f"{given!r} in what was given is no character that can be sent. Give text in UTF-8.") from None
        try:
            answer = await self._http.send(built, stream=True)
            if not stream or answer.is_error:
                await answer.aread()
                await answer.aclose()
        except httpx.TransportError as error:
            raise self._not_reachable(error) from error
        return answer

    async def _access_token(self, *, refused: str | None = None) -> str:
        """A token that should work. `refused` is the one that just did not."""
        if self.account.token is not None:
            return self.account.token
        async with self._renewing:
            if self._tokens is None or not self._tokens.fresh or self._tokens.access_token == refused:
                self._tokens = await self._renewed(refused)
            return self._tokens.access_token

    async def _renewed(self, refused: str | None) -> Tokens:
        """New tokens, from the store if another command was faster, else by refresh, else by password."""
        key = self.account.url if self.account.login is not None else self.account.cache_key
        with self._store.locked():
            stored = self._store.get(key)
            if stored is not None and stored.fresh and stored.access_token != refused:
                return stored
            tokens = await self._refreshed(stored) if stored is not None else None
            if tokens is None and self.account.email and self.account.password:
                tokens = await self.sign_in(self.account.email, self.account.password)
            if tokens is None:
                raise await self._who_are_you(ended=stored is not None)
            self._store.put(key, tokens)
            return tokens

    async def _refreshed(self, stored: Tokens) -> Tokens | None:
        answer = await self._raw("POST", f"{API}/auth/refresh", json={"refresh_token": stored.refresh_token})
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.UNPROCESSABLE_ENTITY):
            return None
        return Tokens.answered(stored.email, _body(_checked(answer)))

    async def _who_are_you(self, *, ended: bool) -> NotSignedIn:
        # Whoever has no account at hand may have no server either; that is the better thing to say.
        await self._raw("GET", "/livez")
        if ended:
            url = self.account.url
            return NotSignedIn(f"The sign-in at {url} has ended. Sign in again with docutalk login --url {url}")
        return NotSignedIn(
            f"Not signed in at {self.account.url}. Run docutalk login, set DOCUTALK_TOKEN, or start the command in the folder"
            " where docutalk up runs."
        )

    def _not_reachable(self, error: Exception) -> NotReachable:
        url = self.account.url
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            hint = "Start it with docutalk up" if _is_loopback(url) else "Check the address"
            return NotReachable(f"Nothing answers at {url}. {hint}, or say where DocuTalk is with --url or DOCUTALK_URL.")
        if isinstance(error, httpx.TimeoutException):
            return NotReachable(f"{url} did not answer in time. Try again, or look at its logs.")
        return NotReachable(f"The connection to {url} broke off ({type(error).__name__}). Try again in a moment.")


async def every(api: Api, path: str, **query: str | int | None) -> AsyncIterator[Json]:
    """Every item of a list, page by page."""
    page, seen = 1, 0
    while True:
        answer = await api.get(path, page=page, per_page=100, **query)
        for item in answer["items"]:
            yield item
        seen += len(answer["items"])
        if not answer["items"] or seen >= answer["total"]:
            return
        page += 1


def passes(error: NotReachable | Refused) -> bool:
    """Whether another try, a moment later, may succeed: the server is away or busy."""
    if isinstance(error, NotReachable):
        return True
    return error.status in _PASSING or str(error.problem.get("type", "")).endswith(":idempotency_key_in_use")


def _checked(answer: httpx.Response) -> httpx.Response:
    if not answer.is_error:
        return answer
    problem = _problem(answer)
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise NotSignedIn(_sentence(answer.status_code, problem))
    raise Refused(answer.status_code, problem)


def _body(answer: httpx.Response) -> Json:
    if not answer.content and answer.status_code in (httpx.codes.ACCEPTED, httpx.codes.NO_CONTENT):
        return {}
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ClientError(f"{answer.url.host} answered something that is not DocuTalk's API. Check the address.")
    return found


def _problem(answer: httpx.Response) -> Json:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _sentence(status: int, problem: Mapping[str, Any]) -> str:
    """One sentence: the detail, the fields that are wrong, and for errors of the server the id that finds them in its logs."""
    text = str(problem.get("detail") or problem.get("title") or f"The server answered {status}.")
    errors = [f"{_field(error)}: {error['message']}" for error in problem.get("errors") or [] if "message" in error]
    if len(errors) > 1:
        text = "; ".join(errors)
    if status >= httpx.codes.INTERNAL_SERVER_ERROR and problem.get("trace_id"):
        text = f"{text} (trace id {problem['trace_id']})"
    return text


def _field(error: Mapping[str, Any]) -> str:
    location = [str(part) for part in error.get("location", []) if part not in ("body", "query", "path")]
    return ".".join(location) or "request"


def _wait_asked_for(answer: httpx.Response) -> float:
    """Seconds. A proxy may name a date instead of them; then the usual second has to do."""
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_WAIT_SECONDS) if asked.isdecimal() else 1.0


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        fine = False
    if not fine:
        raise NoAddress(
            f"{url!r} is not an address like http://127.0.0.1:8000. Say where DocuTalk is with --url or DOCUTALK_URL."
        )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
