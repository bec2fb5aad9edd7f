"""What is the same for every route: problems, headers, CORS, docs, probes, idempotency."""

from __future__ import annotations

import asyncio
import json
import re
from random import Random
from typing import Any
from uuid import UUID, uuid4

import nats
import pytest
from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.messaging.streams import DEAD_LETTERS
from docutalk_gateway.openapi import document

PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("PUT", "/api/v1/auth/login", 405),
        ("GET", "/api/v1/users/me", 401),
        ("POST", "/api/v1/auth/login", 422),
    ],
)
async def test_every_error_is_a_problem(gateway: Any, method: str, path: str, status: int) -> None:
    answer = await (await gateway.client()).request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert {"type", "title", "status", "detail", "instance", "trace_id"} <= set(problem)
    assert (problem["status"], problem["instance"]) == (status, path)
    assert re.fullmatch(r"[0-9a-f]{32}", problem["trace_id"])
    assert answer.headers["x-trace-id"] == problem["trace_id"]


async def test_unexpected_error_says_nothing_of_its_inside(embed_service: Any, person: Any) -> None:
    embed_service.passages = [object()]
    answer = await person.http.post(f"/api/v1/workspaces/{person.workspace}/search", json={"query": "x"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == PROBLEM
    assert "object" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_body_that_is_no_json_is_a_problem(person: Any) -> None:
    answer = await person.http.post("/api/v1/workspaces", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_body_that_is_far_too_large_is_refused(gateway: Any, person: Any) -> None:
    name = "x" * (5 << 20)
    for answer in (
        await person.http.post("/api/v1/workspaces", json={"name": name}),
        await person.http.post("/api/v1/workspaces", json={"name": name}, headers={"Idempotency-Key": "large"}),
        await (await gateway.client()).post("/api/v1/auth/token", files=[("file", ("a", name.encode()))]),
    ):
        assert answer.status_code == 413
        assert answer.headers["content-type"] == PROBLEM


async def test_nul_in_a_text_is_the_callers_error(gateway: Any, person: Any) -> None:
    chat = f"/api/v1/workspaces/{person.workspace}/chat"
    assert (await person.http.post("/api/v1/workspaces", json={"name": "a\x00b"})).status_code == 422
    assert (await person.http.post(chat, json={"message": "a\x00b"})).status_code == 422
    assert (await person.http.get(person.documents, params={"q": "a\x00b"})).status_code == 422
    http = await gateway.client()
    assert (await http.post("/api/v1/auth/login", json={"email": "a\x00b", "password": "x"})).status_code == 422
    assert (await http.post("/api/v1/auth/token", data={"username": "a\x00b", "password": "x"})).status_code == 401
    search = {"query": "a", "filters": {"content_types": ["a\x00b"]}}
    assert (await person.http.post(f"/api/v1/workspaces/{person.workspace}/search", json=search)).status_code == 422


@pytest.mark.parametrize("path", ["/api/v1/auth/login", "/api/v1/auth/register"])
async def test_half_a_surrogate_pair_in_a_password_is_the_callers_error(gateway: Any, path: str) -> None:
    body = b'{"email": "a@example.com", "password": "long enough \\ud800"}'
    answer = await (await gateway.client()).post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:docutalk:problem:invalid"


async def test_every_answer_has_headers_that_tell_browsers_to_be_careful(person: Any) -> None:
    answer = await person.http.get("/api/v1/users/me")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers


async def test_trace_of_the_caller_goes_on(person: Any, gateway: Any) -> None:
    from opentelemetry import trace

    if not trace.get_tracer_provider().__class__.__name__.startswith("Tracer"):
        from docutalk_common.telemetry import configure_tracing

        configure_tracing("gateway")
    trace_id = uuid4().hex
    answer = await person.http.get("/nowhere", headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
    assert answer.json()["trace_id"] == trace_id


async def test_listed_origin_and_no_other_may_call_from_a_browser(gateway_with: Any) -> None:
    async with gateway_with(cors_origins="https://app.example, https://other.example") as gateway:
        http = await gateway.client()
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,idempotency-key"}
        good = await http.options("/api/v1/auth/login", headers={"Origin": "https://app.example", **asked})
        assert good.headers["access-control-allow-origin"] == "https://app.example"
        bad = await http.options("/api/v1/auth/login", headers={"Origin": "https://evil.example", **asked})
        assert "access-control-allow-origin" not in bad.headers
        refused = await http.get("/api/v1/users/me", headers={"Origin": "https://other.example"})
        assert refused.headers["access-control-allow-origin"] == "https://other.example"


async def test_docs_need_no_other_server(gateway: Any) -> None:
    http = await gateway.client()
    page = await http.get("/docs")
    assert page.status_code == 200
    linked = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    assert linked
    assert all(link.startswith("/") for link in linked)
    for link in linked:
        assert (await http.get(link)).status_code == 200, link
    assert "<script>" not in page.text
    assert "'unsafe-inline'" not in page.headers["content-security-policy"].split("script-src")[1].split(";")[0]
    start = (await http.get("/docs/assets/start.js")).text
    assert '"/openapi.json"' in start
    assert (await http.get("/docs/assets/../app.py")).status_code == 404
    schema = (await http.get("/openapi.json")).json()
    assert (
        schema["components"]["securitySchemes"]["OAuth2PasswordBearer"]["flows"]["password"]["tokenUrl"] == "/api/v1/auth/token"
    )


def test_openapi_is_the_same_every_time_and_says_that_errors_are_problems() -> None:
    first = document()
    assert document() == first
    schema = json.loads(first)
    assert "HTTPValidationError" not in first
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            error = operation["responses"]["default"]["content"]
            assert set(error) == {"application/json" if path.startswith("/v1/") else PROBLEM}, f"{method} {path}"
            assert operation.get("description"), f"{method} {path} says nothing about itself"


async def test_health_names_each_server(gateway: Any) -> None:
    http = await gateway.client()
    assert (await http.get("/health")).json() == {"status": "ok", "checks": {"postgres": "ok", "nats": "ok", "storage": "ok"}}
    assert (await http.get("/livez")).status_code == 200
    assert (await http.get("/readyz")).status_code == 200
    metrics = (await http.get("/metrics")).text
    assert 'docutalk_http_requests_total{method="GET",route="/livez",status="200"}' in metrics


async def test_health_says_so_when_a_server_refuses_the_gateway(gateway_with: Any) -> None:
    async with gateway_with(s3_secret_key="another one") as refused:
        answer = await (await refused.client()).get("/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["checks"] == {"postgres": "ok", "nats": "ok", "storage": "not available"}


async def test_requests_are_refused_while_postgres_is_away(stack: Any, gateway: Any, person: Any) -> None:
    await stack.backend.stop_server("postgres")
    try:
        answer = await person.http.get("/api/v1/users/me")
        assert answer.status_code == 503
        assert answer.json()["detail"] == "postgres is not available; try again in a moment."
        assert "retry-after" in answer.headers
        health = (await person.http.get("/health")).json()
        assert health["status"] == "degraded"
        assert health["checks"]["postgres"] != "ok"
        assert (await person.http.get("/readyz")).status_code == 503
        assert (await person.http.get("/livez")).status_code == 200
    finally:
        await stack.backend.start_server("postgres")
    async with asyncio.timeout(20):
        while (await person.http.get("/api/v1/users/me")).status_code != 200:
            await asyncio.sleep(0.1)


# Idempotency -----------------------------------------------------------------------------------------------------


async def test_workspace_made_twice_with_one_key_is_one(gateway: Any) -> None:
    person = await gateway.person()
    key = {"Idempotency-Key": "make-it"}
    first = await person.http.post("/api/v1/workspaces", json={"name": "Reports"}, headers=key)
    again = await person.http.post("/api/v1/workspaces", json={"name": "Reports"}, headers=key)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert again.headers["location"] == first.headers["location"] == f"/api/v1/workspaces/{first.json()['id']}"
    assert again.headers["content-type"] == "application/json"
    assert (await person.http.get("/api/v1/workspaces")).json()["total"] == 2
    other = await person.http.post("/api/v1/workspaces", json={"name": "Letters"}, headers=key)
    assert other.status_code == 422


async def test_two_requests_with_one_key_at_once_make_one(gateway: Any) -> None:
    person = await gateway.person()
    key = {"Idempotency-Key": "race"}
    answers = await asyncio.gather(
        *(person.http.post("/api/v1/workspaces", json={"name": "Reports"}, headers=key) for _ in range(5))
    )
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert (await person.http.get("/api/v1/workspaces")).json()["total"] == 2


async def test_key_of_a_failed_request_may_be_used_again(person: Any) -> None:
    key = {"Idempotency-Key": "again"}
    assert (await person.http.post("/api/v1/workspaces", json={}, headers=key)).status_code == 422
    assert (await person.http.post("/api/v1/workspaces", json={"name": "a"}, headers=key)).status_code == 201


async def test_key_of_another_person_is_another_key(gateway: Any, person: Any) -> None:
    other, key = await gateway.person(), {"Idempotency-Key": "shared"}
    mine = (await person.http.post("/api/v1/workspaces", json={"name": "a"}, headers=key)).json()["id"]
    theirs = (await other.http.post("/api/v1/workspaces", json={"name": "a"}, headers=key)).json()["id"]
    assert mine != theirs


# Random: what repeats itself would be stored packed.
@pytest.mark.parametrize("source", ["%00", "%F0", Random(1).randbytes(4000).hex()], ids=["NUL", "half a character", "too long"])
async def test_key_with_an_address_that_can_not_be_stored_is_the_callers_error(person: Any, source: str) -> None:
    path = f"/api/v1/workspaces/{person.workspace}/sources/{source}/run"
    assert (await person.http.post(path, headers={"Idempotency-Key": "any"})).status_code == 422


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_key_of_a_wrong_length_is_refused(person: Any, key: str) -> None:
    answer = await person.http.post("/api/v1/workspaces", json={"name": "a"}, headers={"Idempotency-Key": key})
    assert answer.status_code == 422


# Workspaces ------------------------------------------------------------------------------------------------------


async def test_workspace_is_changed_by_its_owner_only(gateway: Any, person: Any) -> None:
    from docutalk_common.db import Cause
    from docutalk_gateway.adapters import repository
    from docutalk_gateway.domain import Role

    path = f"/api/v1/workspaces/{person.workspace}"
    changed = (await person.http.patch(path, json={"name": "Reports", "description": "All of them"})).json()
    assert (changed["name"], changed["description"], changed["system_prompt"]) == ("Reports", "All of them", None)
    assert (await person.http.patch(path, json={"description": None})).json()["description"] is None
    assert (await person.http.patch(path, json={"name": None})).status_code == 422
    assert (await person.http.get(path)).json()["name"] == "Reports"

    editor = await gateway.person()
    async with gateway.db.transaction(Cause.new()) as tx:
        await repository.add_member(tx.session, person.workspace, editor.id, Role.EDITOR)
    assert (await editor.http.patch(path, json={"name": "Mine"})).status_code == 403
    members = (await editor.http.get(f"{path}/members")).json()
    assert [(m["email"], m["role"]) for m in members["items"]] == [(person.email, "owner"), (editor.email, "editor")]


# Dead letters ----------------------------------------------------------------------------------------------------


async def test_dead_letters_are_listed_newest_first_for_administrators_only(stack: Any, gateway: Any, person: Any) -> None:
    from datetime import UTC, datetime

    nc = await nats.connect(**stack.nats_operator)
    js = nc.jetstream()
    await js.purge_stream(DEAD_LETTERS)
    sequences = []
    for number in range(5):
        letter = DeadLetter(
            service="ingest",
            durable="ingest-document-extract",
            stream="WORK",
            subject="work.x",
            message_id=None,
            workspace_id=UUID(int=1),
            document_id=None,
            code="broken",
            reason=f"reason {number}",
            attempts=1,
            failed_at=datetime.now(UTC),
            payload="e30=",
        )
        ack = await js.publish("dlq.ingest.ingest-document-extract.x.y", letter.model_dump_json().encode(), stream=DEAD_LETTERS)
        sequences.append(ack.seq)
    await js.delete_msg(DEAD_LETTERS, sequences[3])
    await nc.close()

    admin = await gateway.sign_in(gateway.settings.admin_email, gateway.settings.admin_password.get_secret_value())
    path = "/api/v1/admin/dead-letters"
    listing = (await admin.http.get(path)).json()
    assert listing["total"] == 4
    assert [item["reason"] for item in listing["items"]] == ["reason 4", "reason 2", "reason 1", "reason 0"]
    second = (await admin.http.get(path, params={"page": 2, "per_page": 3})).json()
    assert [item["reason"] for item in second["items"]] == ["reason 0"]
    middle = (await admin.http.get(path, params={"page": 2, "per_page": 2})).json()
    assert [item["reason"] for item in middle["items"]] == ["reason 1", "reason 0"]
    one = (await admin.http.get(f"{path}/{sequences[1]}")).json()
    assert (one["reason"], one["payload"], one["sequence"]) == ("reason 1", "e30=", sequences[1])
    for missing in (sequences[3], sequences[4] + 1):
        assert (await admin.http.get(f"{path}/{missing}")).status_code == 404
    assert (await person.http.get(path)).status_code == 403
    assert (await person.http.get(f"{path}/1")).status_code == 403
