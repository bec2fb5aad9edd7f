"""A web server for tests: plain HTTP/1.1 on this machine, whose pages a test sets and changes, and which can misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

ENDLESS = 1 << 40


@dataclass
class Page:
    """What a path answers. `drip` sends the body byte by byte with so many seconds between."""

    body: bytes = b""
    content_type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    etag: bool = False
    last_modified: str | None = None
    drip: float = 0.0
    repeat: int = 1
    reset: bool = False
    before: Callable[[], None] | None = None


@dataclass(frozen=True)
class Seen:
    """A request."""

    path: str
    headers: dict[str, str]


@dataclass
class Web:
    """The server. `pages` are by path with query; what is not there is a 404."""

    port: int = 0
    pages: dict[str, Page] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    sent: int = 0
    at_once: int = 0
    most_at_once: int = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """An address of this server."""
        return f"http://{host}:{self.port}{path}"

    def html(self, path: str, title: str, text: str, **options: object) -> str:
        """Sets a page of HTML; returns its address."""
        body = f"<html><head><title>{title}</title></head><body><article><p>{text}</p></article></body></html>"
        self.pages[path] = Page(body.encode(), **options)  # type: ignore[arg-type]
        return self.url(path)

    def redirect(self, path: str, to: str, status: int = 302) -> str:
        """Sets a redirect; returns its address."""
        self.pages[path] = Page(status=status, headers=[("Location", to)])
        return self.url(path)

    def asked(self, path: str) -> list[Seen]:
        """The requests for a path."""
        return [seen for seen in self.seen if seen.path == path]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
                self.seen.append(Seen(first.split(" ")[1], headers))
                await self._answer(self.seen[-1], writer)
        finally:
            self.at_once -= 1
            writer.close()

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        page = self.pages.get(seen.path, Page(b"nothing here", "text/plain", 404))
        if page.before is not None:
            page.before()
        if page.reset:
            transport = writer.transport
            transport.abort()
            return
        status, body = page.status, page.body
        headers = [("Content-Type", page.content_type), ("Connection", "close"), *page.headers]
        if page.etag:
            tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            headers.append(("ETag", tag))
            status = 304 if seen.headers.get("if-none-match") == tag else status
        if page.last_modified:
            headers.append(("Last-Modified", page.last_modified))
            status = 304 if seen.headers.get("if-modified-since") == page.last_modified else status
        if status == 304:
            body = b""
        elif page.repeat == 1 and not any(name == "Content-Length" for name, _ in headers):
            headers.append(("Content-Length", str(len(body))))
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers)]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        await writer.drain()
        for _ in range(page.repeat if body else 0):
            drip = page.drip
            for block in [body[i : i + 1] for i in range(len(body))] if drip else [body]:
                writer.write(block)
                self.sent += len(block)
                await writer.drain()
                await asyncio.sleep(drip)


@contextlib.asynccontextmanager
async def serving(host: str = "127.0.0.1") -> AsyncIterator[Web]:
    """A server on a port of its own."""
    web = Web()
    server = await asyncio.start_server(web._serve, host, 0, limit=1 << 20)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()
