"""`docutalk upload`: files into a workspace, followed until each is ready or has failed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, TaskID
from rich.text import Text

from docutalk_cli.bars import Bars
from docutalk_cli.client import Api, ClientError, Json, NotReachable, NotSignedIn
from docutalk_cli.follow import Follower, patiently, workspace_progress
from docutalk_cli.lookup import document_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, in_workspace, run
from docutalk_cli.output import Exit, Output, count, duration
from docutalk_cli.paths import Found, NothingThere, find_files, summary

# On a terminal more lines than this are only counted; what failed is listed in the end.
_LINES = 30
_BAD = ("failed", "cancelled")


def upload(
    files: Annotated[list[str], typer.Argument(metavar="PATHS...", help="Files, folders, patterns such as 'reports/*.pdf'.")],
    *,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", hidden=True, help="Folders are always taken whole.")] = False,
    version_of: Annotated[
        str | None, typer.Option("--version-of", metavar="DOCUMENT", help="The file is a new version of this document.")
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return once the files are accepted.")] = False,
    parallel: Annotated[int, typer.Option(min=1, max=32, help="How many files are sent at once.")] = 4,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Upload files and wait until they can be searched. Exit code 1 when any of them fails.

    Folders are taken with everything below them but hidden files. Repeating an upload is safe and goes on where it stopped:
    bytes that the workspace has already are not stored again.
    """
    output = Output(as_json=as_json)
    found = _found(files)
    if version_of is not None and len(found.files) != 1:
        raise typer.BadParameter("a new version is one file", param_hint="--version-of")

    async def work() -> Exit:
        if found.skipped and not as_json:
            output.note(f"Skipped: {summary(found.skipped)}.")
        began = time.monotonic()
        async with in_workspace(url, home, workspace) as (api, workspace_id):
            target = f"/workspaces/{workspace_id}/documents"
            if version_of is not None:
                target += f"/{(await document_of(api, workspace_id, version_of))['id']}/versions"
            board = Board(output, len(found.files))
            sending = _Sending(api, workspace_id, target, board, slots=asyncio.Semaphore(parallel))
            try:
                with board:
                    results = await sending.all(found.files, wait=not no_wait)
            except (asyncio.CancelledError, NotReachable, NotSignedIn) as error:
                _interrupted(output, board, len(found.files), by_hand=isinstance(error, asyncio.CancelledError))
                raise
        if as_json:
            skipped = [{"path": str(path), "reason": reason} for path, reason in found.skipped]
            output.json({"documents": results, "skipped": skipped})
        else:
            board.close(results, time.monotonic() - began)
        return Exit.FAILED if any(is_bad(result) for result in results) else Exit.OK

    run(output, work)


def _found(patterns: list[str]) -> Found:
    try:
        found = find_files(patterns)
    except NothingThere as error:
        raise typer.BadParameter(str(error), param_hint="PATHS") from None
    if not found.files:
        raise typer.BadParameter(f"nothing to upload: {summary(found.skipped)}", param_hint="PATHS")
    return found


def _interrupted(output: Output, board: Board, files: int, *, by_hand: bool) -> None:
    what = "Interrupted" if by_hand else "Stopped"
    if not board.sent:
        output.note(f"{what}. Nothing was sent.")
        return
    sent = "Everything was sent" if board.sent == files else f"{board.sent:,} of {count(files, 'file')} were sent"
    rest = "" if board.sent == files else " The same command again sends the rest."
    output.note(f"{what}. {sent}, and the server goes on with it: docutalk status lists it, docutalk events follows it.{rest}")


def is_bad(result: Json) -> bool:
    """Whether a file was refused or its document did not become ready."""
    return "error" in result or result["status"] in _BAD


class _Sending:
    """The files of one command on their way."""

    def __init__(self, api: Api, workspace: str, target: str, board: Board, *, slots: asyncio.Semaphore) -> None:
        self._api = api
        self._workspace = workspace
        self._target = target
        self._board = board
        self._slots = slots

    async def all(self, paths: list[Path], *, wait: bool) -> list[Json]:
        """Results in the order of the files: the document with `path` and `seconds`, or `{path, filename, error}`."""
        async with contextlib.AsyncExitStack() as stack:
            follower = await stack.enter_async_context(Follower(self._api, self._workspace).listening()) if wait else None
            if wait and len(paths) > 1:
                whole = asyncio.create_task(workspace_progress(self._api, self._workspace, self._board.whole))
                stack.callback(whole.cancel)
            tasks = [asyncio.ensure_future(self._one(path, follower)) for path in paths]
            try:
                return await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, path: Path, follower: Follower | None) -> Json:
        row: Row | None = None
        try:
            async with self._slots:
                began = time.monotonic()
                with path.open("rb") as file:
                    row = self._board.add(path.name, os.fstat(file.fileno()).st_size)
                    answer = await self._api.upload(self._target, path.name, Counted(file, row.sent))
                self._board.sent += 1
            document: Json = dict(answer["documents"][0]) if "documents" in answer else answer
            said = {"duplicate_of": document.get("duplicate_of"), "unchanged": document.get("unchanged", False)}
            if follower is not None:
                document = await patiently(self._api, follower, document["id"], row.moved)
            document = document | said | {"path": str(path), "seconds": round(time.monotonic() - began, 2)}
        except OSError as error:
            document = {"path": str(path), "filename": path.name, "error": f"it cannot be read: {error.strerror}"}
        except (NotReachable, NotSignedIn):
            # The same would happen to every other file.
            raise
        except ClientError as error:
            document = {"path": str(path), "filename": path.name, "error": str(error)}
        self._board.finish(row, document)
        return document


class Counted:
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
class Row:
    """One file's bar."""

    progress: Progress
    task: TaskID
    size: int

    def sent(self, position: int) -> None:
        """So many bytes are on their way."""
        what = "sending" if position < self.size else "storing"
        self.progress.update(self.task, completed=position, total=max(self.size, 1), what=what)

    def moved(self, document: Json) -> None:
        """The document is somewhere else. Those that wait in the queue show no bar: many files would fill the screen."""
        status, done = document["status"], document["progress"]
        what = str({"queued": "waiting", "extracting": "reading"}.get(status, status))
        if done["chunks_total"]:
            what = f"{done['chunks_done']:,}/{done['chunks_total']:,} passages"
        elif done["pages_total"]:
            what = f"{done['pages_done']:,}/{count(done['pages_total'], 'page')}"
        if done.get("eta_seconds"):
            what += f", about {duration(done['eta_seconds'])}"
        self.progress.update(self.task, completed=done["percent"], total=100, what=what, visible=status != "queued")


class Board:
    """What a person sees while files are sent and worked on: counts of all, bars for what moves, a line for what is done."""

    def __init__(self, output: Output, files: int) -> None:
        self.sent = 0
        self._output = output
        self._files = files
        self._results: list[Json] = []
        self._counts: dict[str, tuple[int, int]] = {}
        self._eta: float | None = None
        self._quiet = output.as_json or (output.interactive and files > _LINES)
        self._bars = Bars(output)

    def __enter__(self) -> Board:
        self._bars.start()
        self._count()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def add(self, name: str, size: int) -> Row:
        """A bar for a file."""
        shown = _shortened(name, self._output.out.width // 2)
        return Row(self._bars, self._bars.add_task(shown, what="sending", total=max(size, 1)), size)

    def finish(self, row: Row | None, result: Json) -> None:
        """The file's bar becomes a line, what went wrong only in the end."""
        if row is not None:
            self._bars.remove_task(row.task)
        self._results.append(result)
        self._count()
        if not self._quiet and not is_bad(result):
            self._output.line(outcome(result))

    def whole(self, progress: Json) -> None:
        """How far the workspace is, others' documents included: it counts what is unfinished, and what is done is added here.
        Only now, when both are of the same moment; and never backwards, for a person's eyes."""
        for noun, done, total in (("pages", "pages_done", "page_count"), ("passages", "chunks_done", "chunk_count")):
            past = sum(result.get(total) or 0 for result in self._results)
            before = self._counts.get(noun, (0, 0))
            now = past + progress.get(done, 0), past + progress.get(total, 0)
            self._counts[noun] = max(before[0], now[0]), max(before[1], now[1])
        self._eta = progress.get("eta_seconds")
        self._count()

    def close(self, results: list[Json], seconds: float) -> None:
        """What went wrong, and the sum of it all."""
        bad = [result for result in results if is_bad(result)]
        for result in bad:
            self._output.line(outcome(result))
        if len(results) > 1:
            ready = [result for result in results if result.get("status") == "ready"]
            parts = [f"{len(ready):,} of {count(len(results), 'file')} ready"]
            if on_its_way := len(results) - len(ready) - len(bad):
                parts = [f"{on_its_way:,} of {count(len(results), 'file')} accepted", *(parts if ready else [])]
            if again := sum(bool(result.get("duplicate_of")) for result in results):
                parts.append(f"{again:,} already here")
            if bad:
                parts.append(f"{len(bad):,} failed")
            self._output.note(f"{', '.join(parts)}; {self._contents(ready)}{duration(seconds)}")

    def _contents(self, ready: list[Json]) -> str:
        if not ready:
            return ""
        pages, passages = (sum(result[name] or 0 for result in ready) for name in ("page_count", "chunk_count"))
        return f"{count(pages, 'page')}, {count(passages, 'passage')} in "

    def _count(self) -> None:
        if self._files == 1:
            return
        bad = sum(is_bad(result) for result in self._results)
        parts = [f"{len(self._results) - bad:,} of {self._files:,} ready"]
        if bad:
            parts.append(f"{bad:,} failed")
        if working := self.sent - len(self._results):
            parts.append(f"{max(working, 0):,} in progress")
        parts += [f"{done:,}/{total:,} {noun}" for noun, (done, total) in self._counts.items() if total]
        if self._eta and self.sent == self._files > len(self._results):
            parts.append(f"about {duration(self._eta)} left")
        self._bars.headline = Text(" · ".join(parts), style="dim")


def outcome(result: Json) -> Text:
    """One line for what became of a file."""
    name = result["filename"]
    if "error" in result:
        return Text.assemble(("✗ ", "red"), (name, "bold"), f": {result['error']}")
    parts: list[str] = []
    if result.get("duplicate_of"):
        parts.append("already here")
    if result.get("unchanged"):
        parts.append(f"nothing new, this is version {result['version']} already")
    elif result.get("version", 1) > 1 and not result.get("duplicate_of"):
        parts.append(f"version {result['version']}")
    if result["status"] == "ready":
        parts += [count(result["page_count"] or 0, "page"), count(result["chunk_count"] or 0, "passage")]
        if not result["chunk_count"]:
            parts.append("no text was found in it")
        if "seconds" in result:
            parts.append(f"{result['seconds']:.1f} s")
        return Text.assemble(("✓ ", "green"), (name, "bold"), f": {', '.join(parts)}")
    if result["status"] in _BAD:
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
