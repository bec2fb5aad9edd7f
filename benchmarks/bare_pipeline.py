"""The baseline of `financebench.py` and `ingestion.py`: read and cut files, then embed all chunks, in one process without any
service.

Takes folders; prints for each a line of JSON: `folder`, `files`, `pages`, `chunks`, `reading` and `embedding` in seconds.
Loading is left out, as the services are loaded before. Pages that wait for OCR are left out, too.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from docutalk_common import telemetry
from docutalk_embed.adapters.minilm import MiniLM
from docutalk_embed.adapters.processors import available_processors
from docutalk_ingest.adapters.extraction import PAGES_FILE, Extractor


def main(folders: list[str]) -> None:
    telemetry.configure_logging("benchmark", log_format="json", level="ERROR")
    extract = Extractor({})
    engine = MiniLM(threads=available_processors())
    engine.embed(["once, so that the first folder does not pay for it"])
    for name in folders:
        files = sorted(Path(name).iterdir())
        texts: list[str] = []
        pages = 0
        started = time.perf_counter()
        for file in files:
            with tempfile.TemporaryDirectory() as folder:
                extract("extract", Path(folder), lambda done, of: None, path=str(file), filename=file.name)
                for line in (Path(folder) / PAGES_FILE).read_text(encoding="utf-8").splitlines():
                    page = json.loads(line)
                    pages += 1
                    texts += [page["text"][start:end] for start, end, _ in page["chunks"]]
        read = time.perf_counter()
        engine.embed(texts)
        row = {
            "folder": Path(name).name,
            "files": len(files),
            "pages": pages,
            "chunks": len(texts),
            "reading": read - started,
            "embedding": time.perf_counter() - read,
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
