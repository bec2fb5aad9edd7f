"""Sources on the real servers and a real web server on this machine: what runs find, what they cost, and what stops them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.contracts.envelope import Envelope, Message
from docutalk_common.contracts.ingest import (
    DeleteDocument,
    DocumentCollected,
    DocumentRemoved,
    DocumentStatus,
    ListSources,
    RunStatus,
    SourceKind,
    SourceList,
    SourceRan,
)
from docutalk_common.db import Cause, Database
from docutalk_common.errors import NotFound, RequestFailed
from docutalk_common.messaging import event_log
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.messaging.requests import RequestClient
from docutalk_common.messaging.streams import EVENTS, durable
from docutalk_common.process import wait_until
from docutalk_common.storage import ObjectStorage
from docutalk_common.testing.conformance import Wire, envelope_for
from docutalk_ingest.adapters.addresses import AddressBook, networks
from docutalk_ingest.adapters.fetcher import Fetcher, FetchLimits
from docutalk_ingest.adapters.source_repository import SourceRepository
from docutalk_ingest.adapters.sources.csv_rows import CsvRows
from docutalk_ingest.adapters.sources.feed_reader import read_feed
from docutalk_ingest.adapters.sources.fingerprint import fingerprint
from docutalk_ingest.adapters.sources.item import ListingFailed, Reach, SourceConfig, Validators
from docutalk_ingest.adapters.sources.kinds import read_config
from docutalk_ingest.adapters.workspaces import Workspaces
from docutalk_ingest.use_cases.collect_source import SourceCollector
from docutalk_ingest.use_cases.fail_run import fail_run
from docutalk_local.testing import TestStack

from .gateway_stand_in import GatewayStandIn
from .source_world import SECONDS, Sources, added, collecting, counts, runs_of
from .web import Page, Web, serving


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with serving() as web:
        yield web


@pytest.fixture(scope="module")
async def search_server() -> AsyncIterator[Web]:
    async with serving() as web:
        yield web


@pytest.fixture(scope="module")
async def db(stack: TestStack, search_server: Web, gateway: GatewayStandIn) -> AsyncIterator[Database]:
    """The running service's database."""
    more = {"DOCUTALK_SEARCH_URL": search_server.url(""), "DOCUTALK_SEARCH_API_KEY": "key"}
    async with collecting(stack, **more) as db:
        yield db


@pytest.fixture
async def wire(stack: TestStack, db: Database) -> AsyncIterator[Wire]:
    wire = await Wire.connect(stack.nats_operator)
    yield wire
    await wire.nc.close()


@pytest.fixture
async def reach() -> AsyncIterator[Reach]:
    fetcher = Fetcher(FetchLimits(pause_seconds=0), book=AddressBook(allow=networks("127.0.0.0/8")))
    yield Reach(fetcher)
    await fetcher.close()


@pytest.fixture
def workspaces(requests: RequestClient) -> Workspaces:
    return Workspaces(requests)


async def stored(storage: ObjectStorage, key: str) -> bytes:
    return b"".join([part async for part in storage.iterate(key)])


def delivery_of(work: Message, db: Database) -> Delivery:
    return Delivery(envelope_for(work), 1, "ingest-source-collect", db)


# --- kinds


async def test_text_becomes_a_document_and_a_changed_text_a_new_version(
    sources: Sources, wire: Wire, storage: ObjectStorage
) -> None:
    source, run = await sources.collected(SourceKind.TEXT, {"title": "Notes: on salt", "text": "Salt is heavy."})
    assert (run.status, run.trigger, counts(run)) == (RunStatus.DONE, "created", (1, 1, 0, 0, 0))
    (document,) = await sources.documents(source.source_id)
    assert (document.filename, document.origin, document.version) == ("Notes on salt.txt", "Notes: on salt", 1)
    assert (document.source_id, await stored(storage, document.object_key)) == (source.source_id, b"Salt is heavy.")

    assert counts(await sources.again(source.source_id)) == (1, 0, 0, 1, 0)
    await sources.change(source.source_id, config={"title": "Notes", "text": "Salt is light."})
    assert counts(await sources.again(source.source_id)) == (1, 0, 1, 0, 0)

    async def read() -> bool:
        return (await sources.documents(source.source_id))[0].status == DocumentStatus.EMBEDDING

    await wait_until(read, seconds=SECONDS, what="the text was read and cut into passages")
    (document,) = await sources.documents(source.source_id)
    assert (document.version, document.filename, document.source_id) == (2, "Notes on salt.txt", source.source_id)
    shown = await sources.get(source.source_id)
    assert shown.document_count == 1
    assert shown.last_run is not None
    assert (await sources.runs(source.source_id))[0] == shown.last_run

    async def told() -> bool:
        events = await event_log.read(wire.nc, EVENTS, f"evt.ingest.v1.document.collected.*.{document.document_id}")
        found = [DocumentCollected.model_validate(Envelope.model_validate_json(event.data).data) for event in events]
        return [(event.version, event.source_id) for event in found] == [(1, source.source_id), (2, source.source_id)]

    await wait_until(told, seconds=SECONDS, what="the timeline tells of both versions")


async def test_addresses_cost_nothing_when_unchanged_and_failures_do_not_stop_the_run(
    sources: Sources, web: Web, storage: ObjectStorage
) -> None:
    tagged = web.html("/tagged", "Tides &amp; moons", "By the moon.", etag=True)
    plain = web.html("/plain", "Ports", "Many ships.")
    web.pages["/list.csv"] = Page(b"a,b\n1,2\n", "application/octet-stream")
    urls = [tagged, plain, web.url("/list.csv"), web.url("/gone"), web.redirect("/inside", "http://10.0.0.1/"), tagged]
    source, run = await sources.collected(SourceKind.URLS, {"urls": urls})
    assert (run.status, counts(run)) == (RunStatus.DONE, (5, 3, 0, 0, 2))
    assert run.reason is not None
    assert "no such page" in run.reason
    assert "10.0.0.1" in run.reason
    documents = await sources.documents(source.source_id)
    assert [document.filename for document in documents] == ["Ports.html", "Tides & moons.html", "list.csv"]
    assert {document.origin for document in documents} == {tagged, plain, web.url("/list.csv")}
    keys = await storage.keys(f"{sources.workspace_id}/")
    assert len(keys) == 3

    web.html("/plain", "Ports", "Many ships.<script>var token = 'another each time'</script>")
    run = await sources.again(source.source_id)
    assert counts(run) == (5, 0, 0, 3, 2)
    assert await storage.keys(f"{sources.workspace_id}/") == keys
    assert "if-none-match" in web.asked("/tagged")[1].headers

    web.html("/tagged", "Tides &amp; moons", "By the sun, too.", etag=True)
    web.html("/gone", "Back", "Here again.")
    run = await sources.again(source.source_id)
    assert counts(run) == (5, 1, 1, 2, 1)
    assert [document.version for document in await sources.documents(source.source_id)] == [1, 1, 2, 1]
    assert len(await storage.keys(f"{sources.workspace_id}/")) == 5


async def test_run_in_which_nothing_could_be_fetched_has_failed(sources: Sources, web: Web) -> None:
    web.pages["/robots.txt"] = Page(b"User-agent: *\nDisallow: /\n", "text/plain")
    _, run = await sources.collected(SourceKind.URLS, {"urls": [web.html("/page", "Page", "text")]})
    assert (run.status, counts(run)) == (RunStatus.FAILED, (1, 0, 0, 0, 1))
    assert "robots.txt" in (run.reason or "")


async def test_host_that_does_not_answer_is_given_up_on_after_some_tries(sources: Sources, web: Web) -> None:
    urls = [web.url(f"/{number}") for number in range(9)]
    web.pages = {"/robots.txt": Page(status=404)} | {f"/{number}": Page(status=503) for number in range(9)}
    _, run = await sources.collected(SourceKind.URLS, {"urls": urls})
    assert (run.status, counts(run)) == (RunStatus.FAILED, (9, 0, 0, 0, 9))
    assert len(web.seen) == 1 + 5


async def test_rows_of_a_table_are_records_that_are_known_by_their_key(
    sources: Sources, web: Web, storage: ObjectStorage
) -> None:
    web.pages["/ports.csv"] = Page("id;name;ships\n1;Rotterdam;7\n2;Gdańsk;3\n\n;;\n".encode(), "text/csv", etag=True)
    config = {"url": web.url("/ports.csv"), "key_column": "id", "title_column": "name"}
    source, run = await sources.collected(SourceKind.CSV, config)
    assert counts(run) == (2, 2, 0, 0, 0)
    documents = await sources.documents(source.source_id)
    assert [document.filename for document in documents] == ["Gdańsk.txt", "Rotterdam.txt"]
    assert (await stored(storage, documents[0].object_key)).decode() == "id: 2\nname: Gdańsk\nships: 3\n"

    assert counts(await sources.again(source.source_id)) == (2, 0, 0, 2, 0)
    assert "if-none-match" in web.asked("/ports.csv")[1].headers
    web.pages["/ports.csv"].body = b"id;name;ships\n1;Rotterdam;8\n3;Oslo;1\n"
    assert counts(await sources.again(source.source_id)) == (2, 1, 1, 0, 0)
    assert len(await sources.documents(source.source_id)) == 3, "a row that is gone leaves its document"


RSS = """<?xml version="1.0"?><rss version="2.0"><channel><title>News</title><link>{base}</link>{items}</channel></rss>"""
ENTRY = (
    "<item><guid isPermaLink='false'>{key}</guid><title>{title}</title><link>{link}</link>"
    "<description>{text}</description></item>"
)


def feed(web: Web, *entries: tuple[str, str]) -> bytes:
    items = "".join(
        ENTRY.format(key=key, title=f"Entry {key}", link=web.url(f"/{key}"), text=f"&lt;p&gt;{text}&lt;/p&gt;" if text else "")
        for key, text in entries
    )
    return RSS.format(base=web.url("/"), items=items).encode()


async def test_feed_that_changes_brings_new_and_changed_entries_and_keeps_old_ones(
    sources: Sources, web: Web, storage: ObjectStorage
) -> None:
    web.pages["/feed"] = Page(feed(web, ("a", "first"), ("b", "second")), "application/rss+xml", etag=True)
    source, run = await sources.collected(SourceKind.FEED, {"url": web.url("/feed")})
    assert counts(run) == (2, 2, 0, 0, 0)
    documents = await sources.documents(source.source_id)
    assert [(document.filename, document.origin) for document in documents] == [
        ("Entry a.html", web.url("/a")),
        ("Entry b.html", web.url("/b")),
    ]
    assert b"<p>first</p>" in await stored(storage, documents[0].object_key)
    assert web.asked("/a") == []

    assert counts(await sources.again(source.source_id)) == (2, 0, 0, 2, 0)
    web.pages["/feed"].body = feed(web, ("c", "third"), ("b", "second, corrected"))
    assert counts(await sources.again(source.source_id)) == (2, 1, 1, 0, 0)
    assert [document.version for document in await sources.documents(source.source_id)] == [1, 2, 1]


async def test_feed_with_full_text_brings_the_pages_and_tries_failed_ones_again(sources: Sources, web: Web) -> None:
    web.pages["/feed"] = Page(feed(web, ("a", "teaser"), ("b", "")), "application/rss+xml", etag=True)
    web.html("/a", "All of a", "The whole story.", etag=True)
    source, run = await sources.collected(SourceKind.FEED, {"url": web.url("/feed"), "full_text": True})
    assert (run.status, counts(run)) == (RunStatus.DONE, (2, 1, 0, 0, 1))
    assert [document.filename for document in await sources.documents(source.source_id)] == ["All of a.html"]
    web.html("/b", "All of b", "Another story.")
    assert counts(await sources.again(source.source_id)) == (2, 1, 0, 1, 0)


async def test_entry_whose_page_cannot_be_read_is_what_the_feed_says_until_it_can(sources: Sources, web: Web) -> None:
    entries = "".join(
        f"<item><title>{name}</title><guid>{name}</guid><link>{web.url(name)}</link>"
        f"<description>{name} in short</description></item>"
        for name in ("/here", "/gone")
    )
    web.pages["/feed"] = Page(f"<rss version='2.0'><channel>{entries}</channel></rss>".encode(), "application/rss+xml")
    web.html("/here", "Here", "The whole story.")
    source, run = await sources.collected(SourceKind.FEED, {"url": web.url("/feed"), "full_text": True})
    assert counts(run) == (2, 2, 0, 0, 0)
    assert counts(await sources.again(source.source_id)) == (2, 0, 0, 2, 0)
    web.html("/gone", "Gone", "Back again, in full.")
    del web.pages["/here"]
    assert counts(await sources.again(source.source_id)) == (2, 0, 1, 0, 1), "a page that was read is not replaced by its teaser"


async def test_search_brings_the_pages_that_were_found(sources: Sources, web: Web, search_server: Web) -> None:
    found = [{"url": web.html(f"/{number}", f"Hit {number}", "text"), "title": f"Hit {number}"} for number in range(3)]
    body = json.dumps({"query": "salt", "results": [{"url": "javascript:alert(1)"}, *found]}).encode()
    search_server.pages["/search?q=salt+mines&format=json&pageno=1"] = Page(body, "application/json")
    source, run = await sources.collected(SourceKind.SEARCH, {"query": "salt mines", "max_results": 3})
    assert counts(run) == (2, 2, 0, 0, 0)
    assert [document.filename for document in await sources.documents(source.source_id)] == ["Hit 0.html", "Hit 1.html"]
    assert search_server.seen[-1].headers["authorization"] == "Bearer key"


async def test_search_without_a_provider_says_which_setting_is_missing(reach: Reach) -> None:
    with pytest.raises(ListingFailed, match="DOCUTALK_SEARCH_URL"):
        await read_config(SourceKind.SEARCH, {"query": "salt"}).items(reach, Validators())


async def test_what_is_no_feed_fails_with_a_reason(sources: Sources, web: Web) -> None:
    _, run = await sources.collected(SourceKind.FEED, {"url": web.html("/", "A page", "and no feed")})
    assert (run.status, "is not a feed" in (run.reason or "")) == (RunStatus.FAILED, True)


async def test_feed_with_an_entity_bomb_ends_by_itself() -> None:
    bomb = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x" * 100}">' for n in range(12))
    body = f"<?xml version='1.0'?><!DOCTYPE rss [{bomb}]><rss><channel><item><title>&e11;</title></item></channel></rss>"
    try:
        entries = await read_feed(body.encode(), "http://bomb.test/", "application/rss+xml", 10)
    except ListingFailed:
        return
    assert all(len(entry.title) <= 1000 for entry in entries)


async def test_feed_whose_links_swell_ends_by_itself() -> None:
    links = "&lt;a href='x'&gt;a&lt;/a&gt;" * 500
    items = f"<item><guid>%d</guid><description>{links}</description></item>"
    body = f"<rss version='2.0'><channel>{''.join(items % number for number in range(40))}</channel></rss>"
    with pytest.raises(ListingFailed, match="more time or memory"):
        await read_feed(body.encode(), f"http://bomb.test/{'u' * 4_000}/", "application/rss+xml", 1000)


@pytest.mark.parametrize(
    ("kind", "config", "about"),
    [
        (SourceKind.TEXT, {"title": " ", "text": "x"}, "title"),
        (SourceKind.TEXT, {"title": "x", "text": "x", "colour": "red"}, "colour"),
        (SourceKind.URLS, {"urls": []}, "urls"),
        (SourceKind.URLS, {"urls": ["file:///etc/passwd"]}, "http://"),
        (SourceKind.URLS, {"urls": ["http://example.org"] * 1001}, "1000"),
        (SourceKind.URLS, {"urls": [f"http://example.org/{number}{'a' * 2_000}" for number in range(600)]}, "1 MiB"),
        (SourceKind.CSV, {}, "either"),
        (SourceKind.CSV, {"url": "http://example.org", "text": "a\n1"}, "either"),
        (SourceKind.CSV, {"text": "a,b\n1,2", "key_column": "c"}, "no column 'c'"),
        (SourceKind.FEED, {"url": "example.org/feed"}, "http://"),
        (SourceKind.FEED, {"url": "http://example.org", "max_items": 0}, "max_items"),
        (SourceKind.SEARCH, {"query": ""}, "query"),
    ],
)
def test_configuration_that_cannot_work_is_refused_with_a_sentence(kind: SourceKind, config: dict[str, Any], about: str) -> None:
    with pytest.raises(RequestFailed) as caught:
        read_config(kind, config)
    assert caught.value.code == "invalid"
    assert about in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("text", "bodies"),
    [
        ("a,b\n1,2\n", [b"a: 1\nb: 2\n"]),
        ("a\tb\n1,5\t2\n", [b"a: 1,5\nb: 2\n"]),
        ('a,b\n"1\n2","x, ""y"""\n', [b'a: 1\n2\nb: x, "y"\n']),
        ("a,,c\n1,2,3,4\n", [b"a: 1\ncolumn 2: 2\nc: 3\ncolumn 4: 4\n"]),
        ("a,b\n1\n", [b"a: 1\n"]),
        ("a\n1\n1\n", [b"a: 1\n", b"a: 1\n"]),
    ],
)
async def test_rows_are_read_as_tables_are_written(reach: Reach, text: str, bodies: list[bytes]) -> None:
    listing = await CsvRows(text=text).items(reach, Validators())
    assert [item.body for item in listing.items] == bodies
    assert len({item.key for item in listing.items}) == len(bodies)


async def test_reason_does_not_repeat_a_table_of_endless_names(reach: Reach, web: Web) -> None:
    web.pages["/"] = Page(",".join(f"{number}{'n' * 4_000}" for number in range(20)).encode(), "text/csv; charset=idna")
    with pytest.raises(ListingFailed) as caught:
        await CsvRows(url=web.url("/"), key_column="k" * 5_000).items(reach, Validators())
    assert caught.value.code == "no_such_column"
    assert len(str(caught.value)) < 2_500


async def test_charset_that_is_none_of_text_is_guessed(reach: Reach, web: Web) -> None:
    web.pages["/"] = Page("name\nJürgen\n".encode("latin-1"), "text/csv; charset=punycode")
    listing = await CsvRows(url=web.url("/")).items(reach, Validators())
    assert [(item.body or b"")[:7] for item in listing.items] == [b"name: J"]


async def test_rows_above_the_limit_are_left_out_and_it_is_said(reach: Reach) -> None:
    config: SourceConfig = CsvRows(text="a\n" + "".join(f"{n}\n" for n in range(10)))
    listing = await config.items(Reach(reach.fetcher, max_items=4), Validators())
    assert (len(listing.items), "6 further rows" in (listing.note or "")) == (4, True)


def test_fingerprint_sees_words_and_not_what_no_reader_sees() -> None:
    page = b"<html><script>token=%s</script><!-- %s --><p class='%s'>Words</p><style>%s</style></html>"
    assert fingerprint(page % ((b"1",) * 4), "text/html") == fingerprint(page % ((b"2",) * 4), "text/html")
    assert fingerprint(page.replace(b"Words", b"Other"), "text/html") != fingerprint(page, "text/html")
    assert fingerprint(b"<script>1", "text/html") != fingerprint(b"<script>2", "text/html")
    assert fingerprint(b"<p>1</p>", "text/plain") != fingerprint(b"<p >1</p>", "text/plain")
    fingerprint(b"<script" * 200_000 + b"<" * 1_000_000, "text/html")
    long = b"<p>some words</p>\n " * 40_000
    assert fingerprint(long, "text/html") == fingerprint(b" some   words " * 40_000, "text/html")


async def test_comparing_a_huge_page_leaves_the_others_their_turn() -> None:
    turns = 0
    comparing = asyncio.create_task(asyncio.to_thread(fingerprint, b"<>" * 8_000_000, "text/html"))
    while not comparing.done():
        await asyncio.sleep(0.005)
        turns += 1
    await comparing
    assert turns > 5, "one search over the whole page let nobody else run until its end"


# --- runs


async def test_run_whose_worker_died_goes_on_where_it_was(
    db: Database, web: Web, reach: Reach, storage: ObjectStorage, workspaces: Workspaces
) -> None:
    urls = [web.html(f"/{number}", f"Page {number}", f"text {number}") for number in range(4)]
    web.pages["/2"].drip = 0.1
    source, work = await added(db, SourceKind.URLS, {"urls": urls})
    collect = SourceCollector(db, storage, reach, workspaces)
    first = asyncio.create_task(collect(work, delivery_of(work, db)))

    async def in_the_middle() -> bool:
        return bool(web.asked("/2"))

    await wait_until(in_the_middle, seconds=SECONDS, what="the third page is being fetched")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    (run,) = await runs_of(db, source.source_id)
    assert (run.status, run.found, run.new) == (RunStatus.RUNNING, 4, 2)
    web.pages["/2"].drip = 0
    await collect(work, delivery_of(work, db))
    (run,) = await runs_of(db, source.source_id)
    assert (run.status, counts(run)) == (RunStatus.DONE, (4, 4, 0, 0, 0))
    assert [len(web.asked(f"/{number}")) for number in range(4)] == [1, 1, 2, 1]
    assert len(await storage.keys(f"{source.workspace_id}/")) == 4


async def test_run_that_takes_longer_than_its_turn_lets_others_go_first_and_goes_on_later(
    sources: Sources, db: Database, web: Web, reach: Reach, storage: ObjectStorage, workspaces: Workspaces
) -> None:
    urls = [web.html(f"/{number}", f"Page {number}", f"text {number}") for number in range(4)]
    web.pages["/2"].drip = 0.1
    source, work = await added(db, SourceKind.URLS, {"urls": urls})
    turn = asyncio.create_task(SourceCollector(db, storage, reach, workspaces, turn_seconds=4.0)(work, delivery_of(work, db)))

    async def in_the_middle() -> bool:
        return bool(web.asked("/2"))

    await wait_until(in_the_middle, seconds=SECONDS, what="the third page is being fetched")
    web.pages["/2"].drip = 0  # for who asks next
    await turn

    async def done() -> bool:
        (run,) = await runs_of(db, source.source_id)
        return run.status == RunStatus.DONE and counts(run) == (4, 4, 0, 0, 0)

    await wait_until(done, seconds=SECONDS, what="the running service takes the rest up")
    assert [len(web.asked(f"/{number}")) for number in range(4)] == [1, 1, 2, 1]


async def test_two_workers_with_the_same_run_make_each_document_once(
    db: Database, web: Web, reach: Reach, storage: ObjectStorage, workspaces: Workspaces
) -> None:
    """A delivery that took too long was given to somebody else, and both go on."""
    urls = [web.html(f"/{number}", f"Page {number}", f"text {number}") for number in range(3)]
    source, work = await added(db, SourceKind.URLS, {"urls": urls})
    async with asyncio.timeout(SECONDS):
        others = Fetcher(FetchLimits(pause_seconds=0), book=AddressBook(allow=networks("127.0.0.0/8")))
        collectors = [SourceCollector(db, storage, reach, workspaces), SourceCollector(db, storage, Reach(others), workspaces)]
        await asyncio.gather(*(collect(work, delivery_of(work, db)) for collect in collectors))
        await others.close()
    (run,) = await runs_of(db, source.source_id)
    assert (run.status, counts(run)) == (RunStatus.DONE, (3, 3, 0, 0, 0))
    assert len(await storage.keys(f"{source.workspace_id}/")) == 3


async def test_hosts_are_fetched_from_at_the_same_time_and_each_one_by_one(
    db: Database, reach: Reach, storage: ObjectStorage, workspaces: Workspaces
) -> None:
    async with serving() as here, serving("127.0.0.2") as there:
        urls = [here.html(f"/{n}", "Here", f"{n}", drip=0.001) for n in range(3)]
        urls += [there.html(f"/{n}", "There", f"{n}", drip=0.001).replace("127.0.0.1", "127.0.0.2") for n in range(3)]
        overlapped = False

        def look() -> None:
            nonlocal overlapped
            overlapped = overlapped or bool(here.at_once and there.at_once)

        for page in (*here.pages.values(), *there.pages.values()):
            page.before = look
        source, work = await added(db, SourceKind.URLS, {"urls": urls})
        await SourceCollector(db, storage, reach, workspaces)(work, delivery_of(work, db))
        (run,) = await runs_of(db, source.source_id)
        assert counts(run) == (6, 6, 0, 0, 0)
        assert (here.most_at_once, there.most_at_once, overlapped) == (1, 1, True)


@pytest.mark.parametrize("what", ["paused", "deleted"])
async def test_source_that_is_paused_or_deleted_stops_its_run(sources: Sources, web: Web, wire: Wire, what: str) -> None:
    urls = [web.html(f"/{number}", f"Page {number}", f"text {number}") for number in range(100)]
    web.pages["/5"].drip = 0.03
    source = await sources.create(SourceKind.URLS, {"urls": urls})

    async def going_on() -> bool:
        return bool(web.asked("/5"))

    await wait_until(going_on, seconds=SECONDS, what="the run is going on")
    with pytest.raises(RequestFailed, match="going on"):
        await sources.start(source.source_id)
    if what == "paused":
        await sources.change(source.source_id, paused=True)
        run = await sources.ended(source.source_id)
        assert (run.status, run.new) == (RunStatus.CANCELLED, 5)
        with pytest.raises(RequestFailed, match="paused"):
            await sources.start(source.source_id)

        async def told() -> bool:
            events = await event_log.read(wire.nc, EVENTS, f"evt.ingest.v1.source.ran.*.{source.source_id}")
            ran = [SourceRan.model_validate(Envelope.model_validate_json(event.data).data).run.status for event in events]
            return ran == [RunStatus.CANCELLED]

        await wait_until(told, seconds=SECONDS, what="the run's end is told")
    else:
        await sources.delete(source.source_id, with_documents=False)
        await wait_until(lambda: wire.settled(durable("ingest-source-collect")), seconds=SECONDS, what="the run is over")
        with pytest.raises(NotFound):
            await sources.runs(source.source_id)
        assert len(await sources.documents()) == 5
    assert len(web.asked("/7")) == 0


async def test_list_that_is_changed_during_a_run_is_read_in_the_next_one(sources: Sources, web: Web) -> None:
    """What the host said of the old list was kept for the new one: it seemed unchanged, and nothing of it ever came."""
    said = "Fri, 20 Nov 2026 06:00:00 GMT"
    for name in ("old", "new"):
        web.pages[f"/{name}.csv"] = Page(f"name\n{name}\n".encode(), "text/csv", last_modified=said)
    web.pages["/old.csv"].drip = 0.1
    source = await sources.create(SourceKind.CSV, {"url": web.url("/old.csv")})

    async def going_on() -> bool:
        return bool(web.asked("/old.csv"))

    await wait_until(going_on, seconds=SECONDS, what="the old list is being read")
    await sources.change(source.source_id, config={"url": web.url("/new.csv")})
    assert counts(await sources.ended(source.source_id))[:2] == (1, 1)
    assert counts(await sources.again(source.source_id))[:2] == (1, 1)
    origins = {document.origin for document in await sources.documents()}
    assert origins == {web.url("/old.csv, row 1"), web.url("/new.csv, row 1")}


async def test_documents_of_a_deleted_source_go_with_it_or_stay_without_it(sources: Sources, storage: ObjectStorage) -> None:
    going, _ = await sources.collected(SourceKind.CSV, {"text": "a\n" + "".join(f"{n}\n" for n in range(5))})
    staying, _ = await sources.collected(SourceKind.TEXT, {"title": "Stays", "text": "text"})
    assert (await sources.delete(staying.source_id, with_documents=False)).documents_deleted == 0
    assert (await sources.delete(going.source_id, with_documents=True)).documents_deleted == 5
    with pytest.raises(NotFound):
        await sources.get(going.source_id)

    async def gone() -> bool:
        return len(await sources.documents()) == 1 and len(await storage.keys(f"{sources.workspace_id}/")) == 1

    await wait_until(gone, seconds=SECONDS, what="the documents and their bytes are gone")
    (left,) = await sources.documents()
    assert (left.source_id, left.origin) == (None, "Stays")


async def test_document_that_somebody_deleted_does_not_come_back(sources: Sources) -> None:
    source, _ = await sources.collected(SourceKind.CSV, {"text": "id,a\n1,x\n2,y\n", "key_column": "id"})
    document = (await sources.documents(source.source_id))[0]
    removal = DeleteDocument(workspace_id=sources.workspace_id, document_id=document.document_id, deleted_by=sources.user)
    await sources.requests.ask("rpc.ingest.v1.document.delete", removal, DocumentRemoved)
    await sources.change(source.source_id, config={"text": "id,a\n1,changed\n2,changed\n", "key_column": "id"})
    assert counts(await sources.again(source.source_id)) == (2, 0, 1, 1, 0)
    assert len(await sources.documents(source.source_id)) == 1


async def test_run_whose_work_was_given_up_on_has_failed_and_the_next_one_can_begin(db: Database) -> None:
    source, work = await added(db, SourceKind.TEXT, {"title": "a", "text": "b"})
    envelope = envelope_for(work)
    letter = DeadLetter(
        service="ingest",
        durable="ingest-source-collect",
        stream="WORK",
        subject=envelope.subject,
        workspace_id=work.workspace_id,
        message_id=str(envelope.id),
        document_id=None,
        code="internal",
        reason="the worker was killed",
        attempts=6,
        failed_at=envelope.time,
        payload=_base64(envelope),
    )
    await fail_run(letter, Delivery(envelope, 1, "ingest-dead-letter", db))
    (run,) = await runs_of(db, source.source_id)
    assert (run.status, "the worker was killed" in (run.reason or "")) == (RunStatus.FAILED, True)
    async with db.transaction(Cause.new()) as transaction:
        assert await SourceRepository(transaction.session).add_run(source, "manual") is not None


def _base64(envelope: Envelope) -> str:
    return base64.b64encode(envelope.model_dump_json().encode()).decode()


async def test_sources_with_long_texts_are_listed_with_the_beginning_of_each(sources: Sources) -> None:
    text = "word " * 40_000
    for number in range(12):
        await sources.create(SourceKind.TEXT, {"title": f"{number}", "text": text})
    listed = await sources.requests.ask(
        "rpc.ingest.v1.source.list", ListSources(workspace_id=sources.workspace_id, per_page=100), SourceList, timeout=10
    )
    assert listed.total == 12
    assert all(source.config["text"] == f"{text[:300]}…" for source in listed.items)
    assert (await sources.get(listed.items[0].source_id)).config["text"] == text


async def test_sources_of_another_workspace_are_not_found(sources: Sources) -> None:
    source = await sources.create(SourceKind.TEXT, {"title": "a", "text": "b"})
    stranger = Sources(sources.requests, workspace_id=uuid4(), user=uuid4())
    for attempt in (
        stranger.get(source.source_id),
        stranger.runs(source.source_id),
        stranger.start(source.source_id),
        stranger.change(source.source_id, name="mine"),
        stranger.delete(source.source_id, with_documents=True),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await sources.get(source.source_id)).name == "A source"
