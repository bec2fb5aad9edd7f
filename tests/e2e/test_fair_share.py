"""Much work of one workspace does not delay a little of another. Shown by the order of what happened, never by times."""

from __future__ import annotations

import nats
from docutalk_common.contracts.envelope import Envelope
from docutalk_common.messaging import event_log
from docutalk_common.messaging.streams import EVENTS
from docutalk_common.process import wait_until
from docutalk_common.testing.pdf import make_pdf
from docutalk_local.home import OPERATOR
from docutalk_local.testing.system import Person, System

FILES = 300
IN_ONE_REQUEST = 100
MEANWHILE = 40
"""Documents of the busy workspace that may become ready while the other's one passes: two at a time, and what was about to be
ready anyway. Behind all of them it would be close to `FILES`."""
BATCHES_MEANWHILE = 12
"""Batches of 64 chunks: the six that are out already, and what the express line lets through."""
READY = "ingest.document.ready.v1"
UPLOADED = "gateway.document.uploaded.v1"
INDEXED = "embed.chunks.indexed.v1"


async def events_of(system: System, person: Person) -> list[tuple[int, str]]:
    """What happened in a person's workspace: the place in the log and the type, in order."""
    nc = await nats.connect(system.stack.servers.nats_url, user=OPERATOR, password=system.stack.secrets.nats[OPERATOR])
    try:
        found = [item async for item in event_log.read_all(nc, EVENTS, f"evt.*.*.*.*.{person.workspace}.*")]
    finally:
        await nc.close()
    return [(item.sequence, Envelope.model_validate_json(item.data).type) for item in found]


async def passage_of(system: System, quick: Person, busy: Person, kind: str) -> tuple[int, int]:
    """How often `kind` happened to the busy workspace while the other's one document was on its way, and in all by then."""
    own = await events_of(system, quick)
    [first] = [place for place, type_ in own if type_ == UPLOADED]
    [last] = [place for place, type_ in own if type_ == READY]
    places = [place for place, type_ in await events_of(system, busy) if type_ == kind]
    return sum(first < place < last for place in places), sum(place < last for place in places)


async def pass_by(system: System, quick: Person) -> None:
    """Uploads one page and waits until it is ready."""
    [accepted] = await quick.upload([("memo.pdf", make_pdf(["The ferry Marguerite carries 412 passengers."]))])
    [document] = (await quick.until_final([accepted["id"]], seconds=120)).values()
    assert document["status"] == "ready"


async def test_one_file_passes_hundreds_of_another_workspace(shared_system: System) -> None:
    busy, quick = await shared_system.register("many@example.com"), await shared_system.register("one@example.com")
    files = [(f"note-{n:03}.txt", f"Note {n} says that pump {n} of the harbour was replaced.".encode()) for n in range(FILES)]
    for start in range(0, FILES, IN_ONE_REQUEST):
        await busy.upload(files[start : start + IN_ONE_REQUEST])
    await pass_by(shared_system, quick)
    meanwhile, by_then = await passage_of(shared_system, quick, busy, READY)
    await busy.call("POST", "/documents/bulk", json={"action": "cancel", "status": "queued"})
    assert meanwhile <= MEANWHILE
    assert by_then <= FILES * 2 // 3, "the busy workspace was nearly done before: nothing is shown"


async def test_one_page_passes_a_long_book_of_another_workspace(shared_system: System) -> None:
    busy, quick = await shared_system.register("book@example.com"), await shared_system.register("page@example.com")
    chapter = "Chapter {0} speaks of pump {0}, of its {1} valves, and of what they cost in the year {2}. ".format
    chapters = [chapter(n, n % 7, 1900 + n % 99) * 12 for n in range(500)]
    [book] = await busy.upload([("book.txt", "\n\n".join(chapters).encode())])

    async def is_under_way() -> bool:
        return (await busy.document(book["id"]))["progress"]["chunks_done"] > 0

    await wait_until(is_under_way, seconds=60, what="the book's first chunks are embedded")
    await pass_by(shared_system, quick)
    meanwhile, _ = await passage_of(shared_system, quick, busy, INDEXED)
    assert meanwhile <= BATCHES_MEANWHILE
    document = await busy.document(book["id"])
    assert document["status"] == "embedding", "the book was done before: nothing is shown"
    await busy.call("DELETE", f"/documents/{book['id']}")
