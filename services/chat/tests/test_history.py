"""Finding, naming and forgetting conversations."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from docutalk_chat.adapters.models import sessions, stops
from docutalk_chat.use_cases.forget_sessions import forget_sessions
from docutalk_common.contracts.chat import (
    GetSession,
    ListSessions,
    OpenSession,
    RenameSession,
    Session,
    SessionList,
    SessionOpened,
)
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.testing.conformance import Wire
from docutalk_local.testing import TestStack
from sqlalchemy import select

from .world import Documents, Person, running_chat

HARVEST = "The harvest of 2021 was 412 tonnes of apples.\nThe rain came late and the pears were lost."


async def search(person: Person, q: str, **page: int) -> SessionList:
    """The sessions that hold the words."""
    found: SessionList = await person.request("rpc.chat.v1.session.list", ListSessions, SessionList, q=q, **page)
    return found


async def test_conversations_are_found_by_what_was_asked_and_answered(
    stack: TestStack, wire: Wire, documents: Documents, person: Person
) -> None:
    documents.add(HARVEST)
    colleague = Person(wire, workspace_id=person.workspace_id)
    async with running_chat(stack):
        apples, pears = await person.open_session(), await person.open_session()
        posted, _ = await person.ask(apples, "How many tonnes of apples were harvested?")
        await person.ask(pears, "Are there any pears, and Größenwahn?")
        await colleague.ask(await colleague.open_session(), "How many tonnes of apples were harvested?")

        async def ids(q: str) -> list[Any]:
            return [session.session_id for session in (await search(person, q)).items]

        # By the stem, in the answer, as a phrase, without a word, in another language, and by the title.
        assert await ids("apple") == [apples]
        assert await ids("412") == [apples]
        assert await ids('"tonnes of apples"') == [apples]
        assert await ids('"apples of tonnes"') == []
        assert await ids("how or pears -pears") == [apples]
        assert await ids("größenwahn") == [pears]
        hit = (await search(person, "412")).items[0].hit
        assert hit is not None
        assert (hit.message_id, hit.role) == (posted.answer_id, "assistant")
        assert "412 tonnes" in hit.snippet
        assert await ids("nowhere") == []
        # What is no search lists all; signs alone find nothing and harm nothing.
        assert (await search(person, "  ")).total == 2
        assert await ids("'\\:*&|!()<>\0") == []


async def test_search_is_paged_with_the_last_used_first(stack: TestStack, documents: Documents, person: Person) -> None:
    documents.add(HARVEST)
    async with running_chat(stack):
        opened = [await person.open_session() for _ in range(3)]
        for session_id in opened:
            await person.ask(session_id, "How many apples?")
        first, second = await search(person, "apples", page=1, per_page=2), await search(person, "apples", page=2, per_page=2)
    assert [session.session_id for session in [*first.items, *second.items]] == opened[::-1]
    assert first.total == second.total == 3


async def test_title_is_changed_and_stays_so(stack: TestStack, wire: Wire, documents: Documents, person: Person) -> None:
    documents.add(HARVEST)
    async with running_chat(stack):
        session_id = await person.open_session()
        await person.ask(session_id, "How many apples?")

        async def rename(who: Person, title: str) -> Session:
            fields = {"session_id": session_id, "title": title}
            renamed: Session = await who.request("rpc.chat.v1.session.rename", RenameSession, Session, **fields)
            return renamed

        renamed = await rename(person, "  Of apples\n and\0 years ")
        await person.ask(session_id, "And pears?")
        found = await person.request("rpc.chat.v1.session.get", GetSession, Session, session_id=session_id)
        with pytest.raises(RequestFailed, match="letter"):
            await rename(person, "  ")
        for stranger in (Person(wire, workspace_id=person.workspace_id), Person(wire, user_id=person.user_id)):
            with pytest.raises(NotFound):
                await rename(stranger, "Mine")
            with pytest.raises(NotFound):
                await stranger.request("rpc.chat.v1.session.get", GetSession, Session, session_id=session_id)
        by_title = await search(person, "years")
    assert renamed.title == found.title == "Of apples and\ufffd years"
    assert [session.session_id for session in by_title.items] == [session_id]
    assert by_title.items[0].hit is None


async def test_sessions_that_nobody_is_shown_are_forgotten(stack: TestStack, documents: Documents, person: Person) -> None:
    documents.add(HARVEST)
    async with running_chat(stack) as db:
        kept, empty = await person.open_session(), await person.open_session()
        opened = await person.request("rpc.chat.v1.session.open", OpenSession, SessionOpened, transient=True)
        transient = opened.session_id
        posted, _ = await person.ask(transient, "How many apples?", turns=[])
        await person.ask(kept, "How many apples?")
        await person.stop(posted)

        async def there() -> set[Any]:
            async with db.read() as session:
                found = set(await session.scalars(select(sessions.c.session_id)))
                assert bool((await session.scalars(select(stops.c.answer_id).where(stops.c.session_id == transient))).all()) == (
                    transient in found
                )
                return found & {kept, empty, transient}

        await forget_sessions(db, timedelta(hours=1))
        assert await there() == {kept, empty, transient}
        await forget_sessions(db, timedelta(0))
        assert await there() == {kept}
