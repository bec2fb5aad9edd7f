"""Fetching from the web for sources: polite to those who serve it, and safe for the network that we stand in.

Safe: names are resolved here and the connection goes to exactly the address that was checked, each time one is opened. So
neither a redirect nor a name that changes its address between looking and connecting leads inside. Sizes are counted after
decompression, times include a body that only drips.

Polite: robots.txt (RFC 9309), one request at a time for each host with a pause between, `Retry-After`, conditional requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import functools
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import certifi
import httpcore
import httpx
from docutalk_common.errors import DocuTalkError
from protego import Protego

from docutalk_ingest.adapters.addresses import AddressBook, AddressRefused, NameNotFound

USER_AGENT = "DocuTalk/0.1.0"
_PRODUCT = "docutalk"
ROBOTS_SECONDS = 3600.0
ROBOTS_BYTES = 512 * 1024
ROBOTS_KEPT_BYTES = 2 << 20
"""Of all that are remembered together. As rules they take up to a hundred times as much memory."""
MAX_URL = 4096
_BLOCK = 64 * 1024
_SAID_MOST = 200
"""Characters of what a library says: it may quote what the host sent."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUSY = frozenset({429, 503})
_SAID = {
    401: "it asks for a login",
    403: "it refuses us",
    404: "there is no such page",
    410: "the page is gone",
    451: "it is not shown for legal reasons",
}


class FetchFailed(DocuTalkError):
    """Nothing was fetched. `code` is for programs, the message says to a person what happened and what to do."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class FetchLimits:
    """Sizes in bytes, times in seconds."""

    body_bytes: int = 50 << 20
    """Of one answer, after decompression."""
    total_seconds: float = 30
    """For one address with all its redirects, without waiting in line for the host."""
    connect_seconds: float = 10
    redirects: int = 5
    pause_seconds: float = 0.5
    """Between two requests to one host."""
    crawl_delay_seconds: float = 10
    """How long a pause a robots.txt can ask for."""
    retry_after_seconds: float = 15
    """How long a busy host can make us wait; one that asks for more is given up on for this run."""
    at_once: int = 8
    """Answers that are read at the same time: they are held in memory."""


@dataclass(frozen=True)
class Fetched:
    """An answer. `unchanged` when the host said so to our conditional request; `body` is empty then."""

    url: str
    """Where it came from in the end, without a password."""
    body: bytes
    content_type: str
    charset: str | None
    etag: str | None
    last_modified: str | None
    unchanged: bool = False


@dataclass
class _Host:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    free_at: float = 0.0


@dataclass(frozen=True)
class _Robots:
    """What a host wants. `closed` says why nothing of it may be fetched."""

    rules: Protego | None
    closed: str | None
    until: float
    size: int = 0


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to checked addresses only."""

    def __init__(self, book: AddressBook) -> None:
        self._book = book
        self._tcp = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectTimeout("the name was not resolved in time")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                for address in (await self._book.addresses(host, port))[:3]:
                    try:
                        return await self._tcp.connect_tcp(address, port, timeout, local_address, socket_options)
                    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                        failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("sources do not come from sockets of this machine")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


@functools.cache
def _trust() -> ssl.SSLContext:
    """The public authorities and the machine's own. Reading them takes a tenth of a second."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    return context


class _CheckedTransport(httpx.AsyncBaseTransport):
    """httpx on connections of our own; its own transport takes no network backend."""

    def __init__(self, book: AddressBook, connections: int) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_trust(),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=5,
            network_backend=_CheckedBackend(book),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=b"",
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions)

    async def aclose(self) -> None:
        await self._pool.aclose()


class Fetcher:
    """One for the process: the line before each host is here. Raises `FetchFailed`."""

    def __init__(
        self,
        limits: FetchLimits = FetchLimits(),
        *,
        book: AddressBook | None = None,
        obey_robots: bool = True,
        now: Callable[[], float] | None = None,
    ) -> None:
        """`now` is the clock in seconds by which a robots.txt grows old."""
        self._limits = limits
        self._obey_robots = obey_robots
        self._now = now or (lambda: asyncio.get_running_loop().time())
        self._hosts: dict[str, _Host] = {}
        self._robots: dict[str, _Robots] = {}
        self._slots = asyncio.Semaphore(limits.at_once)
        timeout = httpx.Timeout(limits.total_seconds, connect=limits.connect_seconds)
        self._client = httpx.AsyncClient(
            transport=_CheckedTransport(book or AddressBook(), 2 * limits.at_once),
            timeout=timeout,
            trust_env=False,
            follow_redirects=False,
            # Our own decompression, which stops at the limit; a library's inflates whatever a block of 64 KiB holds.
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip", "Accept": "*/*"},
        )
        # One client serves every workspace: what a host makes us remember in one must not show in another.
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    async def close(self) -> None:
        """Closes what connections there are."""
        await self._client.aclose()

    async def fetch(
        self,
        url: str,
        *,
        etag: str | None = None,
        last_modified: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Fetched:
        """The answer of the last of the redirects. With `etag` or `last_modified` it may be `unchanged`.

        `headers` go to the host of `url` only.
        """
        asked = {"If-None-Match": etag, "If-Modified-Since": last_modified}
        conditions = {name: value for name, value in asked.items() if value}
        return await self._follow(parsed(url), conditions, headers or {}, robots=self._obey_robots)

    async def _follow(
        self,
        url: httpx.URL,
        conditions: Mapping[str, str],
        headers: Mapping[str, str],
        *,
        robots: bool,
        cap: int | None = None,
    ) -> Fetched:
        first = url
        left = self._limits.total_seconds
        for _ in range(self._limits.redirects + 1):
            pause = self._limits.pause_seconds
            if robots:
                pause = max(pause, await self._permitted(url))
            own = {**conditions, **headers} if _origin(url) == _origin(first) else dict(conditions)
            async with self._turn(url, pause):
                started = asyncio.get_running_loop().time()
                answer = await self._within(left, url, own, cap)
                left -= asyncio.get_running_loop().time() - started
            if isinstance(answer, Fetched):
                return answer
            url = answer
        raise FetchFailed("too_many_redirects", f"{shown(first)} was redirected more than {self._limits.redirects} times.")

    @contextlib.asynccontextmanager
    async def _turn(self, url: httpx.URL, pause: float) -> AsyncIterator[None]:
        """Waits until nobody else fetches from the host and its pause is over."""
        if len(self._hosts) > 1000:
            self._hosts = {name: host for name, host in self._hosts.items() if host.lock.locked()}
        host = self._hosts.setdefault(url.host.lower().rstrip("."), _Host())
        loop = asyncio.get_running_loop()
        async with host.lock:
            if (wait := host.free_at - loop.time()) > 0:
                await asyncio.sleep(wait)
            try:
                yield
            finally:
                host.free_at = loop.time() + pause

    async def _within(self, seconds: float, url: httpx.URL, headers: Mapping[str, str], cap: int | None) -> Fetched | httpx.URL:
        """One request, or two when the host is busy; every failure as `FetchFailed`."""
        try:
            async with self._slots, asyncio.timeout(max(seconds, 0)):
                return await self._request(url, headers, cap)
        except TimeoutError:
            raise FetchFailed("too_slow", f"{shown(url)} took longer than {self._limits.total_seconds:g} seconds.") from None
        except (AddressRefused, NameNotFound) as error:
            raise FetchFailed(error.code, f"{shown(url)}: {error}.") from error
        except (httpx.InvalidURL, httpx.RemoteProtocolError) as error:
            # The client looks at the target of a redirect although it does not follow it.
            raise FetchFailed("bad_redirect", f"{shown(url)} redirects to something that is no web address.") from error
        except (httpcore.TimeoutException, httpx.TimeoutException):
            raise FetchFailed("too_slow", f"{shown(url)} did not answer in time.") from None
        except (httpcore.RemoteProtocolError, httpcore.ProtocolError, httpcore.LocalProtocolError) as error:
            raise FetchFailed(
                "bad_answer", f"{shown(url)} did not answer as a web server does: {str(error)[:_SAID_MOST]}."
            ) from error
        except (httpcore.NetworkError, httpx.HTTPError, OSError) as error:
            why = str(error)[:_SAID_MOST] or "the connection was lost"
            raise FetchFailed("unreachable", f"{shown(url)} could not be reached: {why}.") from error
        except ValueError as error:
            # Something in the answer that our own libraries choke on. One address is not worth the whole run.
            raise FetchFailed(
                "bad_answer", f"{shown(url)} answered with something that cannot be read: {str(error)[:_SAID_MOST]}."
            ) from error

    async def _request(self, url: httpx.URL, headers: Mapping[str, str], cap: int | None) -> Fetched | httpx.URL:
        for last in (False, True):
            async with self._client.stream("GET", url, headers=dict(headers)) as response:
                if response.status_code in _BUSY:
                    wait = _retry_after(response.headers.get("retry-after"))
                    if last or wait is None or wait > self._limits.retry_after_seconds:
                        said = f", it asks us to come back in {wait:.0f} seconds" if wait else ""
                        raise FetchFailed(
                            "busy", f"{shown(url)} answered {response.status_code}{said}. The next run tries again."
                        )
                else:
                    return await self._read(url, response, headers, cap)
            await asyncio.sleep(wait)
        raise AssertionError("the last round returns or raises")

    async def _read(
        self, url: httpx.URL, response: httpx.Response, headers: Mapping[str, str], cap: int | None
    ) -> Fetched | httpx.URL:
        status = response.status_code
        if status in _REDIRECTS and "location" in response.headers:
            return _redirected(url, response.headers["location"])
        if status == 304 and ("If-None-Match" in headers or "If-Modified-Since" in headers):
            return self._fetched(url, response, b"", unchanged=True)
        if status != 200:
            said = f": {_SAID[status]}" if status in _SAID else ""
            raise FetchFailed(f"http_{status}", f"{shown(url)} answered {status}{said}.")
        return self._fetched(url, response, await self._body(url, response, cap))

    def _fetched(self, url: httpx.URL, response: httpx.Response, body: bytes, *, unchanged: bool = False) -> Fetched:
        return Fetched(
            url=shown(url),
            body=body,
            content_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
            charset=response.charset_encoding,
            etag=_short(response.headers.get("etag")),
            last_modified=_short(response.headers.get("last-modified")),
            unchanged=unchanged,
        )

    async def _body(self, url: httpx.URL, response: httpx.Response, cap: int | None) -> bytes:
        """The body, decompressed. Stops at the limit; with `cap` the rest is left out without a word."""
        limit = cap if cap is not None else self._limits.body_bytes
        announced = response.headers.get("content-length", "")
        if cap is None and announced.isdigit() and int(announced) > limit:
            raise _too_large(url, limit)
        inflate = _decompressor(url, response.headers.get("content-encoding", ""))
        body = bytearray()
        async for block in response.aiter_raw(_BLOCK):
            for part in inflate(block):
                body += part
                if len(body) > limit:
                    if cap is not None:
                        return bytes(body[:cap])
                    raise _too_large(url, limit)
        return bytes(body)

    async def _permitted(self, url: httpx.URL) -> float:
        """The pause that the host asks for between requests, in seconds. Raises `FetchFailed` where it wants no robots."""
        robots = self._robots.get(_origin(url))
        if robots is None or robots.until < self._now():
            robots = await self._read_robots(url)
            self._remember(_origin(url), robots)
        if robots.closed is not None:
            raise FetchFailed("robots_unknown", f"{shown(url)} was not fetched: {robots.closed}")
        if robots.rules is None:
            return 0.0
        if not robots.rules.can_fetch(str(url), USER_AGENT):
            raise FetchFailed("robots_disallow", f"{shown(url)} was not fetched: its host asks robots not to (robots.txt).")
        delay = robots.rules.crawl_delay(USER_AGENT)
        return min(float(delay or 0), self._limits.crawl_delay_seconds)

    def _remember(self, origin: str, robots: _Robots) -> None:
        """Forgets those read longest ago: whoever has a name has as many hosts under it as they like, each with its file."""
        self._robots.pop(origin, None)
        self._robots[origin] = robots
        kept = sum(each.size for each in self._robots.values())
        while kept > ROBOTS_KEPT_BYTES or len(self._robots) > 1000:
            kept -= self._robots.pop(next(iter(self._robots))).size

    async def _read_robots(self, url: httpx.URL) -> _Robots:
        """RFC 9309: no robots.txt permits everything, one that cannot be had permits nothing. The latter is asked again soon."""
        address = url.copy_with(raw_path=b"/robots.txt", fragment=None)
        until = self._now() + ROBOTS_SECONDS
        try:
            fetched = await self._follow(address, {}, {}, robots=False, cap=ROBOTS_BYTES)
            rules = await asyncio.to_thread(_rules, fetched.body)
        except FetchFailed as failure:
            if failure.code in ("address_refused", "name_not_found"):
                raise FetchFailed(failure.code, str(failure).replace(shown(address), shown(url))) from failure
            if failure.code.startswith("http_4") or failure.code == "too_many_redirects":
                return _Robots(None, None, until)
            closed = f"whether its host permits it could not be found out. {failure} The next run tries again."
            return _Robots(None, closed, self._now() + 60)
        return _Robots(rules, None, until, len(fetched.body))


def _rules(body: bytes) -> Protego:
    """The rules of a robots.txt, of which only the groups for us and for everybody are told apart.

    The library copies each rule to every name in its group: a file of 50 KB with many of both took seconds and 160 MB.
    """
    lines = []
    for line in body.decode("utf-8", "replace").splitlines():
        words = line.partition("#")[0].replace(":", " ", 1).lower().split()
        if words[:1] in (["user-agent"], ["useragent"]):
            lines.append(f"User-agent: {_group(words[1:])}")
        elif words[:2] == ["user", "agent"]:
            lines.append(f"User-agent: {_group(words[2:])}")
        else:
            lines.append(line)
    return Protego.parse("\n".join(lines))


def _group(name: list[str]) -> str:
    product = name[0].partition("/")[0] if name else ""
    return product if product in ("*", _PRODUCT) else "another"


def parsed(url: str) -> httpx.URL:
    """A web address. Raises `FetchFailed("bad_address")` with what is wrong about it."""
    try:
        if len(url) > MAX_URL:
            raise ValueError(f"it is longer than {MAX_URL} characters")
        found = httpx.URL(url.strip())
        if found.scheme not in ("http", "https"):
            raise ValueError("it must begin with http:// or https://")
        if not found.host:
            raise ValueError("it names no host")
        if found.port is not None and not 0 < found.port < 65536:
            raise ValueError("its port does not exist")
    except (httpx.InvalidURL, ValueError) as error:
        raise FetchFailed("bad_address", f"{url[:200]} is not a web address: {error}.") from error
    return found.copy_with(fragment=None)


def shown(url: httpx.URL | str) -> str:
    """The address for people: without a password."""
    return str(httpx.URL(url).copy_with(username=None, password=None, fragment=None))


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.host.lower().rstrip('.')}:{url.port or ''}"


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    try:
        target = url.join(location)
        if _origin(target) != _origin(url):
            # A password belongs to the host that it was given for.
            target = target.copy_with(username=None, password=None)
    except (httpx.InvalidURL, ValueError) as error:
        raise FetchFailed("bad_redirect", f"{shown(url)} redirects to something that is no web address.") from error
    try:
        return parsed(str(target))
    except FetchFailed as failure:
        raise FetchFailed("bad_redirect", f"{shown(url)} redirects to what cannot be fetched: {failure}") from failure


def _too_large(url: httpx.URL, limit: int) -> FetchFailed:
    return FetchFailed("too_large", f"{shown(url)} is larger than {limit / (1 << 20):.3g} MB, the most that is fetched.")


def _decompressor(url: httpx.URL, encoding: str) -> Callable[[bytes], Iterable[bytes]]:
    """Turns blocks as they were sent into blocks of at most 64 KiB as they are meant."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return lambda block: (block,)
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise FetchFailed("bad_encoding", f"{shown(url)} is packed as {encoding[:40]!r}, which we did not ask for.")
    # 32: whether the header is that of gzip or of zlib is looked up.
    inflater = zlib.decompressobj(32 + zlib.MAX_WBITS)

    def inflate(block: bytes) -> Iterable[bytes]:
        try:
            while block:
                yield inflater.decompress(block, _BLOCK)
                block = inflater.unconsumed_tail
        except zlib.error as error:
            raise FetchFailed("bad_encoding", f"{shown(url)} could not be unpacked: {error}.") from error

    return inflate


def _retry_after(value: str | None) -> float | None:
    """Seconds from now; the header is a number or a date."""
    if not value:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, float(int(value)))
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        at = email.utils.parsedate_to_datetime(value)
        return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    return None


def _short(value: str | None) -> str | None:
    """A validator that is not worth keeping when it is longer than any honest one, or could not be sent back."""
    return value if value and len(value) <= 1000 and value.isascii() and value.isprintable() else None
