"""A workspace goes into an archive and comes back, here and elsewhere: read, found, cited, and the same archive again."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any
from uuid import uuid4

from docutalk_common.process import wait_until
from docutalk_common.testing.pdf import make_pdf
from docutalk_local.testing.system import FINAL, Person, System, running_system, sign_in

PASSWORD = "a long enough password"
QUESTION = "When did the observatory at Kestrel Ridge open?"
FACT = "The observatory at Kestrel Ridge opened in 1974 with a mirror of two metres."
HARBOUR = "The harbour of Luvik freezes over in January and is cleared by the icebreaker Ottar."
_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def furnish(system: System) -> Person:
    """Somebody with documents of several versions, a source, settings, and a conversation with citations."""
    person = await system.register(f"{uuid4().hex}@example.com", PASSWORD)
    report, notes, broken = await person.upload(
        [
            ("observatory.pdf", make_pdf(["Preface of a report on the hill.", FACT])),
            ("notes.txt", b"The first draft says nothing yet."),
            ("broken.pdf", b"%PDF-1.4 and nothing that could be read"),
        ]
    )
    await person.until_final([report["id"], notes["id"], broken["id"]], seconds=90)
    form = {"file": ("notes.txt", HARBOUR.encode(), "text/plain")}
    await person.call("POST", f"/documents/{notes['id']}/versions", files=form)
    await person.until_final([notes["id"]], seconds=60)
    text = {"kind": "text", "name": "A note", "config": {"title": "Bridge", "text": "The bridge over the Sava has nine arches."}}
    source = await person.call("POST", "/sources", json=text)

    async def is_collected() -> bool:
        found = await person.call("GET", f"/documents?source_id={source['id']}")
        return [document["status"] for document in found["items"]] == ["ready"]

    await wait_until(is_collected, seconds=60, what="the source brought its document")
    answer = await person.ask(QUESTION)
    assert any("1974" in citation["quote"] for citation in answer["citations"])
    await person.call("PATCH", "/search/settings", json={"semantic_weight": 0.5})
    return person


async def export(person: Person) -> bytes:
    """The archive of the person's workspace."""
    answer = await person.http.get(f"/api/v1/workspaces/{person.workspace}/export", timeout=60)
    assert answer.status_code == 200, answer.text
    files = unpacked(answer.content)
    assert int(answer.headers["x-export-files"]) == len([name for name in files if name.startswith("files/")])
    return answer.content


async def take_in(person: Person, archive: bytes) -> dict[str, Any]:
    """Imports an archive into a workspace of this person."""
    answer = await person.http.post("/api/v1/imports", content=archive, headers={"Content-Type": "application/zip"})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = {}

    async def is_final() -> bool:
        found.update((await person.http.get(answer.headers["location"])).json())
        return found["status"] in {"done", "failed"}

    await wait_until(is_final, seconds=60, what="the import has come to its end")
    assert found["status"] == "done", found
    return found


def unpacked(archive: bytes) -> dict[str, bytes]:
    """The files in it, by name."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def anonymous(archive: bytes) -> dict[str, Any]:
    """What is in it, with each id replaced by the number of the one that it is."""
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        return f"<{numbers.setdefault(found[0], len(numbers))}>"

    files = unpacked(archive)
    records = {name: _UUID.sub(number, files[name].decode()) for name in sorted(files) if name.endswith(".jsonl")}
    contents = {_UUID.sub(number, name): files[name] for name in sorted(files) if name.startswith("files/")}
    manifest = json.loads(files["manifest.json"])
    return {**records, **contents, "settings": manifest["settings"], "counts": manifest["counts"]}


async def expect_alive(person: Person, archive: bytes) -> None:
    """The workspace is what it was: everything read, found and cited; and the same archive comes of it."""
    documents = (await person.call("GET", "/documents"))["items"]
    assert sorted(document["filename"] for document in documents) == ["Bridge.txt", "broken.pdf", "notes.txt", "observatory.pdf"]

    async def is_read() -> bool:
        return all(d["status"] in FINAL for d in (await person.call("GET", "/documents"))["items"])

    await wait_until(is_read, seconds=90, what="the documents are read")
    states = {d["filename"]: (d["status"], d["version"]) for d in (await person.call("GET", "/documents"))["items"]}
    assert states["broken.pdf"] == ("failed", 1)
    assert states["notes.txt"] == ("ready", 2)
    assert states["observatory.pdf"] == states["Bridge.txt"] == ("ready", 1)
    for query, name in ((QUESTION, "observatory.pdf"), ("icebreaker Ottar", "notes.txt"), ("nine arches", "Bridge.txt")):
        found = await person.search(query)
        assert found[0]["filename"] == name
    versions = await person.call("GET", f"/documents/{found_named(documents, 'notes.txt')['id']}/versions")
    assert [version["version"] for version in versions["items"]] == [2, 1]
    [source] = (await person.call("GET", "/sources"))["items"]
    assert (source["name"], source["document_count"]) == ("A note", 1)
    [session] = (await person.call("GET", "/chat/sessions"))["items"]
    question, answer = (await person.call("GET", f"/chat/sessions/{session['id']}/messages"))["items"]
    assert question["text"] == QUESTION
    cited = next(citation for citation in answer["citations"] if "1974" in citation["quote"])
    assert cited["document_id"] == found_named(documents, "observatory.pdf")["id"]
    page = await person.page_text(cited["document_id"], cited["page"])
    assert page[cited["start"] : cited["end"]] == cited["quote"]
    [again] = await person.upload([("copy.txt", HARBOUR.encode())])
    assert again["duplicate_of"] == found_named(documents, "notes.txt")["id"]
    assert anonymous(await export(person)) == anonymous(archive)


def found_named(documents: list[dict[str, Any]], filename: str) -> dict[str, Any]:
    """The document of that name."""
    return next(document for document in documents if document["filename"] == filename)


async def test_workspace_comes_back_beside_the_original_and_after_it(shared_system: System) -> None:
    person = await furnish(shared_system)
    original = person.workspace
    archive = await export(person)
    assert await export(person) == archive

    copy = await take_in(person, archive)

    assert copy["workspace_id"] != original
    assert copy["remapped"] > 0
    person.workspace = copy["workspace_id"]
    await expect_alive(person, archive)

    gone = await person.http.delete(f"/api/v1/workspaces/{original}")
    assert gone.is_success, gone.text
    back = await take_in(person, archive)
    assert back["workspace_id"] not in {original, copy["workspace_id"]}
    person.workspace = back["workspace_id"]
    await expect_alive(person, archive)


async def test_workspace_moves_into_another_installation_with_its_ids(shared_system: System, tmp_path: Path) -> None:
    person = await furnish(shared_system)
    archive = await export(person)

    async with running_system(tmp_path / "other", durable=False) as other:
        somebody = await other.register("somebody@example.com", PASSWORD)
        found = await take_in(somebody, archive)

        assert (found["workspace_id"], found["remapped"]) == (person.workspace, 0)
        somebody.workspace = found["workspace_id"]
        await expect_alive(somebody, archive)
        assert await export(somebody) == archive

        again = await sign_in(other.stack.url, "somebody@example.com", PASSWORD)
        mine = (await again.http.get("/api/v1/workspaces")).json()["items"]
        assert found["workspace_id"] in [workspace["id"] for workspace in mine]
        await again.http.aclose()
