"""A document in a process of its own: whatever it does there ends in text or a reason, and the next one is not delayed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from docutalk_common.errors import TransientError
from docutalk_common.process import wait_until
from docutalk_ingest.adapters.isolated_parser import Extraction, IsolatedParser, Limits
from docutalk_ingest.domain import MAX_CHARACTERS, ParseFailed

from .world import pdf

TESTS = {"PYTHONPATH": str(Path(__file__).parent)}


@pytest.fixture(scope="module")
async def hostile() -> AsyncIterator[IsolatedParser]:
    """Tight limits, so that running into them is quick."""
    limits = Limits(memory_bytes=1 << 29, cpu_seconds=2, wall_seconds=60, file_bytes=4 << 20)
    parser = IsolatedParser(limits=limits, target="hostile_targets:Hostile", environment=TESTS)
    await parser.start()
    yield parser
    await parser.close()


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    (tmp_path / "source").touch()
    return tmp_path


async def attempt(parser: IsolatedParser, folder: Path, deed: str) -> Extraction:
    return await parser.parse(folder / "source", deed, folder)


@pytest.mark.parametrize(
    ("deed", "code", "words"),
    [
        ("hog", "too_much_memory", "0.5 GiB"),
        ("loop", "timeout", "2 seconds of computing"),
        ("abort", "crashed", "probably damaged"),
        ("crash", "crashed", "probably damaged"),
        ("raises", "unreadable", "probably damaged"),
        ("refuses", "damaged", "torn"),
        ("nested", "damaged", "nested too deeply"),
        ("fills", "too_much_text", "Split"),
        ("fetches", "unreadable", "probably damaged"),
    ],
)
async def test_whatever_a_file_does_ends_with_a_reason_and_the_next_file_is_read(
    hostile: IsolatedParser, folder: Path, deed: str, code: str, words: str
) -> None:
    host = hostile.host_pid
    with pytest.raises(ParseFailed) as caught:
        await attempt(hostile, folder, deed)
    assert caught.value.code == code
    assert words in caught.value.reason
    assert (await attempt(hostile, folder, "nothing")).summary.page_count == 2
    assert hostile.host_pid == host


async def test_process_killed_from_outside_is_worth_another_try(hostile: IsolatedParser, folder: Path) -> None:
    with pytest.raises(TransientError):
        await attempt(hostile, folder, "killed")


async def test_file_that_hangs_is_given_up_and_does_not_delay_the_next(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    parser = IsolatedParser(limits=Limits(wall_seconds=8), target="hostile_targets:Hostile", environment=TESTS)
    try:
        await parser.start()
        hanging = asyncio.create_task(attempt(parser, folder, "wait"))
        await parser.parse(folder / "source", "nothing", other)
        assert not hanging.done()
        with pytest.raises(ParseFailed) as caught:
            await hanging
    finally:
        await parser.close()
    assert caught.value.code == "timeout"
    assert "8 seconds" in caught.value.reason


async def test_cancelled_reading_leaves_no_process(hostile: IsolatedParser, folder: Path) -> None:
    started = asyncio.Event()
    reading = asyncio.create_task(hostile.parse(folder / "source", "wait", folder, on_progress=lambda done, of: started.set()))
    await started.wait()
    host = psutil.Process(hostile.host_pid)
    assert host.children()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    async def gone() -> bool:
        return not host.children()

    await wait_until(gone, seconds=20, what="the child is gone")


async def test_parser_sees_none_of_the_services_secrets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCUTALK_POSTGRES_DSN", "postgresql://secret")
    parser = IsolatedParser(target="hostile_targets:Hostile", environment=TESTS)
    try:
        await attempt(parser, folder, "looks_around")
    finally:
        await parser.close()
    assert "DOCUTALK_POSTGRES_DSN" not in (folder / "deed").read_text()


async def test_host_that_died_is_started_again(folder: Path) -> None:
    parser = IsolatedParser(target="hostile_targets:Hostile", environment=TESTS)
    try:
        await parser.start()
        first = parser.host_pid
        assert first is not None
        hanging = asyncio.create_task(attempt(parser, folder, "wait"))
        await asyncio.sleep(0)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(TransientError):
            await hanging
        await attempt(parser, folder, "nothing")
        assert parser.host_pid not in (None, first)
    finally:
        await parser.close()


async def test_host_that_is_stuck_is_started_again(folder: Path) -> None:
    parser = IsolatedParser(
        limits=Limits(wall_seconds=0.5, host_seconds=0.5), target="hostile_targets:Hostile", environment=TESTS
    )
    try:
        await parser.start()
        first = parser.host_pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        reading = [attempt(parser, folder, "nothing") for _ in range(2)]
        outcomes = await asyncio.wait_for(asyncio.gather(*reading, return_exceptions=True), 10)
        assert [type(outcome) for outcome in outcomes] == [TransientError, TransientError]
        await parser.start()
        assert parser.host_pid not in (None, first)
    finally:
        await parser.close()


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two questions
        return False


ORPHAN = """
import asyncio, os, pathlib, sys
from docutalk_ingest.adapters.isolated_parser import IsolatedParser
async def main(folder):
    parser = IsolatedParser(target="hostile_targets:Hostile", environment={"PYTHONPATH": os.environ["PYTHONPATH"]})
    tell = lambda done, of: print(parser.host_pid, flush=True)
    await parser.parse(folder / "source", "wait", folder, on_progress=tell)
asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


async def test_killed_service_leaves_no_parser_behind(folder: Path) -> None:
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ORPHAN, str(folder), stdout=asyncio.subprocess.PIPE, env={**os.environ, **TESTS}
    )
    assert service.stdout is not None
    host = psutil.Process(int(await service.stdout.readline()))
    family = [host, *host.children()]
    assert len(family) == 2
    service.kill()
    await service.wait()

    async def gone() -> bool:
        return not any(runs(process) for process in family)

    await wait_until(gone, seconds=20, what="host and child are gone")


async def test_pages_and_chunks_come_back_exactly(parser: IsolatedParser, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(pdf("The first page.", "", "The third page, with more words on it.", labels="0 << /S /r >>"))
    progress: list[tuple[int, int | None]] = []
    extraction = await parser.parse(source, "a.pdf", tmp_path, on_progress=lambda done, of: progress.append((done, of)))
    pages = [page async for page in extraction.pages()]
    assert [(page.number, page.label, page.text) for page in pages] == [
        (1, "i", "The first page."),
        (2, "ii", ""),
        (3, "iii", "The third page, with more words on it."),
    ]
    assert [page.chunks for page in pages] == [[(0, 15, 0)], [], [(0, 38, 0)]]
    assert (extraction.summary.page_count, extraction.summary.chunk_count, extraction.summary.batch_count) == (3, 2, 1)
    assert progress[0] == (0, 3)


async def test_pdf_of_blank_pages_says_so(parser: IsolatedParser, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(pdf("", ""))
    with pytest.raises(ParseFailed) as caught:
        await parser.parse(tmp_path / "source", "scan.pdf", tmp_path)
    assert caught.value.code == "no_text"
    assert "no pictures" in caught.value.reason


async def test_100_mb_text_of_one_line_is_refused(parser: IsolatedParser, tmp_path: Path) -> None:
    source = tmp_path / "source"
    block = b"word " * 200_000
    with source.open("wb") as file:
        for _ in range(100):
            file.write(block)
    await parser.start()
    with pytest.raises(ParseFailed) as caught:
        await parser.parse(source, "line.txt", tmp_path)
    assert caught.value.code == "too_much_text"
    assert f"{MAX_CHARACTERS:,}" in caught.value.reason


async def test_a_book_in_one_line_is_read_with_its_offsets(parser: IsolatedParser, tmp_path: Path) -> None:
    """A page of a megabyte is worked on in windows and comes back whole."""
    source = tmp_path / "source"
    source.write_bytes(b"It was the best of times. " * 40_000)
    pages = [page async for page in (await parser.parse(source, "book.txt", tmp_path)).pages()]
    assert len(pages) == 1
    text, chunks = pages[0].text, pages[0].chunks
    assert len(chunks) > 1000
    assert all(text[start:end] == text[start:end].strip() for start, end, _ in chunks)
    assert [batch for *_, batch in chunks] == sorted(batch for *_, batch in chunks)


async def test_host_whose_start_was_given_up_on_is_not_left_behind() -> None:
    parser = IsolatedParser()
    starting = asyncio.create_task(parser.start())

    async def begun() -> bool:
        return parser.host_pid is not None

    await wait_until(begun, seconds=20, what="the host begins", every=0.01)
    host = psutil.Process(parser.host_pid)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)

    async def gone() -> bool:
        return not runs(host)

    await wait_until(gone, seconds=20, what="the host is gone")
    await parser.close()
