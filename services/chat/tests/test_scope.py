"""A question that is narrowed to some documents is answered from those alone: who was given a link to a part of a workspace reads
nothing of the rest."""

from __future__ import annotations

from uuid import UUID

import pytest
from docutalk_chat.domain.scope import NO_DOCUMENT, scope_of
from docutalk_common.contracts.chat import Answer, FrameKind
from docutalk_common.contracts.embed import SearchFilters
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.contracts.gateway import MessagePosted
from docutalk_common.testing.llm_server import Reply, ScriptedModel
from docutalk_local.testing import TestStack
from hypothesis import given
from hypothesis import strategies as st

from .factories import passage
from .world import Documents, Person, answering, running_chat

INSIDE = "The harvest of 2021 was 412 tonnes of apples.\nThe rain came late."
OUTSIDE = "The harvest of 2021 was 999 tonnes of apples, says the secret report of Tesla.\nThe rain came late."
SECRET = "999 tonnes of apples, says the secret report"
QUESTION = "How many tonnes of apples was the harvest of 2021?"

few = st.lists(st.sampled_from([UUID(int=n) for n in range(1, 5)]), max_size=4)


def posted(**fields: object) -> MessagePosted:
    """A question of nobody."""
    ids = {name: uuid7() for name in ("workspace_id", "message_id", "answer_id", "session_id", "user_id")}
    return MessagePosted.model_validate({**ids, "text": "Which?", **fields})


@given(named=few, chosen=few, sources=few)
def test_scope_is_what_all_choices_have_in_common(named: list[UUID], chosen: list[UUID], sources: list[UUID]) -> None:
    filters = SearchFilters(document_ids=chosen, source_ids=sources)
    scope = scope_of(posted(document_ids=named, filters=filters))
    lists = [set(ids) for ids in (named, chosen) if ids]
    common = set.intersection(*lists) if lists else set()
    assert set(scope.document_ids) == (common or ({NO_DOCUMENT} if lists else set()))
    assert len(scope.document_ids) == len(set(scope.document_ids))
    assert scope.source_ids == sources


class Shared:
    """A document that may be seen, with a source, and one that may not, which say nearly the same."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        # The other one first: without filters it answers.
        self.outside = documents.add(OUTSIDE, filename="secret.pdf").document_id
        self.inside = documents.add(INSIDE).document_id
        self.source = uuid7()
        documents.sources |= {self.inside: self.source, self.outside: uuid7()}
        hidden = passage(OUTSIDE, page=2, document_id=self.outside, filename="secret.pdf")
        documents.pages[self.outside, 2] = OUTSIDE
        documents.hidden.append(hidden)

    def narrowed(self, how: str) -> dict[str, object]:
        """The fields of a question that may see the one document only."""
        return {
            "document_ids": {"document_ids": [self.inside]},
            "filters": {"filters": SearchFilters(document_ids=[self.inside])},
            "both": {"document_ids": [self.outside, self.inside], "filters": SearchFilters(document_ids=[self.inside])},
            "source": {"document_ids": [self.outside, self.inside], "filters": SearchFilters(source_ids=[self.source])},
        }[how]

    def assert_nothing_of_it(self, answer: Answer | None) -> None:
        """Neither said, cited, read, nor looked for."""
        assert answer is not None
        assert "999" not in answer.response
        assert {citation.document_id for citation in answer.citations} <= {self.inside}
        assert self.documents.read <= {self.inside}


@pytest.fixture
def shared(documents: Documents) -> Shared:
    return Shared(documents)


WAYS = ("document_ids", "filters", "both", "source")


async def test_without_filters_the_other_document_answers(stack: TestStack, shared: Shared, person: Person) -> None:
    async with running_chat(stack):
        _, frames = await person.ask(await person.open_session(), QUESTION, selected_text=SECRET)
    assert frames[-1].answer is not None
    assert frames[-1].answer.citations[0].document_id == shared.outside


@pytest.mark.parametrize("how", WAYS)
async def test_extracts_and_selections_are_of_the_documents_inside(
    stack: TestStack, shared: Shared, person: Person, how: str
) -> None:
    async with running_chat(stack):
        session_id = await person.open_session()
        for fields in ({}, {"selected_text": SECRET}):
            _, frames = await person.ask(session_id, QUESTION, **fields, **shared.narrowed(how))
            shared.assert_nothing_of_it(frames[-1].answer)
            assert frames[-1].answer is not None
            assert frames[-1].answer.supported
        # What says little is searched together with the question before; a name is looked for in the documents.
        for question in ("And the rain?", "What was the harvest of Tesla in 2021?"):
            _, frames = await person.ask(session_id, question, **shared.narrowed(how))
            shared.assert_nothing_of_it(frames[-1].answer)
    assert frames[-1].answer is not None
    assert not frames[-1].answer.supported
    asked = [*shared.documents.searches, *shared.documents.probes]
    assert len(asked) > len(shared.documents.searches)
    assert len({search.filters.model_dump_json() for search in asked}) == 1


@pytest.mark.parametrize("how", WAYS)
async def test_model_is_shown_the_documents_inside_also_for_a_follow_up_question(
    stack: TestStack, shared: Shared, person: Person, model: ScriptedModel, how: str
) -> None:
    model.default = lambda request: Reply.text("412 tonnes of apples [1] [2]." if request.body.get("stream") else QUESTION)
    async with running_chat(stack, llm_base_url=model.base_url, llm_model="tiny"):
        session_id = await person.open_session()
        for question in (QUESTION, "And that?"):
            _, frames = await person.ask(session_id, question, selected_text=SECRET, **shared.narrowed(how))
            shared.assert_nothing_of_it(frames[-1].answer)
    for request in answering(model):
        content = request.messages[-1]["content"]
        assert "secret.pdf" not in content
        assert "of Tesla" not in content
        assert "which is in none of the documents and has no number to cite" in content
    # The rewritten question, not the one that says little.
    assert shared.documents.searches[-1].query.startswith(QUESTION)
    assert len({search.filters.model_dump_json() for search in shared.documents.searches}) == 1


async def test_choices_without_a_document_in_common_find_nothing_and_still_do_when_asked_again(
    stack: TestStack, shared: Shared, person: Person
) -> None:
    apart = {"document_ids": [shared.outside], "filters": SearchFilters(document_ids=[shared.inside])}
    async with running_chat(stack):
        posted_, frames = await person.ask(await person.open_session(), QUESTION, selected_text=SECRET, **apart)
        again = await person.question(posted_)
        _, repeated = await person.ask(posted_.session_id, again.text, filters=again.filters)
    for answer in (frames[-1].answer, repeated[-1].answer):
        assert answer is not None
        assert (answer.supported, answer.citations) == (False, [])
    assert frames[-1].kind is FrameKind.DONE
    assert shared.documents.read == set()
