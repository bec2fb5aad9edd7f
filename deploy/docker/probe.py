"""Asks this container's own probe: exit code 0 for an answer of 200, else 1. Needs nothing but the standard library."""

from __future__ import annotations

import http.client
import os
import sys


def main(path: str) -> int:
    """`path` is `/livez` or `/readyz`."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["DOCUTALK_PROBE_PORT"]), timeout=2)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except OSError as error:
        sys.stderr.write(f"{path}: {error}\n")
        return 1
    finally:
        connection.close()
    return 0 if status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "/readyz"))
