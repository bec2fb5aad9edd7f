"""`docutalk export`, `import` and `imports`: a workspace as one file, and back."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, BinaryIO
from urllib.parse import unquote

import httpx
import typer
from rich.text import Text

from docutalk_cli.bars import Bars
from docutalk_cli.client import Api, ClientError, Json, every
from docutalk_cli.commands.upload import Counted
from docutalk_cli.follow import persistently
from docutalk_cli.lookup import one_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, run_connected, run_in_workspace
from docutalk_cli.output import Exit, Output, count, size_text, time_text

IMPORTS = "/imports"
_FINAL = frozenset({"done", "failed"})
_LOOK_SECONDS = 0.5
_STYLES = {"done": "green", "failed": "red"}
_COLUMNS = ("status", "import", "progress", "began", "id")
_UNFIT = re.compile(r"[\x00-\x1f\x7f/\\:]")


def export(
    *,
    file: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to, - for standard output. \\[default: the workspace's name]"),
    ] = None,
    no_files: Annotated[
        bool, typer.Option("--no-files", help="Without the documents' files. Such an archive cannot be imported.")
    ] = False,
    no_sessions: Annotated[bool, typer.Option("--no-sessions", help="Without your conversations.")] = False,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Take a workspace along as a ZIP archive: documents with their files, sources, settings and your conversations.

    Owners only. The file is there when the archive is whole, and not before.
    """
    output = Output(as_json=as_json)
    if file == "-" and (as_json or sys.stdout.isatty()):
        raise typer.BadParameter("the archive itself goes to standard output: send it into a file or a program", param_hint="-o")
    wanted = {"include_files": _flag(not no_files), "include_sessions": _flag(not no_sessions)}

    async def work(api: Api, workspace_id: str) -> Exit:
        async with api.download(f"/workspaces/{workspace_id}/export", **wanted) as (headers, pieces):
            if file == "-":
                async for piece in pieces:
                    sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
                return Exit.OK
            path = _new_file(headers) if file is None else Path(file)
            manifest = await _received(output, headers, pieces, path)
        size = path.stat().st_size
        if as_json:
            output.json({"path": str(path), "size": size, "manifest": manifest})
        else:
            output.line(f"{manifest['workspace']['name']} is in {path} now: {_contents(manifest['counts'])}, {size_text(size)}.")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An archive that docutalk export has made.")],
    *,
    name: Annotated[str | None, typer.Option("--name", help="What the workspace shall be called. \\[default: as it was]")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return once the archive is accepted.")] = False,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make a workspace of an archive, here or in another installation. You own it."""
    output = Output(as_json=as_json)
    if not zipfile.is_zipfile(file):
        raise typer.BadParameter(f"{file} is no ZIP archive, or it is not whole", param_hint="FILE")

    async def work(api: Api) -> Exit:
        accepted = await _sent(api, output, file, name)
        if no_wait:
            if as_json:
                output.json(accepted)
            else:
                output.line(f"{file.name} is accepted. How far it is: docutalk imports {accepted['id']} --wait")
            return Exit.OK
        return await _told(api, output, await _followed(api, output, accepted))

    run_connected(output, url, home, work)


def imports(
    import_id: Annotated[str | None, typer.Argument(metavar="ID", help="One of them: its id, or the beginning of it.")] = None,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is a workspace, or has failed.")] = False,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """List your imports of the last 30 days, newest first, or show one. Exit code 1 when the one that you named has failed."""
    output = Output(as_json=as_json)
    if wait and import_id is None:
        raise typer.BadParameter("say for which import", param_hint="--wait")

    async def work(api: Api) -> Exit:
        found = [item async for item in every(api, IMPORTS)]
        if import_id is not None:
            one = one_of(found, import_id, noun="import", hint="docutalk imports lists them.")
            return await _told(api, output, await _followed(api, output, one) if wait else one)
        if as_json:
            output.json({"imports": found})
        elif found or not output.interactive:
            output.table(_COLUMNS, [_row(item) for item in found], wide="import", optional=("began", "progress", "id"))
        else:
            output.line("There are no imports. Make a workspace of an archive: docutalk import FILE")
        return Exit.OK

    run_connected(output, url, home, work)


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _new_file(headers: httpx.Headers) -> Path:
    """A file here that is called as the workspace is. Raises `ClientError` when there is one."""
    _, _, name = headers.get("Content-Disposition", "").partition("filename*=UTF-8''")
    # What somebody has called a workspace may be the path of another file.
    path = Path(_UNFIT.sub("_", unquote(name))[-200:].lstrip(".") or "workspace.zip")
    if path.exists():
        raise ClientError(f"{path} is there already. Say where the archive goes with -o FILE.")
    return path


async def _received(output: Output, headers: httpx.Headers, pieces: AsyncIterator[bytes], path: Path) -> Json:
    """Writes the archive beside its place and moves it there when it is whole. Returns its manifest."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as writing:
            await _written(output, headers, pieces, writing)
        manifest = _manifest(part)
        part.replace(path)
        return manifest
    finally:
        part.unlink(missing_ok=True)


async def _written(output: Output, headers: httpx.Headers, pieces: AsyncIterator[bytes], file: BinaryIO) -> None:
    files, total = int(headers.get("X-Export-Files", 0)), int(headers.get("X-Export-Bytes", 0))
    with Bars(output) as bars:
        task = bars.add_task(count(files, "file"), what="", total=max(total, 1))
        async for piece in pieces:
            file.write(piece)
            done = file.tell()
            what = f"{size_text(done)} of {size_text(total)}" if done < total else size_text(done)
            bars.update(task, completed=min(done, total), what=what)


def _manifest(archive: Path) -> Json:
    """Comes last, so an archive that was cut off has none. Raises `ClientError`."""
    try:
        with zipfile.ZipFile(archive) as opened:
            manifest: Json = json.loads(opened.read("manifest.json"))
    except (zipfile.BadZipFile, KeyError, ValueError):
        raise ClientError("The archive broke off: it has no manifest. Nothing was kept; export it again.") from None
    return manifest


def _contents(counts: Json) -> str:
    nouns = {"documents": "document", "files": "file", "sources": "source", "sessions": "conversation"}
    return ", ".join(count(counts[name], noun) for name, noun in nouns.items())


async def _sent(api: Api, output: Output, file: Path, name: str | None) -> Json:
    try:
        with file.open("rb") as reading, Bars(output) as bars:
            size = os.fstat(reading.fileno()).st_size
            task = bars.add_task(file.name, what="sending", total=max(size, 1))

            def sent(position: int) -> None:
                what = f"sending, {size_text(position)} of {size_text(size)}" if position < size else "storing"
                bars.update(task, completed=position, what=what)

            return await api.send_archive(IMPORTS, Counted(reading, sent), name=name)
    except asyncio.CancelledError:
        output.note("Interrupted. The archive was not sent to its end, and nothing becomes of it.")
        raise


async def _followed(api: Api, output: Output, import_: Json) -> Json:
    """Shows how far an import is until it is done or has failed; returns it as it is then."""
    import_id: str = import_["id"]
    try:
        with Bars(output) as bars:
            task = bars.add_task(import_["status"], what="")
            while import_["status"] not in _FINAL:
                done, total = import_["progress"]["done"], max(import_["progress"]["total"] or 0, 1)
                bars.update(task, description=import_["status"], what=_progress(import_), completed=done, total=total)
                await asyncio.sleep(_LOOK_SECONDS)
                import_ = await persistently(lambda: api.get(f"{IMPORTS}/{import_id}"))
    except asyncio.CancelledError:
        output.note(f"Interrupted. The import goes on without this command: docutalk imports {import_id} --wait")
        raise
    return import_


def _progress(import_: Json) -> str:
    done, total = import_["progress"]["done"], import_["progress"]["total"]
    return f"{done:,} of {total:,} records" if total is not None else "–"


async def _told(api: Api, output: Output, import_: Json) -> Exit:
    """What became of it."""
    code = Exit.FAILED if import_["status"] == "failed" else Exit.OK
    if output.as_json:
        output.json(import_)
    elif import_["status"] == "failed":
        output.error(f"The import failed, and nothing of it is left: {import_['reason']}")
    elif import_["status"] == "done":
        await _show_done(api, output, import_)
    else:
        output.line(f"{import_['status']}, {_progress(import_)}. Wait for it with docutalk imports {import_['id']} --wait")
    return code


async def _show_done(api: Api, output: Output, import_: Json) -> None:
    workspace = await api.get(f"/workspaces/{import_['workspace_id']}")
    output.line(f"✓ {workspace['name']} is there ({workspace['id']}): {count(import_['progress']['done'], 'record')}.")
    if import_["remapped"]:
        output.note(f"{count(import_['remapped'], 'id')} were taken here, and are others now.")
    if import_["reason"]:
        output.note(import_["reason"])
    output.note(f"Its documents are read again now: docutalk status -w {workspace['id']}")


def _row(import_: Json) -> list[str | Text]:
    what = Text(import_["name"] or "–")
    if import_["reason"]:
        what.append(f": {import_['reason']}", style="red" if import_["status"] == "failed" else "yellow")
    elif import_["workspace_id"]:
        what.append(f" ({import_['workspace_id']})", style="dim")
    status = Text(import_["status"], style=_STYLES.get(import_["status"], "cyan"))
    return [status, what, _progress(import_), time_text(import_["created_at"]), import_["id"]]
