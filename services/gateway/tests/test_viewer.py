"""Pictures of pages, places of quotes and units over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts import ingest
from docutalk_common.db import Cause
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.messaging.broker import MessageBroker
from docutalk_common.settings import ServiceSettings
from docutalk_common.storage import ObjectStorage
from docutalk_local.testing import TestStack

from .conftest import Person, RunningGateway, environment_of

DOCUMENT = UUID(int=5)
PICTURE = b"RIFF....WEBP a picture"


class Pages:
    """A stand-in for ingest, with one document of one page in one workspace."""

    def __init__(self) -> None:
        self.workspace: UUID | None = None
        self.picture = ingest.RenderedPage(object_key="", content_type="image/webp", width=300, height=400)
        self.asked: list[object] = []

    def _check(self, workspace_id: UUID, number: int | None) -> None:
        if workspace_id != self.workspace or number not in {1, None}:
            raise NotFound("There is no such page.")

    async def boxes(self, request: ingest.GetBoxes, _cause: Cause) -> ingest.Boxes:
        self._check(request.workspace_id, request.number)
        if request.end > 100:
            raise RequestFailed("no_boxes", "Pages of this kind of file have no places.")
        return ingest.Boxes(width=612, height=792, boxes=[ingest.Box(left=1, top=2, right=3, bottom=4)])

    async def render(self, request: ingest.RenderPage, _cause: Cause) -> ingest.RenderedPage:
        self._check(request.workspace_id, request.number)
        self.asked.append((request.width, request.version))
        return self.picture

    async def units(self, request: ingest.ListUnits, _cause: Cause) -> ingest.Units:
        self._check(request.workspace_id, request.number)
        items = [ingest.Unit(ordinal=n, page=1, kind="heading", label="A", level=1, start=0, end=9) for n in (1, 2)]
        return ingest.Units(items=[item for item in items if item.ordinal > request.after], extractor="x 1", text_hash="0" * 64)


@pytest.fixture
async def pages(stack: TestStack, person: Person) -> AsyncIterator[Pages]:
    """Answers for ingest; the document is this person's."""
    service = Pages()
    service.workspace = person.workspace
    broker = MessageBroker(ServiceSettings(**environment_of(stack, "ingest")), service="ingest", db=None)
    broker.answer("rpc.ingest.v1.page.boxes", service.boxes)
    broker.answer("rpc.ingest.v1.page.render", service.render)
    broker.answer("rpc.ingest.v1.unit.list", service.units)
    await broker.start()
    yield service
    await broker.stop(grace=1)


def page_of(person: Person, number: int = 1) -> str:
    """The path of a page of the document."""
    return f"{person.documents}/{DOCUMENT}/pages/{number}"


async def test_places_of_a_quote(person: Person, pages: Pages) -> None:
    found = await person.http.get(f"{page_of(person)}/boxes", params={"start": 1, "end": 9})
    assert found.json() == {"width": 612, "height": 792, "boxes": [{"left": 1, "top": 2, "right": 3, "bottom": 4}]}
    other = await person.http.get(f"{page_of(person)}/boxes", params={"start": 1, "end": 900})
    assert (other.status_code, other.json()["type"]) == (404, "urn:docutalk:problem:no_boxes")
    assert (await person.http.get(f"{page_of(person)}/boxes", params={"start": 1})).status_code == 422
    assert (await person.http.get(f"{page_of(person, 2)}/boxes", params={"start": 1, "end": 9})).status_code == 404


async def test_picture_of_a_page_is_passed_on_and_not_sent_twice(stack: TestStack, person: Person, pages: Pages) -> None:
    storage = ObjectStorage(ServiceSettings(**environment_of(stack, "ingest")))
    key = f"{person.workspace}/{DOCUMENT}/rendered-1-1-300.webp"

    async def data() -> AsyncIterator[bytes]:
        yield PICTURE

    await storage.upload_stream(key, data(), content_type="image/webp")
    storage.close()
    pages.picture = pages.picture.model_copy(update={"object_key": key})
    first = await person.http.get(f"{page_of(person)}/image", params={"width": 300, "version": 1})
    assert (first.status_code, first.content, first.headers["content-type"]) == (200, PICTURE, "image/webp")
    assert first.headers["cache-control"].startswith("private")
    assert pages.asked == [(300, 1)]
    again = await person.http.get(f"{page_of(person)}/image?width=300", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await person.http.get(f"{page_of(person)}/image?width=9000")).status_code == 422


async def test_units_come_in_order_after_the_last_one(person: Person, pages: Pages) -> None:
    found = (await person.http.get(f"{person.documents}/{DOCUMENT}/units", params={"after": 1, "page": 1})).json()
    assert [(unit["ordinal"], unit["kind"], unit["level"]) for unit in found["items"]] == [(2, "heading", 1)]
    assert (found["more"], found["extractor"], found["text_hash"]) == (False, "x 1", "0" * 64)


async def test_who_is_no_member_sees_nothing(gateway: RunningGateway, person: Person, pages: Pages) -> None:
    stranger = await gateway.person()
    for path in (f"{page_of(person)}/boxes?start=0&end=1", f"{page_of(person)}/image", f"{person.documents}/{uuid4()}/units"):
        assert (await stranger.http.get(path)).status_code == 404
