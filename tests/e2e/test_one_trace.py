"""One trace follows a request from HTTP through every service that takes part."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from docutalk_common.process import wait_until
from docutalk_common.testing.pdf import make_pdf
from docutalk_local.testing.system import running_system
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    """An OTLP collector on loopback: for each trace the services that reported a span of it, and the spans' names."""

    services: dict[bytes, set[str]] = field(default_factory=lambda: defaultdict(set))
    names: dict[bytes, set[str]] = field(default_factory=lambda: defaultdict(set))

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.services[span.trace_id].add(service)
                    self.names[span.trace_id].add(span.name)

    def trace_with(self, services: set[str]) -> bool:
        return any(found >= services for found in list(self.services.values()))


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    yield collector
    server.shutdown()


async def test_one_trace_leads_from_the_upload_to_the_index_and_one_from_the_question_to_the_page(
    collector: Collector, tmp_path: Path
) -> None:
    async with running_system(tmp_path / "home", durable=False) as system:
        person = await system.register("tracer@example.com")
        accepted = await person.upload([("harbour.pdf", make_pdf(["The old harbour of Caesarea was built in 22 BC."]))])
        await person.until_final([accepted[0]["id"]], seconds=60)
        await person.ask("When was the old harbour of Caesarea built?")

        async def upload_traced() -> bool:
            return collector.trace_with({"docutalk-gateway", "docutalk-ingest", "docutalk-embed"})

        async def question_traced() -> bool:
            return collector.trace_with({"docutalk-gateway", "docutalk-chat", "docutalk-embed", "docutalk-ingest"})

        await wait_until(upload_traced, seconds=15, what="one trace through gateway, ingest and embed")
        await wait_until(question_traced, seconds=15, what="one trace through gateway, chat, embed and ingest")
