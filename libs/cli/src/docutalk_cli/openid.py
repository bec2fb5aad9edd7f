"""A sign-in at an OpenID provider from a terminal: the browser comes back to a port of this machine (RFC 8252, section 7.3)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import secrets
import sys
import webbrowser
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlencode, urlsplit

from docutalk_cli.client import API, Api, ClientError, Json, NotSignedIn
from docutalk_cli.output import Output

# As long as the server waits for whoever it has sent to the provider.
PATIENCE_SECONDS = 600.0
_REQUEST_SECONDS = 10.0
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>DocuTalk</title>
<p>You may close this page, and go back to the terminal.</p></html>
"""


async def openid_tokens(api: Api, output: Output) -> Json:
    """Sends the browser to the provider and waits for it to come back. Returns what `POST /auth/openid/token` answers.

    Raises `ClientError` when the server has no provider, and `NotSignedIn` when nobody comes back within ten minutes.
    """
    provider = (await api.public("GET", "/auth/options"))["openid"]
    if provider is None:
        raise ClientError(f"{api.account.url} has no OpenID provider. Sign in with a password: docutalk login")
    verifier = secrets.token_urlsafe(48)
    async with _listening() as (return_to, came_back):
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = urlencode({"return_to": return_to, "code_challenge": challenge})
        await _browse(output, provider, f"{api.account.url}{API}/auth/openid?{query}")
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                brought = await came_back
        except TimeoutError:
            raise NotSignedIn(
                "Nobody came back from the browser within ten minutes. Start again with docutalk login --openid"
            ) from None
        if "code" not in brought:
            raise NotSignedIn(output.harmless(brought.get("error_description", brought["error"])))
        return await api.public("POST", "/auth/openid/token", {"code": brought["code"], "code_verifier": verifier})


async def _browse(output: Output, provider: str, address: str) -> None:
    output.note(f"Sign in with {provider} in a browser on this machine:")
    # Whole, however narrow the terminal is: it is there to be copied.
    output.err.print(output.harmless(address), soft_wrap=True)
    if sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")):
        await asyncio.to_thread(webbrowser.open, address)
    output.note("Waiting for the browser to come back ...")


@contextlib.asynccontextmanager
async def _listening() -> AsyncIterator[tuple[str, asyncio.Future[dict[str, str]]]]:
    """Where the browser is to come back to, and what it brings: a code, or an error. Nobody can guess the address."""
    came_back: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    path = f"/{secrets.token_urlsafe(16)}"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                brought = _brought(head, path)
                writer.write(_response("200 OK", _PAGE) if brought else _response("404 Not Found", "There is nothing here.\n"))
                await writer.drain()
            if brought and not came_back.done():
                came_back.set_result(brought)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}{path}", came_back


def _brought(head: bytes, path: str) -> dict[str, str] | None:
    """The code or the error that a request brings; None for any other request. Raises `ValueError` for what is no request."""
    method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return query if method == "GET" and parts.path == path and query.keys() & {"code", "error"} else None


def _response(status: str, text: str) -> bytes:
    content = text.encode()
    kind = "text/html" if status.startswith("200") else "text/plain"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {len(content)}\r\n"
    return f"{head}Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n".encode() + content
