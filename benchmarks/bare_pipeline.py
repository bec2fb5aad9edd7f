"""The baseline of `financebench.py`: parse and cut files, then embed all chunks, in one process without any service.

Prints the seconds of both parts and, last, their sum. Loading is left out, as the services are loaded before.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from docutalk_embed.adapters.minilm import MiniLM
from docutalk_embed.adapters.processors import available_processors
from docutalk_ingest.adapters.extraction import PAGES_FILE, Extractor


def main(files: list[str]) -> None:
    extract = Extractor({})
    engine = MiniLM(threads=available_processors())
    texts: list[str] = []
    started = time.perf_counter()
    for name in files:
        with tempfile.TemporaryDirectory() as folder:
            extract(Path(name), Path(name).name, Path(folder), lambda done, of: None)
            for line in (Path(folder) / PAGES_FILE).read_text(encoding="utf-8").splitlines():
                page = json.loads(line)
                texts += [page["text"][start:end] for start, end, _ in page["chunks"]]
    extracted = time.perf_counter() - started
    started = time.perf_counter()
    engine.embed(texts)
    embedded = time.perf_counter() - started
    print(f"{len(texts)} chunks: extraction {extracted:.1f} s, embedding {embedded:.1f} s")
    print(extracted + embedded)


if __name__ == "__main__":
    main(sys.argv[1:])
