"""Rules that came up in review more than once, as checks. Each says which bug it comes from.

Run by `make lint`; prints what is wrong and exits with 1.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SELF = Path(__file__).relative_to(ROOT)

Rule = tuple[str, re.Pattern[str], str]

RULES: tuple[Rule, ...] = (
    (
        # A patched internal keeps passing after the real one has changed. Pass the collaborator in, or use the server.
        "patched internals",
        re.compile(r"unittest\.mock|mocker\.|monkeypatch\.setattr"),
        "*.py",
    ),
    (
        # A durable subscriber outside of the middleware has no inbox, no heartbeat, and loses a message on its first error.
        "subscribers outside of the broker",
        re.compile(r"\.pull_subscribe\(|\.subscriber\("),
        "services/*.py",
    ),
    (
        # `publish` on JetStream without a stream is not acknowledged; an event published past the outbox exists even if
        # its transaction did not commit.
        "events published past the outbox",
        re.compile(r"""\.publish\(\s*f?["'](evt|work)\."""),
        "services/*.py",
    ),
    ("unfinished marks", re.compile(r"\b(TODO|FIXME|XXX)\b"), "*.py"),
    # A test that waits for a time is slow when it passes and flaky when it fails: wait for the condition.
    ("tests that wait for a time", re.compile(r"\btime\.sleep\((?!0\.[0-2])"), "*tests/*.py"),
)

# Rooms without a name take everything in.
NAMELESS = re.compile(r"(^|/)(utils?|helpers?|misc|manager|service)\.py$")
# A consumer file is named `<owner>_<entity>_<verb>.py` (or `request_<entity>_<verb>.py`), so that `ls` shows the event flow.
CONSUMER = re.compile(r"/consumers/(__init__|[a-z]+_[a-z]+(_[a-z]+)+)\.py$")


def tracked() -> list[Path]:
    """The files that are, or are about to be, in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Path(line) for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def violations() -> Iterator[str]:
    """One line for each."""
    files = [path for path in tracked() if path.suffix == ".py" and path != SELF]
    for path in files:
        if NAMELESS.search(str(path)):
            yield f"{path}: a name that says nothing; name it after what it does"
        if "/consumers/" in str(path) and "/tests/" not in str(path) and not CONSUMER.search(str(path)):
            yield f"{path}: consumers are named <owner>_<entity>_<verb>.py"
        text = (ROOT / path).read_text(encoding="utf-8")
        for what, pattern, where in RULES:
            if path.match(where) or where == "*.py" or _inside(path, where):
                for number, line in enumerate(text.splitlines(), 1):
                    if pattern.search(line) and "house-rule:" not in line:
                        yield f"{path}:{number}: {what}"


def _inside(path: Path, where: str) -> bool:
    folder = where.split("/", maxsplit=1)[0].strip("*")
    return "/" in where and folder in path.parts


if __name__ == "__main__":
    found = list(violations())
    sys.stdout.write("".join(line + "\n" for line in found))
    sys.exit(1 if found else 0)
