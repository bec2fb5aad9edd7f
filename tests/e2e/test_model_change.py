"""A whole change of model over HTTP, there and back, while searches and uploads go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from docutalk_common.process import wait_until
from docutalk_common.testing.embeddings_server import DIMENSION, MODEL, EmbeddingsServer
from docutalk_local.testing.system import Person, System

NOTES = [(f"note-{n}.txt", f"Note {n}: pump {n} of the harbour was replaced in {1990 + n}.".encode()) for n in range(6)]
QUESTION = "pump 3 of the harbour"


@pytest.fixture(scope="module")
async def person(shared_system: System) -> Person:
    """Somebody with a few notes."""
    person = await shared_system.register("changing@example.com")
    accepted = await person.upload(NOTES)
    await person.until_final([document["id"] for document in accepted], seconds=60)
    return person


class Models:
    """What an administrator does with models."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def call(self, method: str, path: str, status: int, **body: Any) -> Any:
        """One call, which must end with this status."""
        answer = await self._http.request(method, f"/api/v1/admin/{path}", json=body or None)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def serving(self) -> str:
        """The model that searches use."""
        [serving] = [model["name"] for model in (await self.call("GET", "models", 200))["items"] if model["is_serving"]]
        return str(serving)

    async def until_complete(self, change: dict[str, Any]) -> None:
        """Waits until every passage has a vector of both."""

        async def complete() -> bool:
            [now] = [item for item in (await self.call("GET", "model-changes", 200))["items"] if item["id"] == change["id"]]
            return bool(now["state"] == "complete")

        await wait_until(complete, seconds=60, what=f"the change to {change['to_model']} is complete", every=0.2)

    async def step(self, change: dict[str, Any], step: str) -> str:
        """The state after a step."""
        return str((await self.call("POST", f"model-changes/{change['id']}/{step}", 200))["state"])


@pytest.fixture
async def models(shared_system: System) -> AsyncIterator[Models]:
    """The administrator's hands. In the end the model must serve that did so before: others share the system."""
    hands = Models(shared_system.admin.http)
    first = await hands.serving()
    yield hands
    assert await hands.serving() == first


async def answered_by(person: Person) -> str:
    """The model that a search uses, after a look at what it finds."""
    found = await person.call("POST", "/search", json={"query": QUESTION, "mode": "semantic", "limit": 3})
    assert "note-3.txt" in [result["filename"] for result in found["results"]]
    return str(found["model"])


async def test_model_is_changed_compared_switched_rolled_back_and_finished(
    person: Person, models: Models, embeddings: EmbeddingsServer
) -> None:
    first = await models.serving()
    wrong = {"name": "hashed", "provider": "openai", "provider_model": MODEL, "dimension": DIMENSION + 1}
    refused = await models.call("POST", "models", 422, **wrong)
    assert str(DIMENSION) in refused["detail"]
    added = await models.call("POST", "models", 201, **wrong | {"dimension": DIMENSION})
    assert (added["is_serving"], added["passages"]) == (False, 0)

    change = await models.call("POST", "model-changes", 201, to_model="hashed")
    assert (change["from_model"], change["state"]) == (first, "running")
    await models.call("POST", "model-changes", 409, to_model="hashed")
    await models.until_complete(change)
    assert await answered_by(person) == first
    comparison = await person.call("POST", "/search/compare", json={"queries": [QUESTION], "limit": 3})
    assert (comparison["from_model"], comparison["to_model"], comparison["coverage"]) == (first, "hashed", 1.0)
    [compared] = comparison["queries"]
    assert compared["after"][0]["filename"] == "note-3.txt"

    assert await models.step(change, "switch") == "switched"
    assert await answered_by(person) == "hashed"
    [late] = await person.upload([("late.txt", b"Pump 77 came late, while the model was being changed.")])
    await person.until_final([late["id"]], seconds=60)
    assert (await person.search("pump 77", mode="semantic", limit=1))[0]["filename"] == "late.txt"
    assert await models.step(change, "roll-back") == "complete"
    assert await answered_by(person) == first
    assert (await person.search("Which pump came late?", mode="semantic", limit=1))[0]["filename"] == "late.txt"

    assert await models.step(change, "switch") == "switched"
    assert await models.step(change, "finish") == "finished"
    assert await answered_by(person) == "hashed"
    await models.call("DELETE", "models/hashed", 409)

    back = await models.call("POST", "model-changes", 201, to_model=first)
    await models.until_complete(back)
    assert await models.step(back, "switch") == "switched"
    assert await models.step(back, "finish") == "finished"
    assert await answered_by(person) == first
    await models.call("DELETE", "models/hashed", 204)
    asked = {text for request in embeddings.requests for text in request.texts}
    assert any("Pump 77" in text for text in asked), "new passages get their vectors from the new model"
