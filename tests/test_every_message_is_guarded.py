"""Nothing reaches a service's code but through the middleware.

A subscriber beside it would lose messages on the first exception (nobody would send them again), handle repetitions
twice and burn its attempts while PostgreSQL is down; and nothing would tell. So services may not subscribe themselves.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from docutalk_common.messaging.streams import DURABLES, REQUESTS, SERVICES

ROOT = Path(__file__).parents[1]

# What makes, or is, a subscription of JetStream or an unguarded connection. `subscribe` itself is looked at below.
FORBIDDEN = {
    "subscriber",
    "pull_subscribe",
    "pull_subscribe_bind",
    "subscribe_bind",
    "add_consumer",
    "add_stream",
    "update_stream",
    "delete_stream",
    "delete_consumer",
    "NatsBroker",
    "fetch_one",
}


def calls(service: str) -> Iterator[tuple[Path, ast.Call, str]]:
    """Every call in a service's own code, with the last part of the name that is called."""
    for path in sorted((ROOT / "services" / service / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                yield path, node, name


def literal(node: ast.expr) -> str | None:
    """The text of a string, or the beginning of an f-string."""
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@pytest.mark.parametrize("service", SERVICES)
def test_service_makes_no_subscription_of_its_own(service: str) -> None:
    found = [f"{path.relative_to(ROOT)}:{node.lineno} calls {name}" for path, node, name in calls(service) if name in FORBIDDEN]
    assert found == []


@pytest.mark.parametrize("service", SERVICES)
def test_service_listens_directly_only_to_live_feeds_of_the_gateway(service: str) -> None:
    """Live feeds carry nothing that may not be missed: a client that was away reads the stream by sequence."""
    for path, node, name in calls(service):
        if name == "subscribe" and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            called_on = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if called_on in {"nc", "js", "connection", "client", "_nc", "_js"}:
                subject = literal(node.args[0]) if node.args else None
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                assert service == "gateway", f"{where} subscribes past the middleware"
                assert subject is not None, f"{where} subscribes to a subject that cannot be read here"
                assert subject.startswith("live."), f"{where} subscribes to {subject}"


@pytest.mark.parametrize("service", SERVICES)
def test_service_takes_each_of_its_durables_and_answers_each_of_its_requests_once(service: str) -> None:
    taken = Counter(literal(node.args[0]) for _, node, name in calls(service) if name == "consume" and node.args)
    assert taken == Counter(entry.name for entry in DURABLES if entry.service == service)
    answered = Counter(literal(node.args[0]) for _, node, name in calls(service) if name == "answer" and len(node.args) == 2)
    answered = Counter({subject: count for subject, count in answered.items() if subject})
    assert answered == Counter(request.subject for request in REQUESTS if request.service == service)
