"""Fetching from a real web server on this machine: what is refused, what is given up on, and how politely we ask."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from docutalk_ingest.adapters.addresses import AddressBook, Resolver, is_public, networks, system_resolver
from docutalk_ingest.adapters.fetcher import Fetched, Fetcher, FetchFailed, FetchLimits

from .web import ENDLESS, Page, Web, serving

LIMITS = FetchLimits(body_bytes=100_000, total_seconds=60, connect_seconds=20, pause_seconds=0)


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with serving() as web:
        yield web


@asynccontextmanager
async def fetching(
    allow: str = "127.0.0.0/8", resolver: Resolver = system_resolver, now: Any = None, **limits: Any
) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(replace(LIMITS, **limits), book=AddressBook(resolver, networks(allow)), now=now)
    try:
        yield fetcher
    finally:
        await fetcher.close()


async def failure(url: str, **options: Any) -> FetchFailed:
    """Why it is not fetched."""
    async with fetching(**options) as fetcher:
        with pytest.raises(FetchFailed) as caught:
            await fetcher.fetch(url)
    return caught.value


def answers(*turns: Sequence[str]) -> Resolver:
    """A name server that answers differently each time; the last answer stays."""
    left = list(turns)

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


# --- where to


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.31.255.255",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "0.0.0.0",
        "192.0.0.192",
        "198.18.0.1",
        "203.0.113.9",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "::127.0.0.1",
        "fe80::1",
        "fe80::1%1",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2002:a00:1::1",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
    ],
)
def test_address_that_is_not_on_the_internet_is_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    assert not AddressBook().allows(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "192.0.1.1", "2606:4700::1111", "64:ff9b::101:101", "2002:101:101::1", "::ffff:1.1.1.1"],
)
def test_address_on_the_internet_is_allowed(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_host_inside_is_refused_however_it_is_written_and_never_asked(web: Web, host: str) -> None:
    web.html("/", "Inside", "secret")
    refused = await failure(web.url("/", host), allow="")
    assert refused.code in ("address_refused", "bad_address", "name_not_found")
    assert web.seen == []


async def test_redirect_to_the_inside_is_refused(web: Web) -> None:
    web.html("/inside", "Inside", "secret")
    # 127.0.0.2 is opened, 127.0.0.1 is the inside here.
    async with serving("127.0.0.2") as outside:
        start = outside.url("/", "127.0.0.2")
        outside.redirect("/", web.url("/inside"))
        refused = await failure(start, allow="127.0.0.2/32")
    assert refused.code == "address_refused"
    assert "127.0.0.1" in str(refused)
    assert web.seen == []


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/meta-data", "http://[::1]/", "http://10.0.0.1:22/"])
async def test_redirect_to_the_metadata_server_is_refused(web: Web, target: str) -> None:
    assert (await failure(web.redirect("/", target))).code == "address_refused"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "javascript:alert(1)"])
async def test_redirect_to_what_is_no_web_address_is_refused(web: Web, target: str) -> None:
    assert (await failure(web.redirect("/", target))).code == "bad_redirect"


async def test_name_that_changes_to_an_inside_address_between_two_connections_is_refused() -> None:
    async with serving("127.0.0.2") as web:
        url = web.html("/", "Page", "text").replace("127.0.0.1", "rebind.test")
        resolver = answers(["127.0.0.2"], ["127.0.0.2"], ["127.0.0.1"])
        async with fetching("127.0.0.2/32", resolver) as fetcher:
            assert b"text" in (await fetcher.fetch(url)).body  # robots.txt, then the page
            with pytest.raises(FetchFailed) as caught:
                await fetcher.fetch(url)
        assert caught.value.code == "address_refused"
        assert [seen.path for seen in web.seen] == ["/robots.txt", "/"]


async def test_connection_goes_to_the_allowed_ones_of_a_names_addresses_and_names_the_host() -> None:
    async with serving("127.0.0.2") as web:
        url = web.html("/", "Page", "text").replace("127.0.0.1", "mixed.test")
        async with fetching("127.0.0.2/32", answers(["10.0.0.1", "127.0.0.2", "127.0.0.1"])) as fetcher:
            await fetcher.fetch(url)
        assert {seen.headers["host"] for seen in web.seen} == {f"mixed.test:{web.port}"}


async def test_unknown_name_says_so() -> None:
    async def nobody(_host: str, _port: int) -> Sequence[str]:
        raise OSError("not known")

    failed = await failure("http://nobody.test/page", resolver=nobody)
    assert (failed.code, "nobody.test" in str(failed)) == ("name_not_found", True)


@pytest.mark.parametrize(
    "url",
    ["", "nothing", "ftp://example.org/", "file:///etc/passwd", "http://", "http://a:99999/", "//x/y", "http://" + "a" * 5000],
)
async def test_what_is_no_web_address_is_refused(url: str) -> None:
    assert (await failure(url)).code == "bad_address"


# --- answers


async def test_page_is_fetched_with_its_type_and_validators_through_redirects(web: Web) -> None:
    web.html("/new", "Page", "text", etag=True)
    start = web.redirect("/old", "/new", 301)
    async with fetching() as fetcher:
        fetched = await fetcher.fetch(start)
    assert (fetched.url, fetched.content_type, fetched.charset) == (web.url("/new"), "text/html", "utf-8")
    assert b"text" in fetched.body
    assert fetched.etag
    assert web.asked("/new")[0].headers["user-agent"].startswith("DocuTalk/")


@pytest.mark.parametrize("validator", [{"etag": True}, {"last_modified": "Fri, 20 Nov 2026 10:00:00 GMT"}])
async def test_unchanged_page_is_told_by_its_validator(web: Web, validator: dict[str, Any]) -> None:
    url = web.html("/", "Page", "text", **validator)

    async def again(before: Fetched) -> Fetched:
        async with fetching() as fetcher:
            return await fetcher.fetch(url, etag=before.etag, last_modified=before.last_modified)

    first = await again(Fetched(url, b"", "", None, None, None))
    second = await again(first)
    assert (second.unchanged, second.body) == (True, b"")
    web.html("/", "Page", "other", etag=True)
    assert b"other" in (await again(first)).body


async def test_redirects_in_a_circle_end(web: Web) -> None:
    web.redirect("/a", "/b")
    web.redirect("/b", "/a")
    assert (await failure(web.url("/a"))).code == "too_many_redirects"
    assert len(web.asked("/a")) + len(web.asked("/b")) == LIMITS.redirects + 1


@pytest.mark.parametrize(("status", "said"), [(404, "no such page"), (403, "refuses us"), (500, "500"), (204, "204")])
async def test_answer_without_a_page_fails_with_what_the_host_said(web: Web, status: int, said: str) -> None:
    web.pages["/"] = Page(status=status)
    failed = await failure(web.url("/"))
    assert (failed.code, said in str(failed)) == (f"http_{status}", True)


async def test_body_that_drips_is_given_up_on_in_time(web: Web) -> None:
    web.pages["/robots.txt"] = Page(status=404)
    web.pages["/"] = Page(b"x" * 1000, drip=0.05)
    assert (await failure(web.url("/"), total_seconds=2)).code == "too_slow"
    assert web.sent < 1000


@pytest.mark.parametrize("headers", [[("Content-Length", str(ENDLESS))], []])
async def test_endless_body_is_given_up_on_at_the_limit(web: Web, headers: list[tuple[str, str]]) -> None:
    web.pages["/"] = Page(b"x" * 50_000, headers=headers, repeat=10_000)
    assert (await failure(web.url("/"))).code == "too_large"
    assert web.sent < 20_000_000


@pytest.mark.parametrize(("packed", "encoding", "code"), [
    (gzip.compress(bytes(30_000_000)), "gzip", "too_large"),
    (gzip.compress(gzip.compress(bytes(1000))), "gzip, gzip", "bad_encoding"),
    (b"not packed at all", "gzip", "bad_encoding"),
    (b"whatever", "br", "bad_encoding"),
], ids=["bomb", "packed twice", "not packed", "other packing"])  # fmt: skip
async def test_packed_body_is_counted_as_it_unpacks(web: Web, packed: bytes, encoding: str, code: str) -> None:
    web.pages["/"] = Page(packed, headers=[("Content-Encoding", encoding)])
    assert (await failure(web.url("/"))).code == code


async def test_packed_page_is_unpacked(web: Web) -> None:
    web.pages["/"] = Page(gzip.compress(b"<p>text</p>"), headers=[("Content-Encoding", "gzip")])
    async with fetching() as fetcher:
        assert (await fetcher.fetch(web.url("/"))).body == b"<p>text</p>"


@pytest.mark.parametrize(
    ("page", "codes"),
    [
        (Page(reset=True), {"bad_answer", "unreachable"}),
        (Page(b"x", headers=[("X-Long", "y" * 300_000)]), {"bad_answer"}),
        (Page(b"x", headers=[("Content-Length", "500")]), {"bad_answer"}),
    ],
)
async def test_host_that_breaks_off_or_talks_nonsense_is_told_apart(web: Web, page: Page, codes: set[str]) -> None:
    web.pages["/robots.txt"] = Page(status=404)
    web.pages["/"] = page
    assert (await failure(web.url("/"))).code in codes


async def test_host_that_is_not_there_is_unreachable() -> None:
    async with serving() as web:
        url = web.url("/")
    assert (await failure(url)).code in ("unreachable", "robots_unknown")


# --- politeness


async def test_names_are_looked_up_in_threads_of_their_own() -> None:
    """Those of the loop connect to PostgreSQL and NATS; a name server that never answers would hold them."""
    await system_resolver("localhost", 80)
    assert any(thread.name.startswith("names") for thread in threading.enumerate())


async def test_robots_txt_is_obeyed_and_asked_once_an_hour(web: Web) -> None:
    web.pages["/robots.txt"] = Page(b"User-agent: *\nDisallow: /private\n", "text/plain")
    open_page, closed = web.html("/open", "Open", "text"), web.html("/private/page", "Private", "text")
    clock = [0.0]
    async with fetching(now=lambda: clock[0]) as fetcher:
        await fetcher.fetch(open_page)
        with pytest.raises(FetchFailed) as caught:
            await fetcher.fetch(closed)
        assert caught.value.code == "robots_disallow"
        assert (len(web.asked("/robots.txt")), web.asked("/private/page")) == (1, [])
        clock[0] = 3601
        web.pages["/robots.txt"] = Page(b"User-agent: DocuTalk\nDisallow: /open\n", "text/plain")
        with pytest.raises(FetchFailed):
            await fetcher.fetch(open_page)
    assert len(web.asked("/robots.txt")) == 2


async def test_redirect_to_a_page_that_robots_may_not_have_is_not_followed(web: Web) -> None:
    web.pages["/robots.txt"] = Page(b"User-agent: *\nDisallow: /private\n", "text/plain")
    web.html("/private", "Private", "text")
    assert (await failure(web.redirect("/", "/private"))).code == "robots_disallow"


@pytest.mark.parametrize(
    ("robots", "code"),
    [
        (Page(status=404), None),
        (Page(status=403), None),
        (Page(status=500), "robots_unknown"),
        (Page(reset=True), "robots_unknown"),
    ],
)
async def test_robots_txt_that_is_missing_permits_and_one_that_cannot_be_had_does_not(
    web: Web, robots: Page, code: str | None
) -> None:
    web.pages["/robots.txt"] = robots
    url = web.html("/", "Page", "text")
    if code is None:
        async with fetching() as fetcher:
            await fetcher.fetch(url)
    else:
        assert (await failure(url)).code == code
        assert web.asked("/") == []


async def test_huge_robots_txt_is_read_as_far_as_it_is_sensible(web: Web) -> None:
    web.pages["/robots.txt"] = Page(b"User-agent: *\nDisallow: /private\n" + b"# nothing\n" * 50_000, "text/plain", repeat=100)
    assert (await failure(web.html("/private", "Private", "text"))).code == "robots_disallow"


async def test_robots_txt_for_thousands_of_names_with_thousands_of_rules_costs_no_time(web: Web) -> None:
    """The library copies each rule to each name: this one took half a minute on the event loop, and gigabytes."""
    names = "".join(f"User-agent: robot{number}\n" for number in range(4_000))
    rules = "".join(f"Disallow: /{number}\n" for number in range(4_000))
    web.pages["/robots.txt"] = Page(f"{names}User-Agent : DocuTalk/9\n{rules}".encode(), "text/plain")
    async with asyncio.timeout(5):
        assert (await failure(web.html("/3999", "Page", "text"))).code == "robots_disallow"


async def test_group_of_another_robot_is_not_ours(web: Web) -> None:
    lines = [
        "user agent other",
        "Disallow: /",
        "User-agent: MyDocuTalk",
        "Disallow: /",
        "useragent: docutalk",
        "Disallow: /private",
    ]
    web.pages["/robots.txt"] = Page("\n".join(lines).encode(), "text/plain")
    async with fetching() as fetcher:
        await fetcher.fetch(web.html("/", "Page", "text"))
    assert (await failure(web.html("/private", "Page", "text"))).code == "robots_disallow"


async def test_robots_txt_of_many_hosts_are_forgotten_before_they_fill_the_memory(web: Web) -> None:
    async with fetching(resolver=answers(["127.0.0.1"])) as fetcher:
        web.pages["/robots.txt"] = Page(b"# a long comment\n" * 30_000, "text/plain")
        web.html("/", "Page", "text")
        for host in ("a", "b", "c", "d", "e", "a"):
            await fetcher.fetch(web.url("/", host))
        await fetcher.fetch(web.url("/", "e"))
    assert len(web.asked("/robots.txt")) == 6, "the first one was forgotten, the later ones were not"


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (Page(status=503, headers=[("Retry-After", "9" * 400)]), "busy"),
        (Page(status=503, headers=[("Retry-After", "Fri, 20 Nov 2026 16:00:00 +99999999999999999999")]), "busy"),
        (Page(headers=[("\x01" * 50_000, "")]), "bad_answer"),
        (Page(status=302, headers=[("Location", "http://xn--/")]), "bad_answer"),
    ],
    ids=["endless wait", "wait of another world", "no header", "no name"],
)
async def test_odd_answer_fails_with_a_short_reason(web: Web, page: Page, code: str) -> None:
    web.pages["/"] = page
    odd = await failure(web.url("/"))
    assert odd.code == code
    assert len(str(odd)) < 500


async def test_validator_that_cannot_be_sent_back_is_not_kept(web: Web) -> None:
    async with fetching() as fetcher:
        fetched = await fetcher.fetch(web.html("/", "Page", "text", headers=[("ETag", '"\xe9"')]))
        assert fetched.etag is None
        await fetcher.fetch(web.url("/"), etag=fetched.etag, last_modified=fetched.last_modified)


async def test_one_host_is_asked_one_at_a_time_with_a_pause(web: Web) -> None:
    urls = [web.html(f"/{number}", "Page", "text", drip=0.0005) for number in range(4)]
    web.pages["/robots.txt"] = Page(b"User-agent: *\nCrawl-delay: 0.2\n", "text/plain")
    started = time.monotonic()
    async with fetching() as fetcher:
        await asyncio.gather(*(fetcher.fetch(url) for url in urls))
    assert web.most_at_once == 1
    assert time.monotonic() - started >= 3 * 0.2


async def test_crawl_delay_has_a_limit(web: Web) -> None:
    web.pages["/robots.txt"] = Page(b"User-agent: *\nCrawl-delay: 86400\n", "text/plain")
    url = web.html("/", "Page", "text")
    async with fetching(crawl_delay_seconds=0.1) as fetcher, asyncio.timeout(5):
        await fetcher.fetch(url)
        await fetcher.fetch(url)


async def test_busy_host_is_waited_for_as_long_as_it_asks_within_reason(web: Web) -> None:
    url = web.html("/", "Page", "text")
    page = web.pages["/"]

    def recover() -> None:
        web.pages["/"] = page

    web.pages["/"] = Page(status=503, headers=[("Retry-After", "0")], before=recover)
    async with fetching() as fetcher:
        assert b"text" in (await fetcher.fetch(url)).body
    web.pages["/"] = Page(status=429, headers=[("Retry-After", "9999")])
    busy = await failure(url)
    assert (busy.code, "9999" in str(busy)) == ("busy", True)
    web.pages["/"] = Page(status=503)
    assert (await failure(url)).code == "busy"


async def test_password_goes_to_its_own_host_only_and_is_never_shown(web: Web) -> None:
    async with serving() as other:
        other.html("/there", "There", "text")
        web.redirect("/here", other.url("/there"))
        url = web.url("/here").replace("http://", "http://user:secret@")
        async with fetching() as fetcher:
            fetched = await fetcher.fetch(url, headers={"X-Key": "key"})
        assert web.asked("/here")[0].headers["authorization"].startswith("Basic ")
        assert web.asked("/here")[0].headers["x-key"] == "key"
        assert not {"authorization", "x-key"} & set(other.asked("/there")[0].headers)
    assert "secret" not in fetched.url
    assert "secret" not in str(await failure(web.url("/gone").replace("http://", "http://user:secret@")))


async def test_cookies_are_not_kept(web: Web) -> None:
    url = web.html("/", "Page", "text", headers=[("Set-Cookie", "who=me; Path=/")])
    async with fetching() as fetcher:
        await fetcher.fetch(url)
        await fetcher.fetch(url)
    assert "cookie" not in web.asked("/")[1].headers
