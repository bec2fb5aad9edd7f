"""`docutalk retry`, `cancel`, `delete`, `rename` and `versions`: what can be done to documents that are there."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from docutalk_cli.client import Api, Json, Refused
from docutalk_cli.commands.upload import is_bad, outcome
from docutalk_cli.follow import Follower, patiently
from docutalk_cli.lookup import document_of, source_of
from docutalk_cli.options import AsJson, HomeFolder, Url, Workspace, run_in_workspace
from docutalk_cli.output import Exit, Output, count, size_text

Names = Annotated[list[str] | None, typer.Argument(metavar="[DOCUMENTS]...", help="Ids, beginnings of ids, or filenames.")]
FromSource = Annotated[str | None, typer.Option("--source", help="All documents that this source brought.")]


class Status(StrEnum):
    """Where a document is."""

    QUEUED = "queued"
    EXTRACTING = "extracting"
    CHUNKING = "chunking"
    EMBEDDING = "embedding"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"


WithStatus = Annotated[Status | None, typer.Option("--status", help="All documents in this status.")]
_COLUMNS = ("version", "file", "pages", "size", "uploaded")


def retry(
    documents: Names = None,
    *,
    status: WithStatus = None,
    source: FromSource = None,
    password: Annotated[
        bool, typer.Option("--password", help="Ask for the password of an encrypted file, or take DOCUTALK_FILE_PASSWORD.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until they are ready or have failed again.")] = False,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Begin again with documents that failed or were cancelled, at the step that they did not get through.

    `docutalk retry --status failed` takes all that failed.
    """
    output = Output(as_json=as_json)
    chosen = _Chosen(documents or [], status, source)
    if password and len(chosen.names) != 1:
        raise typer.BadParameter("a password opens one document", param_hint="--password")
    secret = _file_password() if password else None

    async def work(api: Api, workspace_id: str) -> Exit:
        base = f"/workspaces/{workspace_id}/documents"
        if secret is not None:
            document = await document_of(api, workspace_id, chosen.names[0])
            retried = await api.post(f"{base}/{document['id']}/retry", {"password": secret})
            changed: Json = {"document_ids": [retried["id"]], "refused": []}
        else:
            changed = await _change(api, workspace_id, "retry", chosen)
        code = Exit.OK if wait and as_json else _told(output, changed, "on its way again", "on their way again")
        if wait:
            changed["documents"] = await _followed(api, workspace_id, output, changed["document_ids"])
        if wait and as_json:
            code = _told(output, changed, "", "")
        failed = any(is_bad(document) for document in changed.get("documents", []))
        return Exit.FAILED if failed else code

    run_in_workspace(output, workspace, url, home, work)


def cancel(
    documents: Names = None,
    *,
    status: WithStatus = None,
    source: FromSource = None,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Stop the work on documents. They stay and can be retried."""
    output = Output(as_json=as_json)
    chosen = _Chosen(documents or [], status, source)

    async def work(api: Api, workspace_id: str) -> Exit:
        changed = await _change(api, workspace_id, "cancel", chosen)
        return _told(output, changed, "cancelled", "cancelled")

    run_in_workspace(output, workspace, url, home, work)


def delete(
    documents: Names = None,
    *,
    status: WithStatus = None,
    source: FromSource = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Delete documents with their pages, passages and files. What was cited stays as a quote."""
    output = Output(as_json=as_json)
    chosen = _Chosen(documents or [], status, source)
    if chosen.by_filter and not yes:
        typer.confirm(f"Delete {chosen}?", abort=True, err=True)

    async def work(api: Api, workspace_id: str) -> Exit:
        changed = await _change(api, workspace_id, "delete", chosen)
        return _told(output, changed, "deleted", "deleted")

    run_in_workspace(output, workspace, url, home, work)


def rename(
    document: Annotated[str, typer.Argument(help="Id or filename.")],
    name: Annotated[str, typer.Argument(help="What it shall be called.")],
    *,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Rename a document."""
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        found = await document_of(api, workspace_id, document)
        renamed = await api.patch(f"/workspaces/{workspace_id}/documents/{found['id']}", {"filename": name})
        if as_json:
            output.json(renamed)
        else:
            output.line(f"{found['filename']} is called {renamed['filename']} now.")
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


def versions(
    document: Annotated[str, typer.Argument(help="Id or filename.")],
    *,
    workspace: Workspace = None,
    url: Url = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """List the versions of a document's file, newest first. The one with a star is read and found.

    `docutalk upload FILE --version-of DOCUMENT` adds one.
    """
    output = Output(as_json=as_json)

    async def work(api: Api, workspace_id: str) -> Exit:
        found = await document_of(api, workspace_id, document)
        listed = await api.get(f"/workspaces/{workspace_id}/documents/{found['id']}/versions")
        if as_json:
            output.json(listed)
            return Exit.OK
        rows: list[list[str | Text]] = [
            [
                f"{item['version']}{' *' if item['version'] == listed['served_version'] else ''}",
                item["filename"],
                "–" if item["page_count"] is None else f"{item['page_count']:,}",
                size_text(item["size"]),
                item["created_at"][:19].replace("T", " "),
            ]
            for item in listed["items"]
        ]
        output.table(_COLUMNS, rows, wide="file", numeric=("pages", "size"), optional=("uploaded", "pages"))
        return Exit.OK

    run_in_workspace(output, workspace, url, home, work)


def _file_password() -> str:
    given = os.environ.get("DOCUTALK_FILE_PASSWORD")
    return given or str(typer.prompt("Password of the file", hide_input=True, err=True))


class _Chosen:
    """The documents that a command line means: named, or all that fit."""

    def __init__(self, names: list[str], status: Status | None, source: str | None) -> None:
        self.names = names
        self.status = status
        self.source = source
        if bool(names) == self.by_filter:
            raise typer.BadParameter("name documents, or choose them by --status or --source", param_hint="DOCUMENTS")

    @property
    def by_filter(self) -> bool:
        """Whether they are not named."""
        return self.status is not None or self.source is not None

    def __str__(self) -> str:
        status = f" {self.status.value}" if self.status else ""
        return f"all{status} documents" + (f" of the source {self.source}" if self.source else "")


async def _change(api: Api, workspace: str, action: str, chosen: _Chosen) -> Json:
    """Does it, again as long as more documents fit. `{document_ids, refused}` with names of what was refused."""
    body: Json = {"action": action}
    names: dict[str, str] = {}
    if chosen.by_filter:
        if chosen.status is not None:
            body["status"] = chosen.status.value
        if chosen.source is not None:
            body["source_id"] = (await source_of(api, workspace, chosen.source))["id"]
    else:
        found = [await document_of(api, workspace, name) for name in chosen.names]
        names = {document["id"]: document["filename"] for document in found}
        body["document_ids"] = list(names)
    changed: Json = {"document_ids": [], "refused": []}
    while True:
        answer = await api.post(f"/workspaces/{workspace}/documents/bulk", body, timeout=60)
        changed["document_ids"] += answer["document_ids"]
        changed["refused"] += [item | {"filename": names.get(item["document_id"])} for item in answer["refused"]]
        if not answer["remaining"] or not answer["document_ids"]:
            return changed


async def _followed(api: Api, workspace: str, output: Output, ids: list[str]) -> list[Json]:
    documents = []
    async with Follower(api, workspace).listening() as follower:
        for document_id in ids:
            try:
                document = await patiently(api, follower, document_id, lambda _: None)
            except Refused as error:
                document = {"id": document_id, "filename": document_id, "error": str(error)}
            documents.append(document)
            if not output.as_json:
                output.line(outcome(document))
    return documents


def _told(output: Output, changed: Json, one: str, many: str) -> Exit:
    if output.as_json:
        output.json(changed)
    else:
        for item in changed["refused"]:
            output.line(Text.assemble(("✗ ", "red"), (item["filename"] or item["document_id"], "bold"), f": {item['reason']}"))
        number = len(changed["document_ids"])
        output.line(f"{count(number, 'document')} {one if number == 1 else many}.")
    return Exit.FAILED if changed["refused"] else Exit.OK
