"""The life of a service process: logs, traces, probes from a thread, signals, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import uvloop
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from docutalk_common.settings import ServiceSettings
from docutalk_common.telemetry import configure_logging, configure_tracing, get_logger, shutdown_tracing

LOOP_STALLED_SECONDS = 10.0
OPEN_FILES = 65_536


class Runtime:
    """What a running service may ask of its process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = False
        self.stopping = asyncio.Event()
        self.failure: str | None = None
        self.last_tick = time.monotonic()
        self.stalled_after = LOOP_STALLED_SECONDS

    def fail(self, reason: str) -> None:
        """Ends the process with an error, for what only a fresh start can mend. The supervisor starts it again."""
        if self.failure is None:
            self.failure = reason
            get_logger(__name__).error("the service stops: " + reason)
        self.stopping.set()

    @property
    def alive(self) -> bool:
        """Whether the event loop has moved lately."""
        return time.monotonic() - self.last_tick < self.stalled_after


class ProbeServer:
    """`/livez`, `/readyz` and `/metrics`, answered by a thread of its own, so that a frozen event loop is seen as dead."""

    def __init__(self, runtime: Runtime, host: str, port: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._send(200, generate_latest(), CONTENT_TYPE_LATEST)
                elif path in {"/livez", "/readyz"}:
                    good = runtime.alive and (path == "/livez" or runtime.ready)
                    self._send(200 if good else 503, b"ok\n" if good else b"not ok\n", "text/plain")
                else:
                    self._send(404, b"not found\n", "text/plain")

            def _send(self, status: int, body: bytes, content_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Probes come every few seconds and say nothing new."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="probes", daemon=True).start()

    def close(self) -> None:
        """Frees the port."""
        self._server.shutdown()
        self._server.server_close()


async def _tick(runtime: Runtime) -> None:
    while True:
        runtime.last_tick = time.monotonic()
        await asyncio.sleep(0.5)


async def _serve(
    settings: ServiceSettings, runtime: Runtime, build: Callable[[Runtime], AbstractAsyncContextManager[None]]
) -> None:
    log = get_logger(__name__)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runtime.stopping.set)
    ticking = asyncio.create_task(_tick(runtime))
    probes = ProbeServer(runtime, settings.probe_host, settings.probe_port)
    try:
        log.info("starting", pid=os.getpid(), probe_port=probes.port)
        await _live(runtime, build)
    finally:
        ticking.cancel()
        probes.close()
    log.info("stopped")


async def _live(runtime: Runtime, build: Callable[[Runtime], AbstractAsyncContextManager[None]]) -> None:
    """Builds, waits for the signal, closes. A signal before the service is ready cancels its start, which may be waiting
    for a server that is not there."""
    log = get_logger(__name__)
    ready = asyncio.Event()

    async def life() -> None:
        async with build(runtime):
            ready.set()
            runtime.ready = True
            log.info("ready")
            await runtime.stopping.wait()
            runtime.ready = False
            log.info("stopping")

    living = asyncio.create_task(life(), name="service")
    stopping = asyncio.create_task(runtime.stopping.wait())
    await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not ready.is_set() and not living.done():
        living.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await living
        return
    await living


def run_service(name: str, settings: ServiceSettings, build: Callable[[Runtime], AbstractAsyncContextManager[None]]) -> None:
    """Runs a service until SIGTERM or SIGINT. `build` starts everything, yields when ready, and closes it in reverse.

    Exit code 0 after a signal, 1 after `Runtime.fail` or an exception.
    """
    configure_logging(name, log_format=settings.log_format, level=settings.log_level)
    configure_tracing(name)
    _raise_open_files()
    runtime = Runtime(name)
    try:
        # A third faster on NATS and HTTP than the loop of the standard library.
        uvloop.run(_serve(settings, runtime, build))
    except Exception:
        get_logger(__name__).exception("the service ended with an error")
        sys.exit(1)
    finally:
        shutdown_tracing()
    sys.exit(1 if runtime.failure else 0)


def _raise_open_files() -> None:
    """Each stream is an open file, and many shells allow a thousand and let a process raise that itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Some systems name a hard limit that they do not grant.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def wait_until(check: Callable[[], Awaitable[bool]], *, seconds: float, what: str, every: float = 0.05) -> None:
    """Waits for a condition. Raises `TimeoutError` that names `what` when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not await check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(every)


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks and waits for their end. Asks again every five seconds: `asyncio.wait_for`, which libraries use, swallows
    a cancellation that comes together with its result (until Python 3.12), and the task would go on for ever."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=5)
