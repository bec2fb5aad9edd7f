"""The child of `feed_reader`: a feed on its standard input, its entries as JSON on its standard output."""

from __future__ import annotations

import hashlib
import html
import io
import json
import resource
import sys
from typing import Any

import feedparser

CPU_SECONDS = 20
MEMORY_BYTES = 1 << 30
MAX_CONTENT = 2_000_000
MAX_OUTPUT = 64 << 20
"""Characters of the answer: links made absolute can be hundreds of times as long."""


def parse(body: bytes, url: str, content_type: str, most: int) -> dict[str, Any]:
    """`entries` is None for what is no feed; `why` says what is wrong with it."""
    headers = {"content-location": url, **({"content-type": content_type} if content_type else {})}
    # A stream, never the bytes or the address themselves: those it would try to open or to fetch.
    parsed = feedparser.parse(io.BytesIO(body), response_headers=headers)
    if not parsed.entries and not parsed.version:
        return {"entries": None, "why": str(parsed.get("bozo_exception") or "it holds no entries")[:300]}
    return {"entries": [_entry(entry) for entry in parsed.entries[:most]], "why": None}


def _entry(entry: Any) -> dict[str, str]:
    """The fields of `feed_reader.Entry`."""
    title = str(entry.get("title") or "")
    link = str(entry.get("link") or "")
    texts = [part for part in entry.get("content") or [] if part.get("value")] or [entry.get("summary_detail") or {}]
    content = "\n".join(
        html.escape(str(text.get("value") or "")) if text.get("type") == "text/plain" else str(text.get("value") or "")
        for text in texts
    )[:MAX_CONTENT]
    key = str(entry.get("id") or link) or hashlib.sha256(f"{title}\n{content}".encode("utf-8", "replace")).hexdigest()
    when = str(entry.get("published") or entry.get("updated") or "")
    return {
        "key": key,
        "title": title[:1000],
        "link": link[:4096],
        "content": content,
        "author": str(entry.get("author") or "")[:300],
        "published": when[:100],
    }


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    url, content_type, most = sys.argv[1:4]
    found = parse(sys.stdin.buffer.read(), url, content_type, int(most))
    answer = json.dumps(found)
    if len(answer) > MAX_OUTPUT:
        sys.exit(1)
    sys.stdout.write(answer)


if __name__ == "__main__":
    _main()
