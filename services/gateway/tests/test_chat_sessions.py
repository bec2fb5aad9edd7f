"""Conversations over HTTP: found, named, exported; and how a workspace's questions are answered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from docutalk_gateway.api.chat_markdown import as_markdown, source_line
from docutalk_gateway.api.chat_shapes import ChatMessage, ChatSession, Citation

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def url(person: Any) -> str:
    """Where this person's conversations are."""
    return f"/api/v1/workspaces/{person.workspace}/chat"


async def asked(person: Any, text: str = "Is it so?", session: str | None = None) -> str:
    """Asks, and returns the session."""
    answer = await person.http.post(url(person), json={"message": text, "session_id": session})
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["session_id"]
    return found


async def test_session_is_read_renamed_and_searched(chat_service: Any, person: Any) -> None:
    session = await asked(person)
    path = f"{url(person)}/sessions/{session}"
    renamed = await person.http.patch(path, json={"title": " Of truth "})
    assert renamed.json()["title"] == (await person.http.get(path)).json()["title"] == "Of truth"
    found = await person.http.get(f"{url(person)}/sessions", params={"q": '"it is" -so'})
    assert [item["id"] for item in found.json()["items"]] == [session]
    assert chat_service.searched[-1] == '"it is" -so'
    for body in ({"title": " "}, {"title": "x" * 201}, {}, {"title": "x", "pinned": True}):
        assert (await person.http.patch(path, json=body)).status_code == 422
    assert (await person.http.get(f"{url(person)}/sessions", params={"q": "a\0"})).status_code == 422
    assert (await person.http.get(f"{url(person)}/sessions/{uuid4()}")).status_code == 404


async def test_nobody_else_reads_names_or_exports_a_session(gateway: Any, chat_service: Any, person: Any) -> None:
    session = await asked(person)
    stranger = await gateway.person()
    for method, path in [("GET", ""), ("PATCH", ""), ("GET", "/export"), ("GET", "/messages"), ("DELETE", "")]:
        body = {"title": "Mine"} if method == "PATCH" else None
        refused = await stranger.http.request(method, f"{url(person)}/sessions/{session}{path}", json=body)
        assert refused.status_code == 404


async def test_conversation_longer_than_one_answer_of_chat_comes_whole(chat_service: Any, person: Any) -> None:
    from docutalk_common.contracts.gateway import MessagePosted

    session = await asked(person)
    first = chat_service.posted[0]
    for number in range(120):
        fields = {**first.model_dump(), "message_id": uuid4(), "answer_id": uuid4(), "text": f"Question {number}?"}
        chat_service.posted.append(MessagePosted.model_validate(fields))
    messages = (await person.http.get(f"{url(person)}/sessions/{session}/messages")).json()
    assert messages["total"] == len(messages["items"]) == 121
    assert [item["text"] for item in messages["items"][1:]] == [f"Question {number}?" for number in range(120)]


async def test_conversation_of_long_questions_comes_whole(chat_service: Any, person: Any) -> None:
    # Fifty of them have 3 MB, more than a message may have.
    session = await asked(person, "问" * 20_000)
    first = chat_service.posted[0]
    chat_service.posted += [first.model_copy(update={"message_id": uuid4()}) for _ in range(59)]
    exported = await person.http.get(f"{url(person)}/sessions/{session}/export")
    assert len({message["id"] for message in exported.json()["messages"]}) == 60


async def test_conversation_is_exported_as_json_and_as_markdown(chat_service: Any, person: Any) -> None:
    session = await asked(person, "Is <b>it</b> so?")
    path = f"{url(person)}/sessions/{session}/export"
    exported = await person.http.get(path)
    assert exported.headers["content-type"] == "application/json"
    assert exported.headers["content-disposition"] == f'attachment; filename="conversation-{session}.json"'
    body = exported.json()
    assert (body["format"], body["session"]["id"]) == ("docutalk.chat-session.v1", session)
    assert [message["text"] for message in body["messages"]] == ["Is <b>it</b> so?"]
    markdown = await person.http.get(path, params={"format": "markdown"})
    assert markdown.headers["content-type"].startswith("text/markdown")
    assert markdown.text.startswith("# A question\n\n## Question · ")
    assert "Is \\<b\\>it\\</b\\> so?" in markdown.text
    assert (await person.http.get(path, params={"format": "pdf"})).status_code == 422


def citation(**changes: Any) -> Citation:
    """A citation of a page."""
    fields = {"marker": 1, "document_id": uuid4(), "version": 1, "filename": "a.pdf", "page": 3, "start": 0, "end": 4}
    return Citation(**{**fields, "quote": "true", **changes})


def message(role: str, text: str, **changes: Any) -> ChatMessage:
    """A turn."""
    fields = {"id": uuid4(), "role": role, "text": text, "citations": [], "created_at": NOW}
    return ChatMessage(**{**fields, **changes})


def test_markdown_shows_each_answer_with_its_sources_and_what_became_of_them() -> None:
    session = ChatSession(id=uuid4(), title="Of *truth*", created_at=NOW, updated_at=NOW)
    messages = [
        message("user", "Is it so?\n\nAnd why?", selected_text="The\nrain"),
        message("assistant", "No [1].", citations=[citation(source_deleted_at=NOW)], chosen=False),
        message("assistant", "**Yes** [1].", citations=[citation(source_changed_at=NOW)], supported=True),
        message("user", "And?", code="model_timeout", reason="It did not answer."),
        message("assistant", "Who kno", stopped=True, supported=False),
    ]
    assert as_markdown(session, messages) == (
        "# Of \\*truth\\*\n\n## Question · 2026-11-29 12:00 UTC\n\n> The\n> rain\n\nIs it so?\n\nAnd why?\n\n"
        "### Answer · 2026-11-29 12:00 UTC (another answer was chosen)\n\nNo [1].\n\n"
        '> \\[1\\] a.pdf, p. 3: "true" — deleted since, 2026-11-29\n\n'
        "### Answer · 2026-11-29 12:00 UTC\n\n**Yes** [1].\n\n"
        '> \\[1\\] a.pdf, p. 3: "true" — of version 1; changed since, 2026-11-29\n\n'
        "## Question · 2026-11-29 12:00 UTC\n\nAnd?\n\n*There is no answer: It did not answer.*\n\n"
        "### Answer · 2026-11-29 12:00 UTC (stopped)\n\nWho kno\n"
    )


def exported_answer(text: str) -> str:
    """What Markdown an answer becomes."""
    session = ChatSession(id=uuid4(), title="Of truth", created_at=NOW, updated_at=NOW)
    return as_markdown(session, [message("assistant", text)]).partition("UTC\n\n")[2].removesuffix("\n")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("[read](http://evil)", "[read]\\(http://evil)"),
        ("So [1].\n\n[1]: http://evil", "So [1].\n\n[1]\\: http://evil"),
        ("Title\n=====\n# Title", "Title\n\\=====\n\\# Title"),
        ("One\n\n---\n\nTwo", "One\n\n---\n\nTwo"),
        ("```sh\n# a[0](x)\n```\n# b", "```sh\n# a[0](x)\n```\n\\# b"),
    ],
)
def test_answer_makes_no_link_and_no_heading(text: str, written: str) -> None:
    assert exported_answer(text) == written


@pytest.mark.parametrize(
    ("text", "end"),
    [("```\ncut", "```"), ("- a\n  ````py\n```\ncut", "````"), ("~~~\n```\ncut", "~~~"), ("```\n``` x\ncut", "```")],
)
def test_code_that_was_cut_off_ends_with_its_answer(text: str, end: str) -> None:
    assert exported_answer(text).endswith(f"\ncut\n{end}")


@pytest.mark.parametrize(
    "text",
    [
        "<script>x()</script>",
        "</p><img src=http://evil/x>",
        "![x](http://evil/?q=1)",
        "!![x](http://evil/?q=1)",
        "```\n<img src=http://evil/x>\n```",
        "<!-- x",
    ],
)
def test_nothing_in_an_answer_or_a_document_becomes_a_tag_or_an_image(text: str) -> None:
    session = ChatSession(id=uuid4(), title=text, created_at=NOW, updated_at=NOW)
    messages = [message("user", text), message("assistant", text, citations=[citation(filename=text, quote=text)])]
    written = as_markdown(session, messages)
    # A backslash before it makes either sign plain.
    plain = written.replace("\\<", "").replace("\\!", "")
    assert "<" not in plain
    assert "![" not in plain.replace("!\\[", "")


def test_source_line_is_cut_to_its_length() -> None:
    assert source_line(citation(quote="one two three"), longest=8) == '\\[1\\] a.pdf, p. 3: "one two…"'


async def test_settings_are_read_by_members_and_changed_by_owners(gateway: Any, chat_service: Any, person: Any) -> None:
    from docutalk_common.db import Cause
    from docutalk_gateway.adapters import repository
    from docutalk_gateway.domain import Role

    path = f"{url(person)}/settings"
    assert (await person.http.get(path)).json() == {"model": None, "temperature": None, "passages": None}
    changed = await person.http.patch(path, json={"model": "tiny", "temperature": 0.2, "passages": 20})
    assert changed.json() == {"model": "tiny", "temperature": 0.2, "passages": 20}
    assert (await person.http.patch(path, json={"model": None})).json() == {"model": None, "temperature": 0.2, "passages": 20}
    assert (await person.http.patch(path, json={})).json()["passages"] == 20
    for body in ({"temperature": 2.5}, {"passages": 0}, {"passages": 51}, {"model": ""}, {"tokens": 1}, {"model": "unknown"}):
        assert (await person.http.patch(path, json=body)).status_code == 422
    editor = await gateway.person()
    async with gateway.db.transaction(Cause.new()) as tx:
        await repository.add_member(tx.session, person.workspace, editor.id, Role.EDITOR)
    assert (await editor.http.get(path)).status_code == 200
    assert (await editor.http.patch(path, json={"passages": 5})).status_code == 403
    models = await editor.http.get(f"{url(person)}/models")
    assert models.json() == {"provider": "openai", "default": "tiny", "items": ["tiny", "extractive"], "complete": True}
    stranger = await gateway.person()
    assert (await stranger.http.get(path)).status_code == (await stranger.http.get(f"{url(person)}/models")).status_code == 404
