"""`python -m docutalk_gateway.openapi [FILE]`: the OpenAPI document, byte for byte the same for the same routes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from docutalk_gateway.app import build_routes


def document() -> str:
    """The document as it is committed."""
    return json.dumps(build_routes().openapi(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(document(), encoding="utf-8")
    else:
        sys.stdout.write(document())
