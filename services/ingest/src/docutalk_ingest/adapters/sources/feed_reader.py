"""Reads a feed in a process of its own: whatever a hostile feed does to the parser, it ends by itself and takes nothing along.

The bytes were fetched by us; the parser never fetches. The child is `feed_parser`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass

from docutalk_common.process import cancel_all

from docutalk_ingest.adapters.sources.item import ListingFailed

WALL_SECONDS = 30.0
MAX_FEED_BYTES = 20 << 20


@dataclass(frozen=True)
class Entry:
    """One entry; `content` is HTML that the parser has cleaned, relative links made absolute."""

    key: str
    title: str
    link: str
    content: str
    author: str = ""
    published: str = ""


async def read_feed(body: bytes, url: str, content_type: str, most: int) -> list[Entry]:
    """At most `most` entries, in the order of the feed. Raises `ListingFailed` for what is no feed."""
    if len(body) > MAX_FEED_BYTES:
        raise ListingFailed("feed_too_large", f"The feed {url} is larger than {MAX_FEED_BYTES >> 20} MB.")
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-m",
        "docutalk_ingest.adapters.sources.feed_parser",
        url,
        content_type,
        str(most),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
    )
    talking = asyncio.create_task(child.communicate(body))
    try:
        async with asyncio.timeout(WALL_SECONDS):
            output, _ = await talking
    except TimeoutError:
        raise ListingFailed("bad_feed", f"The feed {url} could not be read within {WALL_SECONDS:g} seconds.") from None
    finally:
        if child.returncode is None:
            child.kill()
        await cancel_all([talking])
        await child.wait()
    if child.returncode != 0:
        raise ListingFailed("bad_feed", f"The feed {url} could not be read: it needs more time or memory than a feed may have.")
    found = await asyncio.to_thread(json.loads, output)
    if found["entries"] is None:
        raise ListingFailed("bad_feed", f"{url} is not a feed: {found['why']}.")
    return [Entry(**entry) for entry in found["entries"]]
