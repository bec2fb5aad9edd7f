"""How a workspace wants its questions answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from docutalk_common.contracts.chat import ChangeChatSettings, ChatModels, ChatSettings, GetChatSettings, ListChatModels
from docutalk_common.errors import RequestFailed
from docutalk_common.testing.conformance import Wire
from docutalk_common.testing.llm_server import Reply, ScriptedModel
from docutalk_local.testing import TestStack

from .world import Documents, Person, answering, running_chat

HARVEST = "The harvest of 2021 was 412 tonnes of apples."


async def change(person: Person, **changes: Any) -> ChatSettings:
    """Sets what is given."""
    fields = {"changes": list(changes), **changes}
    changed: ChatSettings = await person.request("rpc.chat.v1.settings.change", ChangeChatSettings, ChatSettings, **fields)
    return changed


async def test_workspace_chooses_model_temperature_and_passages_and_others_do_not_notice(
    stack: TestStack, wire: Wire, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    for number in range(6):
        documents.add(f"{HARVEST} {number}", page=number + 1)
    model.models = ["tiny", "large"]
    neighbour = Person(wire)
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        changed = await change(person, model="large", temperature=0.3, passages=2)
        _, frames = await person.ask(await person.open_session(), "How was the harvest of apples?")
        await neighbour.ask(await neighbour.open_session(), "How was the harvest of apples?")
        found = await person.request("rpc.chat.v1.settings.get", GetChatSettings, ChatSettings)
        back = await change(person, temperature=None)
    assert changed == found == ChatSettings(model="large", temperature=0.3, passages=2)
    assert back == ChatSettings(model="large", temperature=None, passages=2)
    first, second = answering(model)
    assert (first.body["model"], first.body["temperature"]) == ("large", 0.3)
    assert (second.body["model"], second.body.get("temperature")) == ("tiny", None)
    assert [request.messages[-1]["content"].count("</source-") for request in (first, second)] == [2, 6]
    assert frames[-1].answer is not None
    assert frames[-1].answer.model == "large"


async def test_more_passages_than_usual_are_searched_for(stack: TestStack, documents: Documents, person: Person) -> None:
    documents.add(HARVEST)
    async with running_chat(stack):
        await change(person, passages=40)
        await person.ask(await person.open_session(), "How was the harvest of apples in 2021?")
    assert documents.searches[-1].limit == 40


async def test_workspace_can_do_without_the_model(
    stack: TestStack, documents: Documents, person: Person, model: ScriptedModel
) -> None:
    documents.add(HARVEST)
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        await change(person, model="extractive")
        _, frames = await person.ask(await person.open_session(), "How many tonnes of apples was the harvest?")
    assert frames[-1].answer is not None
    assert frames[-1].answer.response == f"{HARVEST} [1]"
    assert frames[-1].answer.model == "extractive"
    assert model.requests == [] or not answering(model)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": "unknown"}, "There is no model 'unknown' here. There are: tiny, extractive"),
        ({"temperature": 3.0}, "temperature is within 0 and 2"),
        ({"passages": 0}, "passages is within 1 and 50"),
        ({"passages": 51}, "passages is within 1 and 50"),
    ],
)
async def test_settings_that_cannot_work_are_refused(
    stack: TestStack, wire: Wire, person: Person, model: ScriptedModel, changes: dict[str, Any], told: str
) -> None:
    model.models = ["tiny"]
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        with pytest.raises(RequestFailed, match=told) as raised:
            await change(person, **changes)
        assert await person.request("rpc.chat.v1.settings.get", GetChatSettings, ChatSettings) == ChatSettings()
    assert raised.value.code == "invalid"


async def test_models_are_those_of_the_provider_and_the_one_that_needs_none(
    stack: TestStack, wire: Wire, person: Person, model: ScriptedModel
) -> None:
    model.models = ["tiny", "large"]

    async def models(**settings: Any) -> ChatModels:
        async with running_chat(stack, **settings):
            found: ChatModels = await person.request("rpc.chat.v1.model.list", ListChatModels, ChatModels)
            return found

    listed = await models(llm_base_url=model.base_url, llm_model="large")
    assert listed == ChatModels(provider="openai", default="large", items=["large", "tiny", "extractive"])
    assert await models() == ChatModels(provider="none", default="extractive", items=["extractive"])


async def test_workspace_can_leave_a_provider_that_hangs(stack: TestStack, wire: Wire, person: Person) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with running_chat(stack, llm_base_url=address, llm_model="tiny"):
            changed = await change(person, model="extractive")
    assert changed.model == "extractive"


async def test_ollama_that_runs_here_answers_without_being_configured(
    stack: TestStack, documents: Documents, person: Person
) -> None:
    documents.add(HARVEST)
    async with ScriptedModel(ollama=True, models=["llama-small"]) as ollama:
        ollama.default = Reply.text("It was 412 tonnes of apples [1].")
        host = ollama.base_url.removesuffix("/v1")
        for _ in range(3):  # whether it runs is given half a second
            async with running_chat(stack, OLLAMA_HOST=host):
                _, frames = await person.ask(await person.open_session(), "How was the harvest?")
            if frames[-1].answer is not None and frames[-1].answer.model != "extractive":
                break
        async with running_chat(stack, OLLAMA_HOST=host, llm_provider="none"):
            _, without = await person.ask(await person.open_session(), "How many tonnes of apples was the harvest?")
    assert frames[-1].answer is not None
    assert (frames[-1].answer.model, frames[-1].answer.supported) == ("llama-small", True)
    assert without[-1].answer is not None
    assert without[-1].answer.model == "extractive"
