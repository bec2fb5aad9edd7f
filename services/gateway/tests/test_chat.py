"""Chat: as JSON, as a stream, again after a lost connection, and when something is away."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from docutalk_common.contracts.chat import AnswerState, Frame, FrameKind

SSE = {"Accept": "text/event-stream"}


def url(person: Any) -> str:
    """Where to ask."""
    return f"/api/v1/workspaces/{person.workspace}/chat"


async def test_answer_comes_as_json_with_its_citations(chat_service: Any, person: Any) -> None:
    body = {"message": " Is it so? ", "selected_text": "so", "document_ids": [str(uuid4())]}
    answer = await person.http.post(url(person), json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    [posted] = chat_service.posted
    assert found == {
        "response": "It is so [1].",
        "session_id": str(posted.session_id),
        "message_id": str(posted.answer_id),
        "timestamp": found["timestamp"],
        "supported": True,
        "citations": [
            {
                "marker": 1,
                "document_id": str(UUID(int=7)),
                "version": 1,
                "filename": "a.pdf",
                "page": 3,
                "start": 5,
                "end": 9,
                "quote": "true",
                "source_deleted_at": None,
                "source_changed_at": None,
            }
        ],
        "model": "",
        "usage": None,
        "markers_removed": 0,
        "stopped": False,
        "truncated": False,
    }
    assert (posted.text, posted.selected_text) == ("Is it so?", "so")
    assert [str(i) for i in posted.filters.document_ids] == body["document_ids"]
    assert (posted.user_id, posted.workspace_id) == (person.id, person.workspace)


async def test_system_prompt_of_the_workspace_goes_with_the_message(chat_service: Any, person: Any) -> None:
    await person.http.patch(f"/api/v1/workspaces/{person.workspace}", json={"system_prompt": "Answer in rhyme."})
    await person.http.post(url(person), json={"message": "hi"})
    assert chat_service.posted[0].system_prompt == "Answer in rhyme."


async def test_answer_comes_as_a_stream_in_order(chat_service: Any, person: Any, read_events: Any) -> None:
    async with person.http.stream("POST", url(person), json={"message": "Is it so?"}, headers=SSE) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = [event async for event in read_events(response)]
    assert [event.event for event in events] == ["start", *["delta"] * 4, "citation", "done"]
    assert "".join(event.data["text"] for event in events if event.event == "delta") == "It is so [1]."
    [posted] = chat_service.posted
    assert events[0].data == {
        "answer_id": str(posted.answer_id),
        "message_id": str(posted.answer_id),
        "session_id": str(posted.session_id),
        "restarted": False,
    }
    assert events[-1].data["response"] == "It is so [1]."
    assert events[5].data["quote"] == "true"
    ids = [event.id for event in events]
    assert ids == sorted(ids)


async def cut_stream(person: Any, read_events: Any) -> list[Any]:
    """The first three events of an answer, before the connection is lost."""
    before: list[Any] = []
    async with person.http.stream("POST", url(person), json={"message": "Is it so?"}, headers=SSE) as response:
        async for event in read_events(response):
            before.append(event)
            if len(before) == 3:
                break
    return before


async def test_stream_goes_on_after_a_lost_connection(chat_service: Any, person: Any, read_events: Any) -> None:
    chat_service.hold = asyncio.Event()
    before = await cut_stream(person, read_events)
    chat_service.hold.set()
    again = f"{url(person)}/answers/{before[0].data['answer_id']}/stream"
    async with person.http.stream("GET", again, headers={"Last-Event-ID": str(before[-1].id)}) as response:
        after = [event async for event in read_events(response)]
    assert [event.event for event in before + after] == ["start", *["delta"] * 4, "citation", "done"]
    assert len({event.id for event in before + after}) == 7


async def test_post_repeated_with_its_key_follows_the_first_answer(
    gateway: Any, chat_service: Any, person: Any, read_events: Any
) -> None:
    headers = {**SSE, "Idempotency-Key": "question-1"}
    for _ in range(2):
        async with person.http.stream("POST", url(person), json={"message": "Is it so?"}, headers=headers) as response:
            events = [event async for event in read_events(response)]
        assert events[-1].event == "done"
    assert len(chat_service.posted) == 1
    other = await person.http.post(url(person), json={"message": "Something else?"}, headers=headers)
    assert other.status_code == 422
    assert other.json()["type"] == "urn:docutalk:problem:idempotency_key_reused"
    stranger = await gateway.person()
    assert (
        await stranger.http.post(url(stranger), json={"message": "Is it so?"}, headers={"Idempotency-Key": "question-1"})
    ).is_success
    assert len(chat_service.posted) == 2, "a key belongs to one person"


async def test_answer_whose_frames_are_gone_comes_from_chat(chat_service: Any, person: Any, read_events: Any) -> None:
    chat_service.silent = True
    async with person.http.stream("POST", url(person), json={"message": "Is it so?"}, headers=SSE) as response:
        events = [event async for event in read_events(response)]
    assert [event.event for event in events] == ["done"]
    assert events[0].id is None
    assert events[0].data["response"] == "It is so [1]."


async def test_frame_that_the_live_side_lost_is_read_from_the_stream(chat_service: Any, person: Any, read_events: Any) -> None:
    """An answer that begins again, as after a restart of chat: the reader sees the second beginning."""
    chat_service.silent = True
    chat_service.hold = asyncio.Event()
    asking = asyncio.create_task(person.http.post(url(person), json={"message": "Is it so?"}))
    message = await chat_service.first_question()
    kinds = [FrameKind.START, FrameKind.DELTA, FrameKind.START, FrameKind.DELTA]
    for index, kind in enumerate(kinds):
        await chat_service.send(message, Frame(answer_id=message.answer_id, index=index, kind=kind, text="x"))
    stream = f"{url(person)}/answers/{message.answer_id}/stream"
    async with person.http.stream("GET", stream) as response:
        events = read_events(response)
        seen = [(await anext(events)).event for _ in kinds]
    assert seen == ["start", "delta", "start", "delta"]
    chat_service.hold.set()
    assert (await asking).json()["response"] == "It is so [1]."


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("search_unavailable", 503),
        ("pages_unavailable", 503),
        ("model_unavailable", 503),
        ("model_rate_limited", 503),
        ("model_timeout", 504),
        ("model_interrupted", 502),
        ("model_unauthorized", 502),
        ("model_rejected", 502),
        ("model_context_exceeded", 502),
        ("session_not_found", 404),
    ],
)
async def test_answer_that_cannot_be_made_is_a_problem_and_an_error_event(
    chat_service: Any, person: Any, read_events: Any, code: str, status: int
) -> None:
    chat_service.error = (code, "The search is not running.")
    started = time.perf_counter()
    answer = await person.http.post(url(person), json={"message": "Is it so?"})
    assert time.perf_counter() - started < 20, "it was not waited for"
    assert answer.status_code == status
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert answer.json()["type"] == f"urn:docutalk:problem:{code}"
    assert answer.json()["detail"] == "The search is not running."
    async with person.http.stream("POST", url(person), json={"message": "Is it so?"}, headers=SSE) as response:
        events = [event async for event in read_events(response)]
    assert [event.event for event in events] == ["start", "error"]
    assert events[-1].data == {"code": code, "reason": "The search is not running.", "status": status}


async def test_failure_that_only_chat_knows_of_ends_the_wait(chat_service: Any, person: Any) -> None:
    chat_service.silent = True
    chat_service.hold = asyncio.Event()
    asking = asyncio.create_task(person.http.post(url(person), json={"message": "Is it so?"}))
    answer_id = (await chat_service.first_question()).answer_id
    chat_service.answers[answer_id] = AnswerState(code="model_unavailable", reason="No model.")
    assert (await asking).status_code == 503
    chat_service.hold.set()


async def test_chat_that_is_down_is_said_at_once(person: Any) -> None:
    for headers in ({}, SSE):
        answer = await person.http.post(url(person), json={"message": "Is it so?"}, headers=headers)
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert "is not running" in answer.json()["detail"]


async def test_answer_without_any_news_ends_with_a_timeout(gateway_with: Any, chat_service: Any) -> None:
    chat_service.silent = True
    chat_service.hold = asyncio.Event()
    async with gateway_with(answer_timeout_seconds=1.0) as gateway:
        person = await gateway.person()
        answer = await person.http.post(url(person), json={"message": "Is it so?"})
        await chat_service.first_question()
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:docutalk:problem:timeout"
    chat_service.hold.set()


async def test_client_that_leaves_harms_nobody(chat_service: Any, person: Any, read_events: Any) -> None:
    chat_service.hold = asyncio.Event()
    for _ in range(3):
        async with person.http.stream("POST", url(person), json={"message": "Is it so?"}, headers=SSE) as response:
            await anext(read_events(response))
    chat_service.hold.set()
    chat_service.hold = None
    assert (await person.http.post(url(person), json={"message": "Is it so?"})).status_code == 200


@pytest.mark.parametrize("body", [{}, {"message": "  "}, {"message": "a", "session_id": "x"}, {"message": "a", "stream": True}])
async def test_message_that_is_not_valid_is_refused(person: Any, body: dict[str, Any]) -> None:
    assert (await person.http.post(url(person), json=body)).status_code == 422


async def test_sessions_belong_to_one_person(gateway: Any, chat_service: Any, person: Any) -> None:
    from docutalk_common.db import Cause
    from docutalk_gateway.adapters import repository
    from docutalk_gateway.domain import Role

    colleague = await gateway.person()
    async with gateway.db.transaction(Cause.new()) as tx:
        await repository.add_member(tx.session, person.workspace, colleague.id, Role.EDITOR)
    session = (await person.http.post(url(person), json={"message": "Mine"})).json()["session_id"]
    answer_id = chat_service.posted[0].answer_id
    mine = (await person.http.get(f"{url(person)}/sessions")).json()
    assert [item["id"] for item in mine["items"]] == [session]
    messages = (await person.http.get(f"{url(person)}/sessions/{session}/messages")).json()
    assert [item["text"] for item in messages["items"]] == ["Mine"]

    assert (await colleague.http.get(f"{url(person)}/sessions")).json()["items"] == []
    for method, path in [
        ("GET", f"/sessions/{session}/messages"),
        ("DELETE", f"/sessions/{session}"),
        ("GET", f"/answers/{answer_id}/stream"),
    ]:
        assert (await colleague.http.request(method, url(person) + path)).status_code == 404
    assert (await colleague.http.post(url(person), json={"message": "x", "session_id": session})).status_code == 404

    assert (await person.http.post(url(person), json={"message": "More", "session_id": session})).json()["session_id"] == session
    assert (await person.http.delete(f"{url(person)}/sessions/{session}")).status_code == 204
    assert (await person.http.get(f"{url(person)}/sessions/{session}/messages")).status_code == 404


async def answered(person: Any, text: str = "Is it so?") -> dict[str, Any]:
    """A whole answer."""
    answer = await person.http.post(url(person), json={"message": text})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def message_url(person: Any, answer: dict[str, Any], action: str) -> str:
    """Where something is done with an answer."""
    return f"{url(person)}/sessions/{answer['session_id']}/messages/{answer['message_id']}/{action}"


async def test_filters_and_documents_narrow_what_is_asked(chat_service: Any, person: Any) -> None:
    one, two = str(uuid4()), str(uuid4())
    filters = {"document_ids": [one, two], "languages": ["EN"], "created_from": "2026-01-01T00:00:00+01:00"}
    await person.http.post(url(person), json={"message": "Is it so?", "document_ids": [one], "filters": filters})
    [posted] = chat_service.posted
    assert posted.filters.document_ids == [UUID(one)]
    assert posted.filters.languages == ["en"]
    assert posted.filters.created_from.isoformat() == "2025-12-31T23:00:00+00:00"
    apart = {"message": "Is it so?", "document_ids": [one], "filters": {"document_ids": [two]}}
    assert (await person.http.post(url(person), json=apart)).status_code == 422


async def test_topic_that_is_not_there_is_refused_and_not_ignored(chat_service: Any, person: Any) -> None:
    answer = await person.http.post(url(person), json={"message": "Is it so?", "topic": "Finance"})
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:docutalk:problem:unknown_topic"
    assert "'Finance'" in answer.json()["detail"]
    assert chat_service.posted == []


async def test_answer_is_made_again_for_the_same_question(chat_service: Any, person: Any, read_events: Any) -> None:
    first = await answered(person)
    path = message_url(person, first, "regenerate")
    again = await person.http.post(path)
    assert again.status_code == 200
    async with person.http.stream("POST", path, headers=SSE) as response:
        events = [event async for event in read_events(response)]
    assert events[-1].event == "done"
    messages = [posted.message_id for posted in chat_service.posted]
    assert len(messages) == 3
    assert len(set(messages)) == 1
    assert len({posted.answer_id for posted in chat_service.posted}) == 3
    assert {posted.text for posted in chat_service.posted} == {"Is it so?"}
    assert (await person.http.post(message_url(person, {**first, "message_id": uuid4()}, "regenerate"))).status_code == 404


async def test_repeated_key_makes_no_third_answer(chat_service: Any, person: Any) -> None:
    first = await answered(person)
    answers = [
        await person.http.post(message_url(person, first, "regenerate"), headers={"Idempotency-Key": "again"}) for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert len(chat_service.posted) == 2


async def test_answer_is_stopped_and_rated_by_who_asked_only(gateway: Any, chat_service: Any, person: Any) -> None:
    answer = await answered(person)
    assert (await person.http.post(message_url(person, answer, "stop"))).status_code == 202
    assert chat_service.stopped == [UUID(answer["message_id"])]
    given = await person.http.post(message_url(person, answer, "feedback"), json={"rating": -1, "comment": " Wrong year "})
    assert given.json() == {"message_id": answer["message_id"], "rating": -1, "comment": "Wrong year"}
    for body in ({"rating": 0}, {"rating": 2}, {}, {"rating": 1, "comment": "x" * 5000}):
        assert (await person.http.post(message_url(person, answer, "feedback"), json=body)).status_code == 422
    stranger = await gateway.person()
    elsewhere = message_url(person, {**answer, "session_id": uuid4()}, "stop")
    assert (await person.http.post(elsewhere)).status_code == 404
    for action in ("stop", "feedback", "regenerate"):
        refused = await stranger.http.post(message_url(person, answer, action), json={"rating": 1})
        assert refused.status_code == 404
    assert len(chat_service.stopped) == 1


async def test_questions_beyond_the_limit_are_refused_until_the_minute_is_over(gateway_with: Any, chat_service: Any) -> None:
    async with gateway_with(chat_messages_per_minute=3) as gateway, gateway_with(chat_messages_per_minute=3) as other:
        person, neighbour = await gateway.person(), await gateway.person()
        there = await other.sign_in(person.email)
        # Several gateways count together, and at the same moment.
        asked = [who.http.post(url(person), json={"message": "Is it so?"}) for who in (person, there) * 4]
        answers = await asyncio.gather(*asked)
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 5
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["type"] == "urn:docutalk:problem:too_many_messages"
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert (await neighbour.http.post(url(neighbour), json={"message": "Is it so?"})).status_code == 200
    assert len(chat_service.posted) == 4


async def test_client_is_told_that_an_answer_begins_again(chat_service: Any, person: Any, read_events: Any) -> None:
    chat_service.silent = True
    chat_service.hold = asyncio.Event()
    async with person.http.stream("POST", url(person), json={"message": "Is it so?"}, headers=SSE) as response:
        message = await chat_service.first_question()
        kinds = [FrameKind.START, FrameKind.DELTA, FrameKind.START]
        for index, kind in enumerate(kinds):
            await chat_service.send(message, Frame(answer_id=message.answer_id, index=index, kind=kind, text="x"))
        events = read_events(response)
        seen = [await anext(events) for _ in kinds]
    assert [event.data.get("restarted") for event in seen] == [False, None, True]
    assert seen[0].data["answer_id"] == seen[2].data["answer_id"]
    chat_service.hold.set()


async def test_who_waits_for_a_whole_answer_is_told_when_the_gateway_stops(gateway_with: Any, chat_service: Any) -> None:
    chat_service.hold = asyncio.Event()
    async with gateway_with() as gateway:
        person = await gateway.person()
        headers = dict(person.http.headers)
        client = httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=30, verify=False)
        asking = asyncio.create_task(client.post(url(person), json={"message": "Is it so?"}))
        await chat_service.first_question()
    answer = await asking
    await client.aclose()
    chat_service.hold.set()
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:docutalk:problem:unavailable"
    assert "restarted" in answer.json()["detail"]


async def test_answer_is_followed_at_another_gateway_when_the_first_one_stops(
    gateway_with: Any, chat_service: Any, read_events: Any
) -> None:
    chat_service.hold = asyncio.Event()
    async with gateway_with() as second:
        async with gateway_with() as first:
            person = await first.person()
            there = await second.sign_in(person.email)
            before = await cut_stream(person, read_events)
        chat_service.hold.set()
        path = f"{url(person)}/answers/{before[0].data['answer_id']}/stream"
        async with there.http.stream("GET", path, headers={"Last-Event-ID": str(before[-1].id)}) as response:
            after = [event async for event in read_events(response)]
    assert [event.event for event in before + after] == ["start", *["delta"] * 4, "citation", "done"]
