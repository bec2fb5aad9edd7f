"""Models and their change over HTTP: for administrators, with the reason when something cannot be done."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from docutalk_common.contracts.embed import ChangeStep, RegisterModel

MODELS = "/api/v1/admin/models"
CHANGES = "/api/v1/admin/model-changes"


@pytest.fixture(scope="module")
async def admin(gateway: Any) -> Any:
    """The administrator, signed in."""
    return await gateway.sign_in(gateway.settings.admin_email, gateway.settings.admin_password.get_secret_value())


async def test_model_is_added_listed_and_removed(embed_service: Any, admin: Any) -> None:
    body = {"name": "org/better", "dimension": 8, "query_prefix": "query: "}
    added = await admin.http.post(MODELS, json=body)
    assert added.status_code == 201, added.text
    model = added.json()
    assert (model["name"], model["dimension"], model["query_prefix"]) == ("org/better", 8, "query: ")
    assert (model["is_serving"], model["passages"], model["distance"]) == (False, 0, "cosine")
    assert embed_service.asked == [RegisterModel(name="org/better", dimension=8, query_prefix="query: ")]
    listed = (await admin.http.get(MODELS)).json()
    assert listed["items"] == [model]
    [offer] = listed["offers"]
    assert (offer["name"], offer["is_ready"], offer["reason"]) == ("better", False, "No endpoint.")
    assert (await admin.http.delete(f"{MODELS}/org/better")).status_code == 204
    missing = await admin.http.delete(f"{MODELS}/org/better")
    assert (missing.status_code, missing.json()["detail"]) == (404, "There is no model org/better.")
    assert (await admin.http.delete(f"{MODELS}/a%00b")).status_code == 422


@pytest.mark.parametrize(("code", "status"), [("invalid", 422), ("conflict", 409), ("unavailable", 503)])
async def test_model_that_cannot_be_added_is_refused_with_the_reason(
    embed_service: Any, admin: Any, code: str, status: int
) -> None:
    embed_service.error = (code, "The endpoint answers with 4 dimensions, not 8.")
    answer = await admin.http.post(MODELS, json={"name": "better"})
    assert answer.status_code == status
    assert answer.json()["detail"] == "The endpoint answers with 4 dimensions, not 8."


@pytest.mark.parametrize(
    "wrong", [{"name": " "}, {"provider": "magic"}, {"dimension": 0}, {"max_tokens": 0}, {"distance": "l2"}, {"size": 3}]
)
async def test_model_that_makes_no_sense_is_refused(admin: Any, wrong: dict[str, Any]) -> None:
    assert (await admin.http.post(MODELS, json={"name": "better"} | wrong)).status_code == 422


async def test_change_is_started_once_for_each_key_listed_and_stepped(embed_service: Any, admin: Any) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    started = [await admin.http.post(CHANGES, json={"to_model": "better"}, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in started] == [201, 201]
    assert len(embed_service.changes) == 1
    change = started[0].json()
    assert started[1].json() == change
    assert (change["state"], change["passages_done"], change["passages_total"]) == ("running", 1, 4)
    assert change["started_by"] == str(admin.id)
    assert (await admin.http.get(CHANGES)).json() == {"items": [change]}

    paused = await admin.http.post(f"{CHANGES}/{change['id']}/pause")
    assert (paused.status_code, paused.json()["state"]) == (200, "paused")
    asked = embed_service.asked[-1]
    assert (str(asked.change_id), asked.step, asked.asked_by) == (change["id"], ChangeStep.PAUSE, admin.id)
    refused = await admin.http.post(f"{CHANGES}/{change['id']}/switch")
    assert (refused.status_code, refused.json()["detail"]) == (409, "3 passages have no vector of better yet.")


async def test_step_that_there_is_not_is_refused(embed_service: Any, admin: Any) -> None:
    assert (await admin.http.post(f"{CHANGES}/{uuid4()}/hurry")).status_code == 422
    assert (await admin.http.post(f"{CHANGES}/none/pause")).status_code == 422
    assert embed_service.asked == []


async def test_models_are_for_administrators_only(embed_service: Any, person: Any) -> None:
    for method, path in (
        ("GET", MODELS),
        ("POST", MODELS),
        ("DELETE", f"{MODELS}/better"),
        ("GET", CHANGES),
        ("POST", CHANGES),
        ("POST", f"{CHANGES}/{uuid4()}/pause"),
    ):
        body = {"name": "better"} if path == MODELS else {"to_model": "better"}
        answer = await person.http.request(method, path, json=body if method == "POST" else None)
        assert answer.status_code == 403, (method, path)
    assert embed_service.asked == []
