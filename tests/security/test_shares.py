"""What somebody sees who was given a link to a part of a workspace: that part, by every call there is, and nothing beside it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from docutalk_common.process import wait_until
from docutalk_common.testing.pdf import make_pdf
from docutalk_gateway.api.permissions import RULES, Who, targets_of
from docutalk_gateway.domain import SharePermission, ShareTarget
from docutalk_local.testing.api_calls import WORKSPACE, every_call, send
from docutalk_local.testing.system import Person, System

# The last sentence of each is the same: passages that say the same are shown once, with the places of the others.
SAME = "The guild of gardeners and pilots keeps its books in the old town hall."
TEXTS = {
    "orchard.pdf": f"The harvest of the orchard near Lisbon was 4711 silver pears, as Ottoline wrote.\n{SAME}",
    "harbour.pdf": f"The night watch of the harbour of Dublin counted blue salt, as Balthasar wrote.\n{SAME}",
    "lighthouse": f"The lighthouse at Hamburg has lamps of green glass, as Cordelia wrote.\n{SAME}",
}
# What no request of these tests says, and so no answer repeats unless it comes from the document.
SECRETS = {"orchard.pdf": "Ottoline", "harbour.pdf": "Balthasar", "lighthouse": "Cordelia"}
QUERIES = (
    "What did the night watch of the harbour count?",
    "harvest of silver pears from the orchard",
    "lamps of green glass",
    '"blue salt"',
    '"the guild of gardeners and pilots"',
    "guild of gardeners -nothing",
)
MODES = ("hybrid", "semantic", "keyword")


@dataclass
class Shared:
    """A workspace with two uploaded documents, one that a source brought, and a conversation about all of them."""

    owner: Person
    url: str
    documents: dict[str, str]
    source: str
    session: str
    clients: AsyncExitStack

    def hidden_from(self, *visible: str) -> list[str]:
        """What an answer to a visitor may not hold who was given `visible`."""
        others = [name for name in TEXTS if name not in visible]
        names = [name for name in others if name.endswith(".pdf")]
        return [*names, *(self.documents[name] for name in others), *(SECRETS[name] for name in others)]

    def ids(self, name: str) -> dict[str, str]:
        """What stands in a path about this document."""
        mine = {"workspace_id": self.owner.workspace, "document_id": self.documents[name], "source_id": self.source}
        return {**mine, "session_id": self.session}

    async def share(
        self, target: ShareTarget, permissions: frozenset[SharePermission] | None = None, **more: Any
    ) -> dict[str, Any]:
        """A link, with all permissions that its target can have unless some are named."""
        ids = {
            ShareTarget.DOCUMENT: self.documents["orchard.pdf"],
            ShareTarget.SOURCE: self.source,
            ShareTarget.SESSION: self.session,
        }
        wanted = {"kind": target.value, **({"id": ids[target]} if target in ids else {})}
        granted = permissions or frozenset(p for p in SharePermission if target in targets_of(p))
        body = {"target": wanted, "permissions": sorted(granted), **more}
        made: dict[str, Any] = await self.owner.call("POST", "/shares", json=body)
        return made

    async def open(self, made: dict[str, Any], **body: Any) -> httpx.Response:
        """Opens a link."""
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as nobody:
            return await nobody.post(f"/api/v1/shared/{made['token']}/open", json=body)

    async def visit(self, made: dict[str, Any]) -> Person:
        """Somebody who has opened the link."""
        opened = await self.open(made)
        assert opened.status_code == 200, opened.text
        headers = {"Authorization": f"Bearer {opened.json()['access_token']}"}
        http = await self.clients.enter_async_context(httpx.AsyncClient(base_url=self.url, timeout=60, headers=headers))
        return Person(http, opened.json()["workspace_id"])


@pytest.fixture(scope="module")
async def shared(shared_system: System) -> AsyncIterator[Shared]:
    owner = await shared_system.register("sharer@example.com")
    pdfs = [(name, make_pdf([text])) for name, text in TEXTS.items() if name.endswith(".pdf")]
    accepted = await owner.upload(pdfs)
    note = {"kind": "text", "name": "The coast", "config": {"title": "lighthouse", "text": TEXTS["lighthouse"]}}
    source = (await owner.call("POST", "/sources", json=note))["id"]
    brought: list[dict[str, Any]] = []

    async def collected() -> bool:
        brought[:] = (await owner.call("GET", f"/documents?source_id={source}"))["items"]
        return bool(brought)

    await wait_until(collected, seconds=60, what="the source has brought its document", every=0.1)
    ids = {name: document["id"] for (name, _), document in zip(pdfs, accepted, strict=True)} | {"lighthouse": brought[0]["id"]}
    documents = await owner.until_final(list(ids.values()), seconds=60)
    assert {document["status"] for document in documents.values()} == {"ready"}
    answer = await owner.ask(QUERIES[0])
    assert [citation["filename"] for citation in answer["citations"]] == ["harbour.pdf"]
    async with AsyncExitStack() as clients:
        yield Shared(owner, shared_system.stack.url, ids, source, answer["session_id"], clients)


# Not those that anybody may call: a visitor is nobody special there, and wrong passwords count for everybody at this address.
CALLS = [call for call in every_call() if RULES[call.name].who is not Who.ANYBODY]
PARTS = [(ShareTarget.DOCUMENT, "orchard.pdf"), (ShareTarget.SOURCE, "lighthouse")]


@pytest.mark.parametrize(("target", "name"), PARTS)
async def test_no_call_of_a_visitor_answers_with_another_document(shared: Shared, target: ShareTarget, name: str) -> None:
    visitor = await shared.visit(await shared.share(target))
    hidden = shared.hidden_from(name)
    # The ids of other documents are known to this visitor.
    for about in TEXTS:
        ids = shared.ids(about)
        sent = set(ids.values())
        for call in CALLS:
            if call.name == "delete_session":
                continue
            answer = await send(visitor.http, call, ids)
            found = [word for word in hidden if word in answer.text and word not in sent]
            assert not found, f"{call.name} about {about} tells {found}"
            if call.path.startswith(f"{WORKSPACE}/documents/{{document_id}}") and about != name:
                assert answer.status in {403, 404}, f"{call.name} about {about}: {answer}"


@pytest.mark.parametrize(("target", "name"), PARTS)
async def test_list_is_of_what_is_shared(shared: Shared, target: ShareTarget, name: str) -> None:
    visitor = await shared.visit(await shared.share(target))
    mine = shared.documents[name]
    other_source = "01890000-0000-7000-8000-000000000001"
    for query in (
        "",
        "?q=harbour",
        "?status=ready",
        "?content_type=application/pdf",
        f"?source_id={other_source}",
        "?per_page=1&page=2",
    ):
        found = await visitor.call("GET", f"/documents{query}")
        assert {item["id"] for item in found["items"]} <= {mine}, query
        assert found["total"] <= 1, query
    assert [item["id"] for item in (await visitor.call("GET", "/documents"))["items"]] == [mine]
    document = await visitor.document(mine)
    assert document["origin"] is None
    assert document["source_id"] == (shared.source if target is ShareTarget.SOURCE else None)
    assert (await visitor.page_text(mine, 1)).split() == TEXTS[name].split()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("target", "name"), PARTS)
async def test_search_finds_what_is_shared(shared: Shared, target: ShareTarget, name: str, mode: str) -> None:
    visitor = await shared.visit(await shared.share(target))
    mine, others = shared.documents[name], [shared.documents[other] for other in TEXTS if other != name]
    assert {r["document_id"] for r in await shared.owner.search(SAME, mode=mode, merge=False)} == set(shared.documents.values())
    for query in QUERIES:
        narrowed: list[dict[str, Any]] = [
            {},
            {"document_ids": others},
            {"document_ids": [mine, *others]},
            {"source_ids": [shared.source]},
        ]
        for filters in narrowed:
            for merge in (True, False):
                body = {"query": query, "mode": mode, "filters": filters, "merge": merge, "limit": 1}
                while True:
                    found = await visitor.call("POST", "/search", json=body)
                    told = {r["document_id"] for r in found["results"]}
                    told |= {same["document_id"] for r in found["results"] for same in r["duplicates"]}
                    assert told <= {mine}, (query, filters)
                    assert filters.get("document_ids") != others or not told
                    if found["next"] is None:
                        break
                    body["after"] = found["next"]
    assert [r["document_id"] for r in await visitor.search(SAME, mode=mode)] == [mine]


@pytest.mark.parametrize(("target", "name"), PARTS)
async def test_scores_do_not_tell_how_common_a_word_is_elsewhere(shared: Shared, target: ShareTarget, name: str) -> None:
    visitor = await shared.visit(await shared.share(target))

    async def scores(person: Person) -> list[object]:
        found = await person.search(SAME, mode="keyword", filters={"document_ids": [shared.documents[name]]})
        return [result["scores"] for result in found]

    seen, known = await scores(visitor), await scores(shared.owner)
    assert len(seen) == 1
    # Another document with the same words, while the visitor goes on looking.
    accepted = await shared.owner.upload([(f"{name} again.txt", f"{SAME} And again: {SAME}".encode())])
    await shared.owner.until_final([accepted[0]["id"]], seconds=60)
    assert await scores(shared.owner) != known
    assert await scores(visitor) == seen
    await shared.owner.call("DELETE", f"/documents/{accepted[0]['id']}")

    async def gone() -> bool:
        return await scores(shared.owner) == known

    await wait_until(gone, seconds=60, what="the index has forgotten the other document", every=0.1)


async def test_cursor_of_the_owners_search_shows_a_visitor_nothing_else(shared: Shared) -> None:
    visitor = await shared.visit(await shared.share(ShareTarget.DOCUMENT))
    body: dict[str, Any] = {"query": SAME, "limit": 1, "merge": False}
    first = await shared.owner.call("POST", "/search", json=body)
    assert first["next"] is not None
    answer = await visitor.http.post(f"/api/v1/workspaces/{visitor.workspace}/search", json={**body, "after": first["next"]})
    for word in shared.hidden_from("orchard.pdf"):
        assert word not in answer.text


@pytest.mark.parametrize(("target", "name"), PARTS)
async def test_answers_cite_what_is_shared(shared: Shared, target: ShareTarget, name: str) -> None:
    visitor = await shared.visit(await shared.share(target))
    hidden, others = shared.hidden_from(name), [shared.documents[other] for other in TEXTS if other != name]
    bodies: list[dict[str, Any]] = [{"message": query} for query in QUERIES]
    bodies += [{"message": QUERIES[0], "document_ids": others}, {"message": QUERIES[0], "filters": {"document_ids": others}}]
    bodies += [{"message": "Who?", "selected_text": "The night watch of the harbour of Dublin"}]
    for body in bodies:
        answer = await visitor.ask(**body)
        for told in (answer, await _streamed(visitor, body), await _again(visitor, answer)):
            text = json.dumps(told)
            assert not [word for word in hidden if word in text], (body, told)
    mine = await visitor.ask({"orchard.pdf": QUERIES[1], "lighthouse": QUERIES[2]}[name])
    assert {citation["document_id"] for citation in mine["citations"]} == {shared.documents[name]}
    for session in (await visitor.call("GET", "/chat/sessions?per_page=100"))["items"]:
        text = json.dumps(await visitor.call("GET", f"/chat/sessions/{session['id']}/messages"))
        assert not [word for word in hidden if word in text]


async def _streamed(visitor: Person, body: dict[str, Any]) -> list[str]:
    path, headers = f"/api/v1/workspaces/{visitor.workspace}/chat", {"Accept": "text/event-stream"}
    async with visitor.http.stream("POST", path, json=body, headers=headers) as response:
        assert response.status_code == 200
        lines = [line async for line in response.aiter_lines()]
    assert "event: done" in lines
    return lines


async def _again(visitor: Person, answer: dict[str, Any]) -> dict[str, Any]:
    path = f"/chat/sessions/{answer['session_id']}/messages/{answer['message_id']}/regenerate"
    again: dict[str, Any] = await visitor.call("POST", path)
    return again


async def test_places_of_other_documents_are_not_told(shared: Shared) -> None:
    places = await shared.owner.call("GET", "/places")
    assert {"Lisbon", "Dublin", "Hamburg"} <= {place["name"] for place in places["items"]}
    visitor = await shared.visit(await shared.share(ShareTarget.DOCUMENT))
    told = await visitor.call("GET", f"/documents/{shared.documents['orchard.pdf']}/places")
    assert [place["name"] for place in told["items"]] == ["Lisbon"]
    for path in ("/places", f"/documents/{shared.documents['orchard.pdf']}/similar"):
        assert (await visitor.http.get(f"/api/v1/workspaces/{visitor.workspace}{path}")).status_code == 403


async def test_link_to_a_workspace_shows_all_of_it_and_no_other_one(shared_system: System, shared: Shared) -> None:
    visitor = await shared.visit(await shared.share(ShareTarget.WORKSPACE))
    found = await visitor.call("GET", "/documents")
    assert {item["id"] for item in found["items"]} == set(shared.documents.values())
    assert {r["document_id"] for r in await visitor.search(SAME, merge=False)} == set(shared.documents.values())
    assert (await visitor.ask(QUERIES[0]))["citations"][0]["filename"] == "harbour.pdf"
    other = await shared_system.register("neighbour@example.com")
    for call in CALLS:
        if call.path.startswith(WORKSPACE):
            answer = await send(visitor.http, call, {**shared.ids("orchard.pdf"), "workspace_id": other.workspace})
            assert answer.status == 404, f"{call.name}: {answer}"
    # Of the owner they see neither the conversation nor who they are.
    for call in CALLS:
        if call.path.startswith(WORKSPACE) and call.method == "GET":
            answer = await send(visitor.http, call, shared.ids("orchard.pdf"))
            assert "sharer@example.com" not in answer.text, call.name
    assert shared.session not in {item["id"] for item in (await visitor.call("GET", "/chat/sessions"))["items"]}


async def test_link_to_a_conversation_shows_its_quotes_and_no_document(shared: Shared) -> None:
    visitor = await shared.visit(await shared.share(ShareTarget.SESSION))
    messages = await visitor.call("GET", f"/chat/sessions/{shared.session}/messages")
    answer = messages["items"][-1]
    assert "Balthasar" in answer["citations"][0]["quote"]
    for call in CALLS:
        answered = await send(visitor.http, call, shared.ids("harbour.pdf"))
        assert shared.documents["harbour.pdf"] not in answered.text.replace(call.place(shared.ids("harbour.pdf")), ""), call.name
        rule = RULES[call.name]
        if call.path.startswith(WORKSPACE) and (rule.shared is None or ShareTarget.SESSION not in rule.shared.targets):
            assert answered.status == 403, f"{call.name}: {answered}"
    # It is as it was: nothing was added or rated.
    assert (await visitor.call("GET", f"/chat/sessions/{shared.session}/messages"))["total"] == messages["total"]


@pytest.mark.parametrize("permission", list(SharePermission))
async def test_each_permission_opens_its_own_calls_only(shared: Shared, permission: SharePermission) -> None:
    for target in targets_of(permission):
        visitor = await shared.visit(await shared.share(target, frozenset({permission})))
        name = "lighthouse" if target is ShareTarget.SOURCE else "orchard.pdf"
        for call in CALLS:
            if not call.path.startswith(WORKSPACE):
                continue
            rule = RULES[call.name].shared
            answer = await send(visitor.http, call, shared.ids(name))
            if rule is None or rule.permission is not permission or target not in rule.targets:
                assert answer.status == 403, f"{permission} of {target}: {call.name}: {answer}"
            else:
                assert answer.status not in {401, 403}, f"{permission} of {target}: {call.name}: {answer}"


async def test_twenty_who_come_at_once_do_not_open_a_link_more_often_than_it_may(shared: Shared) -> None:
    made = await shared.share(ShareTarget.DOCUMENT, max_uses=7)
    opened = await asyncio.gather(*(shared.open(made) for _ in range(20)))
    assert Counter(answer.status_code for answer in opened) == {200: 7, 404: 13}


async def test_revoked_link_ends_at_once_and_its_log_tells_what_was_done(shared: Shared) -> None:
    made = await shared.share(ShareTarget.DOCUMENT, password="for you alone")
    assert (await shared.open(made)).status_code == (await shared.open(made, password="a wrong one")).status_code == 403
    opened = await shared.open(made, password="for you alone")
    headers = {"Authorization": f"Bearer {opened.json()['access_token']}"}
    async with httpx.AsyncClient(base_url=shared.url, timeout=60, headers=headers) as http:
        visitor = Person(http, opened.json()["workspace_id"])
        own, other = shared.documents["orchard.pdf"], shared.documents["harbour.pdf"]
        await visitor.page_text(own, 1)
        await visitor.search(QUERIES[0])
        await visitor.ask(QUERIES[0])
        assert (await http.get(f"/api/v1/workspaces/{visitor.workspace}/documents/{own}/content")).status_code == 200
        assert (await http.get(f"/api/v1/workspaces/{visitor.workspace}/documents/{other}")).status_code == 404
        await shared.owner.call("DELETE", f"/shares/{made['id']}")
        for call in CALLS:
            if call.path.startswith(WORKSPACE):
                assert (await send(http, call, shared.ids("orchard.pdf"))).status == 401, call.name
    assert (await shared.open(made, password="for you alone")).status_code == 404
    log = (await shared.owner.call("GET", f"/shares/{made['id']}/accesses"))["items"]
    assert [(entry["action"], entry["document_id"], entry["reason"]) for entry in reversed(log)] == [
        ("refused", None, "password"),
        ("opened", None, None),
        ("get_page", own, None),
        ("search", None, None),
        ("post_chat", None, None),
        ("get_content", own, None),
        ("get_one_document", other, "not_found"),
        ("refused", None, "revoked"),
    ]


async def test_link_to_what_was_deleted_leads_nowhere(shared: Shared) -> None:
    [accepted] = await shared.owner.upload([("short.txt", b"A note that will not stay.")])
    await shared.owner.until_final([accepted["id"]], seconds=60)
    body = {"target": {"kind": "document", "id": accepted["id"]}, "permissions": ["view", "search"]}
    made = await shared.owner.call("POST", "/shares", json=body)
    visitor = await shared.visit(made)
    await shared.owner.call("DELETE", f"/documents/{accepted['id']}")
    assert (await visitor.call("GET", "/documents"))["items"] == []
    assert await visitor.search("note that will not stay") == []
    async with httpx.AsyncClient(base_url=shared.url) as nobody:
        assert (await nobody.get(f"/api/v1/shared/{made['token']}")).status_code == 404
