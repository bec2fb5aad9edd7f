"""The tour of the README through the installed command: start, upload, search, ask, delete, stop, start again."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docx
import psutil
import pytest
from docutalk_common.process import wait_until
from docutalk_common.testing.pdf import make_pdf
from docutalk_local.children import base_environment
from docutalk_local.ports import free_port
from docutalk_local.testing.system import Person, sign_in

DOCUTALK = str(Path(sys.executable).parent / "docutalk")


@dataclass(frozen=True)
class Fact:
    """What stands on which page of which file, and a question that only it answers."""

    filename: str
    page: int
    question: str
    answer: str


FACTS = (
    Fact("observatory.pdf", 2, "When did the observatory at Kestrel Ridge open?", "1974"),
    Fact("ferry.docx", 1, "How many passengers does the ferry Marguerite carry?", "412"),
    Fact("garden.html", 1, "How many kinds of orchids grow in the botanical garden of Ostrava?", "1,830"),
    Fact("bakery.md", 1, "At what temperature is the rye bread of the Lindgren bakery baked?", "230"),
    Fact("bridge.txt", 1, "How long is the suspension bridge over the river Salto?", "618"),
)


def _files() -> dict[str, bytes]:
    word = docx.Document()
    word.add_heading("Ferries of the northern coast", 1)
    word.add_paragraph("The ferry Marguerite carries 412 passengers and 60 cars. It was built in Turku.")
    saved = io.BytesIO()
    word.save(saved)
    return {
        "observatory.pdf": make_pdf(
            [
                "Preface\nThis report describes three buildings on the hill and who paid for them.",
                "The observatory\nThe observatory at Kestrel Ridge opened in 1974 with a mirror of two metres.",
                "Visitors\nTours begin at nine every morning. Children under six enter for free.",
            ]
        ),
        "ferry.docx": saved.getvalue(),
        "garden.html": (
            b"<html><head><title>Garden</title></head><body><nav><a href='/'>Home</a></nav><article><h1>The garden</h1><p>"
            b"The botanical garden of Ostrava keeps 1,830 kinds of orchids under glass. Two gardeners look after them all"
            b" year, and every spring the glass houses are open to visitors in the evening.</p></article></body></html>"
        ),
        "bakery.md": (
            b"# The Lindgren bakery\n\n## Bread\n\nThe rye bread of the Lindgren bakery is baked at 230 degrees for fifty"
            b" minutes.\n\n## Cakes\n\nThe almond cake needs less heat.\n"
        ),
        "bridge.txt": b"The suspension bridge over the river Salto is 618 metres long.\nIt was painted green in 1999.\n",
    }


@dataclass
class Tour:
    """One state folder and the command that works in it."""

    folder: Path
    port: int
    up: subprocess.Popen[bytes] | None = None
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Nothing but where the user's configuration lies: the state folder tells the rest."""
        return base_environment() | {"XDG_CONFIG_HOME": str(self.folder / "config"), "COLUMNS": "100"}

    async def start(self) -> None:
        """`docutalk up`, until it is ready."""
        self.up = self._launch()
        up, log = self.up, self.folder / "up.log"

        async def ready() -> bool:
            assert up.poll() is None, log.read_text()
            return "Ctrl-C stops everything" in log.read_text()

        await wait_until(ready, seconds=120, what="docutalk up is ready")

    def _launch(self) -> subprocess.Popen[bytes]:
        command = [DOCUTALK, "up", "--home", str(self.folder / ".docutalk"), "--port", str(self.port)]
        with (self.folder / "up.log").open("wb") as output:
            return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=self.environment)

    async def stop(self) -> tuple[int, list[psutil.Process]]:
        """Ctrl-C. The exit code, and which of its processes are still there."""
        assert self.up is not None
        family = psutil.Process(self.up.pid).children(recursive=True)
        self.up.send_signal(signal.SIGINT)
        code = await asyncio.to_thread(self.up.wait, 60)
        self.up = None
        _, alive = psutil.wait_procs(family, timeout=5)
        return code, alive

    async def run(self, *arguments: str, code: int = 0) -> str:
        """The output of another `docutalk` command in the same folder."""
        process = await asyncio.create_subprocess_exec(
            DOCUTALK,
            *arguments,
            cwd=self.folder,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(process.communicate(), 120)
        assert process.returncode == code, f"{arguments}: {process.returncode}\n{output.decode()}\n{errors.decode()}"
        return output.decode()


@pytest.fixture(scope="module")
async def tour(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tour]:
    """DocuTalk started by its command, with five files uploaded by its command."""
    tour = Tour(tmp_path_factory.mktemp("tour"), free_port())
    (tour.folder / "files").mkdir()
    for name, content in _files().items():
        (tour.folder / "files" / name).write_bytes(content)
    try:
        await tour.start()
        answer = json.loads(await tour.run("upload", "--json", "--recursive", "files"))
        tour.documents = {document["filename"]: document for document in answer["documents"]}
        yield tour
    finally:
        if tour.up is not None:
            await tour.stop()


@pytest.fixture(scope="module")
async def person(tour: Tour) -> AsyncIterator[Person]:
    """The administrator of `cli.json`, over HTTP."""
    account = json.loads((tour.folder / ".docutalk" / "cli.json").read_text())
    person = await sign_in(account["url"], account["email"], account["password"])
    yield person
    await person.http.aclose()


async def test_files_of_every_format_become_ready_with_their_pages(tour: Tour) -> None:
    pages = {name: (document["status"], document["page_count"]) for name, document in tour.documents.items()}
    assert pages == {fact.filename: ("ready", 3 if fact.filename == "observatory.pdf" else 1) for fact in FACTS}
    listed = (await tour.run("status")).splitlines()
    assert len(listed) == 1 + len(FACTS)
    assert all(line.startswith("ready\t") for line in listed[1:])


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.filename)
async def test_search_puts_the_page_with_the_fact_first(tour: Tour, fact: Fact) -> None:
    first = json.loads(await tour.run("search", "--json", "--limit", "3", fact.question))["results"][0]
    assert (first["filename"], first["page"]) == (fact.filename, fact.page)
    assert fact.answer in first["text"]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.filename)
async def test_answer_cites_the_page_and_the_words_of_the_fact(tour: Tour, person: Person, fact: Fact) -> None:
    answer = json.loads(await tour.run("ask", "--json", fact.question))
    assert answer["supported"]
    assert fact.answer in answer["response"]
    assert (fact.filename, fact.page) in [(c["filename"], c["page"]) for c in answer["citations"] if fact.answer in c["quote"]]
    for citation in answer["citations"]:
        text = await person.page_text(citation["document_id"], citation["page"])
        assert text[citation["start"] : citation["end"]] == citation["quote"]


async def test_streamed_answer_is_the_stored_one_and_is_printed_with_its_sources(tour: Tour, person: Person) -> None:
    printed = await tour.run("ask", FACTS[0].question)
    assert "1974" in printed.split("\n\n")[0]
    assert '] observatory.pdf, p. 2: "' in printed
    events: list[tuple[str, dict[str, Any]]] = []
    async with person.http.stream(
        "POST",
        f"/api/v1/workspaces/{person.workspace}/chat",
        json={"message": FACTS[0].question},
        headers={"Accept": "text/event-stream"},
    ) as stream:
        name = ""
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                events.append((name, json.loads(line.removeprefix("data: "))))
    names = [name for name, _ in events]
    assert (names[0], names[-1]) == ("start", "done")
    assert {"delta", "citation"} <= set(names)
    answer = events[-1][1]
    assert "".join(data["text"] for name, data in events if name == "delta") == answer["response"]
    assert [data for name, data in events if name == "citation"] == answer["citations"]


async def test_question_about_something_else_is_not_answered_with_a_guess(tour: Tour) -> None:
    answer = json.loads(await tour.run("ask", "--json", "Who won the chess championship of Patagonia?"))
    assert (answer["supported"], answer["citations"]) == (False, [])


async def test_command_narrows_a_search_and_finds_alike_documents_and_places(tour: Tour) -> None:
    query = '"suspension bridge" -ferry'
    narrowed = json.loads(await tour.run("search", "--json", "--all", "--type", "txt", "--since", "1h", query))
    assert [result["filename"] for result in narrowed["results"]] == ["bridge.txt"]
    assert narrowed["next"] is None
    assert json.loads(await tour.run("search", "--json", "--until", "2020-01-01", query))["results"] == []
    assert "(meaning " in await tour.run("search", "--scores", "-n", "1", "orchids")
    alike = json.loads(await tour.run("similar", "--json", "-n", "2", "garden.html"))["items"]
    assert len(alike) == 2
    places = json.loads(await tour.run("places", "--json", "ferry.docx"))["places"]
    assert [(place["name"], place["country"]) for place in places] == [("Turku", "FI")]
    assert (await tour.run("models")).splitlines()[1].startswith("all-MiniLM-L6-v2\tserving\t")


async def test_same_bytes_again_are_the_same_document(tour: Tour) -> None:
    known = tour.documents["bridge.txt"]["id"]
    again = json.loads(await tour.run("upload", "--json", "files/bridge.txt"))["documents"][0]
    assert (again["id"], again["duplicate_of"], again["status"]) == (known, known, "ready")
    assert "already here" in await tour.run("upload", "files/bridge.txt")


async def test_timeline_tells_every_step(tour: Tour) -> None:
    lines = (await tour.run("events", "--json", "observatory.pdf")).splitlines()
    assert [json.loads(line)["event"] for line in lines] == [
        "document.uploaded",
        "document.extracted",
        "document.chunked",
        "document.indexed",
        "document.ready",
    ]


async def test_deleted_document_is_found_no_more(tour: Tour, person: Person) -> None:
    document = tour.documents["ferry.docx"]["id"]
    await person.call("DELETE", f"/documents/{document}")

    async def gone() -> bool:
        return document not in [result["document_id"] for result in await person.search("ferry Marguerite passengers")]

    await wait_until(gone, seconds=20, what="the deleted document leaves the index")
    await tour.run("status", document, code=1)
    assert await tour.run("dead-letters", "list") == "seq\tfailed at\tconsumer\ttries\tcode\treason\n"


async def test_ctrl_c_ends_every_process_and_a_second_start_finds_everything_again(tour: Tour) -> None:
    before = json.loads(await tour.run("status", "--json"))["documents"]
    code, alive = await tour.stop()
    assert (code, alive) == (0, [])
    # Nobody is there: one sentence, and an exit code that a script can tell from a failure.
    await tour.run("status", code=3)
    await tour.start()
    assert json.loads(await tour.run("status", "--json"))["documents"] == before
    found = json.loads(await tour.run("search", "--json", FACTS[0].question))["results"][0]
    assert (found["filename"], found["page"]) == ("observatory.pdf", 2)
    assert (await tour.stop()) == (0, [])
