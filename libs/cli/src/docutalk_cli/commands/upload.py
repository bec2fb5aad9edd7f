"""`docutalk upload`: files into a workspace, followed until each is ready or has failed."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from docutalk_cli.client import Api, ClientError, Json, NotReachable, NotSignedIn
from docutalk_cli.follow import Follower, patiently
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, in_workspace, run
from docutalk_cli.output import Exit, Output, count

_BAR_WIDTH = 24


def upload(
    files: Annotated[list[str], typer.Argument(help="Files, patterns such as 'reports/*.pdf', and with --recursive folders.")],
    *,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Take every file below a folder.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return once the files are accepted.")] = False,
    parallel: Annotated[int, typer.Option(min=1, max=32, help="How many files are sent at once.")] = 4,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Upload files and wait until they can be searched. Exit code 1 when any of them fails.

    Repeating an upload is safe: bytes that the workspace has already are not stored again.
    """
    output = Output(as_json=as_json)
    paths = list(_paths(files, recursive=recursive))

    async def work() -> Exit:
        async with in_workspace(url, home, workspace) as (api, workspace_id):
            try:
                with _Board(output, len(paths)) as board:
                    results = await _upload_all(api, workspace_id, paths, board, parallel=parallel, wait=not no_wait)
            except asyncio.CancelledError:
                output.note("Interrupted. Files that were sent whole go on being processed: docutalk status")
                raise
        if as_json:
            output.json({"documents": results})
        failed = sum("error" in result or result["status"] in ("failed", "cancelled") for result in results)
        if failed and len(paths) > 1 and not as_json:
            output.note(f"{failed} of {len(paths)} failed.")
        return Exit.FAILED if failed else Exit.OK

    run(output, work)


def _paths(patterns: list[str], *, recursive: bool) -> Iterator[Path]:
    """The files that are meant, each once. Raises `typer.BadParameter` for what is not there, before anything is sent."""
    seen: set[Path] = set()
    for pattern in patterns:
        if Path(pattern).exists():
            found = [Path(pattern)]
        else:
            # A pattern means files: folders that it happens to match are left out, unless folders are wanted.
            matching = (Path(name) for name in sorted(glob.glob(pattern, recursive=True)))
            found = [path for path in matching if recursive or path.is_file()]
        if not found:
            raise typer.BadParameter(f"there is no file {pattern}", param_hint="FILES")
        for path in found:
            for file in _files(path, recursive=recursive):
                if (key := file.resolve()) not in seen:
                    seen.add(key)
                    yield file


def _files(path: Path, *, recursive: bool) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    if not recursive:
        raise typer.BadParameter(f"{path} is a folder; --recursive takes the files in it", param_hint="FILES")
    below = [file for file in sorted(path.rglob("*")) if file.is_file() and not _is_hidden(file.relative_to(path))]
    if not below:
        raise typer.BadParameter(f"there are no files in {path}", param_hint="FILES")
    yield from below


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


async def _upload_all(api: Api, workspace: str, paths: list[Path], board: _Board, *, parallel: int, wait: bool) -> list[Json]:
    """Results in the order of the files: the document with `seconds`, or `{filename, error}`."""
    slots = asyncio.Semaphore(parallel)
    async with contextlib.AsyncExitStack() as stack:
        follower = await stack.enter_async_context(Follower(api, workspace).listening()) if wait else None
        return await asyncio.gather(*(_upload_one(api, workspace, path, board, slots=slots, follower=follower) for path in paths))


async def _upload_one(
    api: Api, workspace: str, path: Path, board: _Board, *, slots: asyncio.Semaphore, follower: Follower | None
) -> Json:
    row: _Row | None = None
    try:
        async with slots:
            began = time.monotonic()
            with path.open("rb") as file:
                row = board.add(path.name, os.fstat(file.fileno()).st_size)
                answer = await api.upload(f"/workspaces/{workspace}/documents", path.name, _Counted(file, row.sent))
        document: Json = dict(answer["documents"][0])
        if follower is not None:
            duplicate = document.get("duplicate_of")
            document = await patiently(api, follower, document["id"], row.moved)
            document |= {"duplicate_of": duplicate}
        document |= {"path": str(path), "seconds": round(time.monotonic() - began, 2)}
    except OSError as error:
        document = {"path": str(path), "filename": path.name, "error": f"it cannot be read: {error.strerror}"}
    except (NotReachable, NotSignedIn):
        # The same would happen to every other file.
        raise
    except ClientError as error:
        document = {"path": str(path), "filename": path.name, "error": str(error)}
    board.finish(row, document)
    return document


class _Counted:
    """A file that tells how much of it was read, which is what was sent."""

    def __init__(self, file: Any, sent: Callable[[int], None]) -> None:
        self._file = file
        self._sent = sent

    def read(self, size: int = -1) -> bytes:
        """Reads on."""
        data: bytes = self._file.read(size)
        self._sent(self._file.tell())
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Goes somewhere else; a refused request is sent again from the start."""
        position: int = self._file.seek(offset, whence)
        return position

    def tell(self) -> int:
        """Where it is."""
        position: int = self._file.tell()
        return position

    def fileno(self) -> int:
        """For the size."""
        number: int = self._file.fileno()
        return number


@dataclass
class _Row:
    """One file's bar."""

    progress: Progress
    task: TaskID
    name: str
    size: int

    def sent(self, position: int) -> None:
        """So many bytes are on their way."""
        what = "sending" if position < self.size else "storing"
        self.progress.update(self.task, completed=position, total=max(self.size, 1), what=what)

    def moved(self, document: Json) -> None:
        """The document is somewhere else. Those that wait in the queue show no bar: many files would fill the screen."""
        status, done = document["status"], document["progress"]
        what = {"queued": "waiting", "extracting": "reading"}.get(status, status)
        if done["chunks_total"]:
            what = f"{done['chunks_done']:,}/{done['chunks_total']:,} passages"
        elif done["pages_total"]:
            what = count(done["pages_total"], "page")
        self.progress.update(self.task, completed=done["percent"], total=100, what=what, visible=status != "queued")


class _Board:
    """What a person sees while files are sent and worked on: bars for what moves, a line for what is done."""

    def __init__(self, output: Output, files: int) -> None:
        self._output = output
        self._files = files
        self._done = 0
        self._progress = Progress(
            TextColumn("{task.fields[name]}", style="bold", markup=False),
            BarColumn(bar_width=_BAR_WIDTH),
            TextColumn("{task.fields[what]}", style="dim", markup=False),
            console=output.out,
            transient=True,
            disable=not output.interactive,
        )
        self._total = self._progress.add_task("", name="all", what="", total=files, visible=files > 1)

    def __enter__(self) -> _Board:
        self._progress.start()
        self._count()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def add(self, name: str, size: int) -> _Row:
        """A bar for a file."""
        task = self._progress.add_task("", name=_shortened(name, self._output.out.width // 2), what="sending", total=max(size, 1))
        return _Row(self._progress, task, name, size)

    def finish(self, row: _Row | None, result: Json) -> None:
        """The file's bar becomes a line."""
        if row is not None:
            self._progress.remove_task(row.task)
        self._done += 1
        self._count()
        if not self._output.as_json:
            self._output.line(_summary(result))

    def _count(self) -> None:
        self._progress.update(
            self._total,
            completed=self._done,
            what=f"{self._done} of {self._files} files done",
        )


def _summary(result: Json) -> Text:
    name = result["filename"]
    if "error" in result:
        return Text.assemble(("✗ ", "red"), (name, "bold"), f": {result['error']}")
    parts: list[str] = []
    if result.get("duplicate_of"):
        parts.append("already here")
    if result["status"] == "ready":
        parts += [count(result["page_count"] or 0, "page"), count(result["chunk_count"] or 0, "passage")]
        if not result["chunk_count"]:
            parts.append("no text was found in it")
        parts.append(f"{result['seconds']:.1f} s")
        return Text.assemble(("✓ ", "green"), (name, "bold"), f": {', '.join(parts)}")
    if result["status"] in ("failed", "cancelled"):
        parts.append(result.get("reason") or result["status"])
        return Text.assemble(("✗ ", "red"), (name, "bold"), f": {', '.join(parts)}")
    parts += [f"accepted ({result['status']})", result["id"]]
    return Text.assemble(("✓ ", "green"), (name, "bold"), f": {', '.join(parts)}")


def _shortened(name: str, width: int) -> str:
    """A long name keeps its beginning and its end, where names differ."""
    if len(name) <= width:
        return name
    tail = max(4, width // 3)
    return f"{name[: width - tail - 1]}…{name[-tail:]}"
