"""`python -m docutalk_gateway.openapi [FILE]`: the OpenAPI document, byte for byte the same for the same routes.

Refuses to write over a document that the new one would break, unless `--breaking` says that this is meant.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from docutalk_gateway.api.compatibility import breaking_changes
from docutalk_gateway.app import build_routes


def document() -> str:
    """The document as it is committed."""
    return json.dumps(build_routes().openapi(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def write(file: Path, *, breaking: bool) -> int:
    """Writes the document; the exit code. With breaking changes, and not `breaking`, only tells them."""
    text = document()
    if file.exists() and not breaking:
        changes = breaking_changes(json.loads(file.read_text(encoding="utf-8")), json.loads(text))
        if changes:
            sys.stderr.write("This breaks callers of the API:\n" + "".join(f"  {change}\n" for change in changes))
            return 1
    file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--breaking", action="store_true", help="write it although it breaks callers")
    arguments = parser.parse_args()
    if arguments.file is None:
        sys.stdout.write(document())
    else:
        sys.exit(write(arguments.file, breaking=arguments.breaking))
