"""The life of a service process, each in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from docutalk_common.process import wait_until
from docutalk_local.ports import free_port

_SERVICE = """
import asyncio, contextlib, logging, signal, sys, time
from docutalk_common.process import run_service
from docutalk_common.settings import ServiceSettings
from docutalk_common import telemetry

@contextlib.asynccontextmanager
async def build(runtime):
    log = telemetry.get_logger("probe")
{start}
    yield
    log.info("closed in order")

run_service("probe", ServiceSettings(), build)
"""

ENVIRONMENT = {
    "DOCUTALK_POSTGRES_DSN": "postgresql://x@127.0.0.1/x",
    "DOCUTALK_NATS_USER": "x",
    "DOCUTALK_NATS_PASSWORD": "x",
    "DOCUTALK_S3_ACCESS_KEY": "x",
    "DOCUTALK_S3_SECRET_KEY": "x",
}


@dataclass
class Service:
    process: asyncio.subprocess.Process
    address: str

    async def probe(self, path: str) -> int:
        async with httpx.AsyncClient(timeout=5) as client:
            return (await client.get(self.address + path)).status_code

    async def answers(self, path: str, status: int, seconds: float = 60) -> None:
        async def as_wanted() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return await self.probe(path) == status
            return False

        await wait_until(as_wanted, seconds=seconds, what=f"{path} answers {status}")

    async def ended(self) -> tuple[int, list[dict[str, Any]]]:
        _, err = await asyncio.wait_for(self.process.communicate(), 60)
        assert self.process.returncode is not None
        return self.process.returncode, [json.loads(line) for line in err.decode().splitlines()]


@contextlib.asynccontextmanager
async def running(start: str = "    pass", *, open_files: int | None = None) -> AsyncIterator[Service]:
    def limit() -> None:
        if open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _SERVICE.replace("{start}", start),
        env=ENVIRONMENT | {"DOCUTALK_PROBE_PORT": str(port)},
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=limit,
    )
    try:
        yield Service(process, f"http://127.0.0.1:{port}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_service_ends_in_order_with_0_after_a_signal(number: signal.Signals) -> None:
    async with running() as service:
        await service.answers("/readyz", 200)
        assert await service.probe("/livez") == 200
        assert await service.probe("/metrics") == 200
        assert await service.probe("/other") == 404
        service.process.send_signal(number)
        code, lines = await service.ended()
    assert code == 0
    assert [line["event"] for line in lines] == ["starting", "ready", "stopping", "closed in order", "stopped"]


async def test_service_that_declares_failure_ends_in_order_with_1() -> None:
    async with running("    asyncio.get_running_loop().call_later(0.2, runtime.fail, 'the durable is gone')") as service:
        code, lines = await service.ended()
    assert code == 1
    assert "the service stops: the durable is gone" in [line["event"] for line in lines]
    assert lines[-2]["event"] == "closed in order"


async def test_service_that_cannot_start_ends_with_1_and_says_why_in_one_line() -> None:
    async with running("    raise RuntimeError('no schema')") as service:
        code, lines = await service.ended()
    assert code == 1
    assert "RuntimeError: no schema" in lines[-1]["exception"]


async def test_service_may_have_more_files_open_than_the_shell_allows_at_first() -> None:
    told = "    import resource; log.info('files', most=resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    async with running(told, open_files=256) as service:
        await service.answers("/readyz", 200)
        service.process.terminate()
        _, lines = await service.ended()
    [most] = [line["most"] for line in lines if line["event"] == "files"]
    assert most == min(65_536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


async def test_signal_while_the_start_waits_for_a_server_ends_the_service_with_0() -> None:
    async with running("    await asyncio.Event().wait()") as service:
        await service.answers("/livez", 200)
        assert await service.probe("/readyz") == 503
        service.process.terminate()
        code, lines = await service.ended()
    assert code == 0
    assert "ready" not in [line["event"] for line in lines]


async def test_frozen_event_loop_is_not_alive_and_is_again_when_it_moves() -> None:
    frozen = """    runtime.stalled_after = 1.0
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, time.sleep, 6.0)"""
    async with running(frozen) as service:
        await service.answers("/readyz", 200)
        service.process.send_signal(signal.SIGUSR1)
        await service.answers("/livez", 503)
        assert await service.probe("/readyz") == 503
        await service.answers("/livez", 200)
        service.process.terminate()
        code, _ = await service.ended()
    assert code == 0


async def test_every_record_is_one_line_of_json_with_its_trace_and_correlation() -> None:
    start = """    from structlog.contextvars import bound_contextvars
    from opentelemetry.trace import SpanKind
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with telemetry.span("work", kind=SpanKind.CONSUMER, headers={"traceparent": parent}):
        with bound_contextvars(correlation_id="c-1"):
            log.info("two\\nlines", number=7)
            logging.getLogger("a.library").warning("from %s", "a library")
            try:
                1 / 0
            except ZeroDivisionError:
                log.exception("went wrong")
                logging.getLogger("a.library").exception("went wrong there")"""
    async with running(start) as service:
        await service.answers("/readyz", 200)
        service.process.terminate()
        code, lines = await service.ended()
    assert code == 0
    inside = [line for line in lines if line.get("correlation_id")]
    assert [line["event"] for line in inside] == ["two\nlines", "from a library", "went wrong", "went wrong there"]
    for line in inside:
        assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        assert line["correlation_id"] == "c-1"
        assert line["service"] == "probe"
        assert {"timestamp", "level", "logger"} <= line.keys()
    assert inside[0]["number"] == 7
    assert all("ZeroDivisionError" in line["exception"] for line in inside[2:])
