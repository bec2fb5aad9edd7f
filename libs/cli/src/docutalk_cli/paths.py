"""Which files a command line means: files, folders with all that is in them, patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class NothingThere(Exception):
    """A path or a pattern that matches nothing; `str` says which."""


@dataclass
class Found:
    """`files` in the order in which they were named, each once. `skipped` says why, for what was passed over in folders."""

    files: list[Path] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)


def find_files(patterns: Sequence[str]) -> Found:
    """The files that are meant. Below a folder what is hidden is passed over, and what is no regular file; links to folders
    are not followed. Raises `NothingThere`, before anything is done with the others."""
    found = Found()
    seen: set[Path] = set()
    for pattern in patterns:
        paths = [Path(pattern)] if Path(pattern).exists() else [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
        if not paths:
            raise NothingThere(f"there is no file {pattern}")
        before = len(found.files), len(found.skipped)
        for path in paths:
            for file in _below(path, found.skipped) if path.is_dir() else iter([path]):
                if (key := file.resolve()) not in seen:
                    seen.add(key)
                    found.files.append(file)
        if (len(found.files), len(found.skipped)) == before and all(path.is_dir() and not any(path.iterdir()) for path in paths):
            raise NothingThere(f"there are no files in {pattern}")
    return found


def _below(folder: Path, skipped: list[tuple[Path, str]]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        skipped.append((Path(error.filename or folder), f"cannot be read: {error.strerror}"))

    for place, folders, names in os.walk(folder, onerror=unreadable):
        here = Path(place)
        for name in [name for name in folders if name.startswith(".")]:
            skipped.append((here / name, "hidden"))
            folders.remove(name)
        folders.sort()
        for name in sorted(names):
            path = here / name
            if name.startswith("."):
                skipped.append((path, "hidden"))
            elif path.is_file():
                yield path
            else:
                skipped.append((path, "no regular file"))


def summary(skipped: Sequence[tuple[Path, str]]) -> str:
    """`3 hidden (.git, .DS_Store, …), 1 no regular file (socket)`."""
    by_reason: dict[str, list[str]] = {}
    for path, reason in skipped:
        by_reason.setdefault(reason, []).append(path.name)
    parts = []
    for reason, names in by_reason.items():
        distinct = list(dict.fromkeys(names))
        shown = ", ".join(distinct[:3]) + (", …" if len(distinct) > 3 else "")
        parts.append(f"{len(names):,} {reason} ({shown})")
    return ", ".join(parts)
