"""A run of a source: find its items, fetch what has changed, make documents of it.

Item by item: each is one short transaction with its document, its event and the run's counts. A run whose worker died goes on
where it was, because an item knows the run that has done it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from html import unescape
from uuid import UUID, uuid4

import httpx
from docutalk_common.content_type import HEAD_BYTES, HTML, PLAIN, detect
from docutalk_common.contracts.gateway import DocumentUploaded, WorkspaceState
from docutalk_common.contracts.ingest import CollectSource, DocumentCollected, RunStatus, Source, SourceRan, SourceRun
from docutalk_common.db import Database, Transaction
from docutalk_common.errors import DocuTalkError, NotFound
from docutalk_common.messaging.consumer import Delivery
from docutalk_common.process import cancel_all
from docutalk_common.storage import ObjectStorage
from docutalk_common.telemetry import get_logger

from docutalk_ingest.adapters.document_repository import DocumentRepository
from docutalk_ingest.adapters.fetcher import FetchFailed
from docutalk_ingest.adapters.source_repository import NO_RUN, KnownItem, SourceRepository, Unlinked
from docutalk_ingest.adapters.sources.fingerprint import fingerprint
from docutalk_ingest.adapters.sources.item import Item, Listing, ListingFailed, Reach, Validators, name_of, suffix_of
from docutalk_ingest.adapters.sources.kinds import read_config
from docutalk_ingest.adapters.tombstones import WorkspaceErased
from docutalk_ingest.adapters.version_repository import VersionRepository
from docutalk_ingest.adapters.workspaces import Workspaces
from docutalk_ingest.domain import KEPT_VERSIONS, freeze
from docutalk_ingest.use_cases.leave_room import Room
from docutalk_ingest.use_cases.match_imported import match_imported
from docutalk_ingest.use_cases.register_document import register_version

log = get_logger(__name__)

LINES_AT_ONCE = 4
TOLD_SECONDS = 1.0
TOLD_ITEMS = 500
MAX_REASON = 2000
# A thousand addresses of a host that is down would take ten seconds each.
PATIENCE = 5
_NOBODY_ANSWERS = frozenset({"unreachable", "too_slow", "name_not_found", "busy"})
_SUFFIXES = {HTML: ".html", PLAIN: ".txt", "application/pdf": ".pdf"}


class RunStopped(DocuTalkError):
    """The run is not wanted any more. The message says why."""

    code = "stopped"


@dataclass(frozen=True)
class SourceCollector:
    """The handler of `CollectSource`."""

    db: Database
    storage: ObjectStorage
    reach: Reach
    workspaces: Workspaces
    keep_versions: int = KEPT_VERSIONS
    turn_seconds: float = 300.0

    async def __call__(self, work: CollectSource, delivery: Delivery) -> None:
        """Ends the run, well or not, and emits `SourceRan`. A run that has come to its end is left alone.

        A run that takes longer than its turn goes to the end of the line, behind those of others, and goes on from there:
        a thousand addresses of a slow host are hours of work. Raises `TransientError` when the gateway does not say whether
        documents may be added.
        """
        state = await self.workspaces.state(work.workspace_id, delivery.cause)
        begun = await self._begin(work, delivery)
        if begun is None:
            return
        source, run = begun
        turn = asyncio.timeout(self.turn_seconds)
        try:
            room = Room(self.db, source.workspace_id, _open(state))
            async with turn:
                listing = await self._listing(source)
                await _Run(self, source, run, delivery, room).collect(listing)
            outcome = _Outcome(RunStatus.DONE, room.note(), listing)
        except TimeoutError:
            if not turn.expired():
                raise
            async with delivery.transaction() as transaction:
                if await SourceRepository(transaction.session).hold_running(run.run_id):
                    transaction.emit(work)
            return
        except RunStopped as stopped:
            outcome = _Outcome(RunStatus.CANCELLED, str(stopped))
        except (ListingFailed, FetchFailed) as failure:
            outcome = _Outcome(RunStatus.FAILED, str(failure))
        async with delivery.transaction() as transaction:
            await _finish(transaction, source, run, outcome)

    async def _begin(self, work: CollectSource, delivery: Delivery) -> tuple[Source, SourceRun] | None:
        async with self.db.transaction(delivery.cause) as transaction:
            repository = SourceRepository(transaction.session)
            source = await repository.lock(work.source_id)
            run = await repository.begin_run(work.run_id) if source is not None else None
        return (source, run) if source is not None and run is not None else None

    async def _listing(self, source: Source) -> Listing:
        if source.paused:
            raise RunStopped("The source was paused.")
        async with self.db.read() as session:
            validators, listed = await SourceRepository(session).listing(source.source_id)
        # What was said of a list that we have nothing of would leave us with nothing.
        known = validators if listed else Validators()
        return await read_config(source.kind, source.config).items(self.reach, known)


def _open(state: WorkspaceState | None) -> WorkspaceState:
    """Raises `RunStopped` unless documents may be added."""
    if state is None:
        raise RunStopped("The workspace was deleted.")
    if state.archived:
        raise RunStopped("The workspace is archived. Its sources run again when it is no longer.")
    return state


@dataclass(frozen=True)
class _Outcome:
    """`reason` of a run that is done: what was left out of it."""

    status: RunStatus
    reason: str | None = None
    listing: Listing | None = None


async def _finish(transaction: Transaction, collected: Source, run: SourceRun, outcome: _Outcome) -> None:
    repository = SourceRepository(transaction.session)
    source, listing, reason = await repository.lock(run.source_id), outcome.listing, outcome.reason
    if source is None:
        return
    if outcome.status == RunStatus.DONE:
        failures = await repository.first_failures(source.source_id, run.run_id)
        notes = [outcome.reason, *failures, listing.note if listing else None]
        reason = " ".join(note for note in notes if note)
    # It travels in a message, and addresses may be thousands of characters long.
    ended = await repository.finish_run(run.run_id, outcome.status, freeze(reason)[:MAX_REASON] if reason else None)
    if ended is None:
        return
    complete = ended.status == RunStatus.DONE and ended.failed == 0 and not outcome.reason
    if complete and listing is not None and not listing.unchanged and source.config == collected.config:
        # Only after a run that got everything: items that failed, or had no room, are to be tried again although the list is
        # as it was.
        # And only of the list that is collected now: it may have been changed to another one meanwhile.
        await repository.change(
            source.source_id,
            etag=listing.validators.etag,
            last_modified=listing.validators.last_modified,
            listed=len(listing.items),
        )
    transaction.emit(SourceRan(workspace_id=source.workspace_id, source_id=source.source_id, run=ended))


@dataclass
class _Run:
    """One run in this process."""

    collector: SourceCollector
    source: Source
    run: SourceRun
    delivery: Delivery
    room: Room
    known: dict[str, KnownItem] = field(default_factory=dict)
    imported: dict[str, Unlinked] = field(default_factory=dict)
    unchanged: dict[str, Validators] = field(default_factory=dict)
    told_at: float = 0.0

    async def collect(self, listing: Listing) -> None:
        """Does every item that this run has not done yet. Raises `RunStopped` when the source was paused or deleted."""
        async with self.collector.db.read() as session:
            self.known = await SourceRepository(session).items(self.source.source_id)
            _, listed = await SourceRepository(session).listing(self.source.source_id)
            unlinked = await SourceRepository(session).unlinked(self.source.source_id)
        if unlinked:
            without = [item for item in listing.items if (known := self.known.get(item.key)) is None or known.document_id is None]
            self.imported = await asyncio.to_thread(match_imported, self.source.kind, without, unlinked)
        async with self._item() as (_, repository, _):
            await repository.note_found(self.run.run_id, listed if listing.unchanged else len(listing.items))
            if listing.unchanged and self.run.unchanged == 0:
                await repository.count(self.run.run_id, "unchanged", listed)
        # A line for each host, and at most so many lines at once; within a line one after the other.
        lines: dict[str, deque[Item]] = {}
        for number, item in enumerate(listing.items):
            if (known := self.known.get(item.key)) is None or known.last_seen_run != self.run.run_id:
                line = httpx.URL(item.url).host if item.url else str(number % LINES_AT_ONCE)
                lines.setdefault(line, deque()).append(item)
        waiting = deque(lines.values())
        workers = [asyncio.create_task(self._work(waiting)) for _ in range(min(LINES_AT_ONCE, len(lines)))]
        try:
            await asyncio.gather(*workers)
        finally:
            await cancel_all(workers)
        await self._tell_unchanged()

    async def _work(self, waiting: deque[deque[Item]]) -> None:
        while waiting:
            in_vain = 0
            for item in waiting.popleft():
                try:
                    if in_vain == PATIENCE:
                        raise FetchFailed("given_up", f"{item.origin} was not tried: its host has not answered {in_vain} times.")
                    await self._one(item)
                    in_vain = 0
                except FetchFailed as failure:
                    if failure.code != "given_up":
                        in_vain = in_vain + 1 if failure.code in _NOBODY_ANSWERS else 0
                    async with self._item() as (_, repository, _):
                        if await repository.note_failed(
                            self.source.source_id, self.run.run_id, item, freeze(str(failure))[:MAX_REASON]
                        ):
                            await repository.count(self.run.run_id, "failed")
                await self._tell_unchanged(when_due=True)

    async def _one(self, item: Item) -> None:
        """Raises `FetchFailed`."""
        if (imported := self.imported.get(item.key)) is not None:
            await self._link(item, imported)
        known = self.known.get(item.key)
        if known is not None and known.removed:
            # Somebody deleted this document; it does not come back by itself.
            self.unchanged[item.key] = known.validators
            return
        is_new = known is None or known.document_id is None
        if is_new and self.room.is_full:
            self.room.leave_out()
            return
        item, validators, content_type, body = await self._content(item, known)
        content_hash = await asyncio.to_thread(fingerprint, body, content_type) if body else ""
        if known is not None and (not body or known.content_hash == content_hash):
            self.unchanged[item.key] = validators
            return
        if not is_new:
            await self._store(item, validators, content_type, content_hash, body)
            return
        async with self.room.for_document(len(body)) as fits:
            if fits and await self._store(item, validators, content_type, content_hash, body):
                self.room.added(len(body))

    async def _link(self, item: Item, imported: Unlinked) -> None:
        """The item is known from now on as if a run had brought its document: what was stored is what it is compared with."""
        content_hash = None
        with contextlib.suppress(NotFound):
            pieces = [piece async for piece in self.collector.storage.iterate(imported.object_key)]
            content_hash = await asyncio.to_thread(fingerprint, b"".join(pieces), imported.content_type)
        async with self._item() as (_, repository, _):
            await repository.link(self.source.source_id, item, imported.document_id, content_hash)
        self.known[item.key] = KnownItem(Validators(), content_hash, imported.document_id, NO_RUN, removed=False)

    async def _content(self, item: Item, known: KnownItem | None) -> tuple[Item, Validators, str, bytes]:
        """The item by its final name, with its type and its bytes; without bytes it is as it was."""
        if item.url is None:
            assert item.body is not None, "an item has its body or its address"
            return item, Validators(), detect(item.body[:HEAD_BYTES], item.name), item.body
        asked = known.validators if known is not None and known.content_hash else Validators()
        try:
            fetched = await self.collector.reach.fetcher.fetch(item.url, etag=asked.etag, last_modified=asked.last_modified)
        except FetchFailed:
            # What a feed says of a page is better than nothing, and worse than the page as it was.
            if item.body is None or (known is not None and known.content_hash not in {"", fingerprint(item.body, HTML)}):
                raise
            return replace(item, name=_name(item, HTML, item.body), body=None), Validators(), HTML, item.body
        if fetched.unchanged:
            fresh = Validators(fetched.etag or asked.etag, fetched.last_modified or asked.last_modified)
            return item, fresh, "", b""
        if not fetched.body:
            raise FetchFailed("empty", f"{fetched.url} answered with nothing in it.")
        content_type = detect(fetched.body[:HEAD_BYTES], item.name)
        if content_type == PLAIN and fetched.content_type == HTML:
            content_type = HTML
        named = Item(item.key, item.origin, _name(item, content_type, fetched.body), url=item.url)
        return named, Validators(fetched.etag, fetched.last_modified), content_type, fetched.body

    async def _store(self, item: Item, validators: Validators, content_type: str, content_hash: str, body: bytes) -> bool:
        """The bytes first, then the transaction that makes them a document; whether it did. What is stored and not used is swept
        later."""
        document_id = known.document_id if (known := self.known.get(item.key)) else None
        # The key names the document, whose id is given when the item is taken: a new one is settled here.
        document_id = document_id or uuid4()
        object_key = f"{self.source.workspace_id}/{document_id}/{uuid4()}{suffix_of(item.name)}"
        await self.collector.storage.upload_stream(object_key, _blocks(body), content_type=content_type)
        sha256 = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
        used = False
        try:
            async with self._item() as (transaction, repository, created_by):
                used = await repository.claim(
                    self.run, item, validators=validators, content_hash=content_hash, document_id=document_id
                )
                if used:
                    upload = DocumentUploaded(
                        workspace_id=self.source.workspace_id,
                        document_id=document_id,
                        object_key=object_key,
                        filename=item.name,
                        content_type=content_type,
                        size=len(body),
                        sha256=sha256,
                        uploaded_by=created_by,
                    )
                    used = await self._register(transaction, repository, item, upload)
        except RunStopped:
            await self.collector.storage.delete([object_key])
            raise
        if not used:
            await self.collector.storage.delete([object_key])
        return used

    async def _register(
        self, transaction: Transaction, repository: SourceRepository, item: Item, upload: DocumentUploaded
    ) -> bool:
        known = self.known.get(item.key)
        if known is not None and known.document_id is not None:
            before = await DocumentRepository(transaction.session).lock(upload.document_id)
            if before is None:
                await repository.count(self.run.run_id, "unchanged")
                return False  # deleted a moment ago
            # The name is what people see, and what they may have changed.
            version = max(before.version, await VersionRepository(transaction.session).newest(upload.document_id)) + 1
            upload = upload.model_copy(update={"version": version, "filename": before.filename})
        try:
            document = await register_version(
                transaction,
                upload,
                came_at=datetime.now(UTC),
                keep_versions=self.collector.keep_versions,
                source_id=self.source.source_id,
                origin=item.origin,
            )
        except WorkspaceErased as erased:
            raise RunStopped(str(erased)) from erased
        assert document is not None, "the row is locked, or new"
        transaction.emit(
            DocumentCollected(
                **upload.model_dump(
                    include={"workspace_id", "document_id", "version", "filename", "content_type", "size", "sha256"}
                ),
                source_id=self.source.source_id,
                run_id=self.run.run_id,
                origin=item.origin,
            )
        )
        await repository.count(self.run.run_id, "new" if upload.version == 1 else "changed")
        return True

    async def _tell_unchanged(self, *, when_due: bool = False) -> None:
        """Items that cost nothing are written down many at a time."""
        now = asyncio.get_running_loop().time()
        if when_due and len(self.unchanged) < TOLD_ITEMS and now - self.told_at < TOLD_SECONDS:
            return
        unchanged, self.unchanged = self.unchanged, {}
        self.told_at = now
        async with self._item() as (_, repository, _):
            done = await repository.note_unchanged(self.source.source_id, self.run.run_id, unchanged) if unchanged else 0
            if done:
                await repository.count(self.run.run_id, "unchanged", done)

    @contextlib.asynccontextmanager
    async def _item(self) -> AsyncIterator[tuple[Transaction, SourceRepository, UUID]]:
        """A transaction of a run that is still wanted, and whose source it is."""
        async with self.collector.db.transaction(self.delivery.cause) as transaction:
            repository = SourceRepository(transaction.session)
            created_by = await repository.hold_running(self.run.run_id)
            if created_by is None:
                raise RunStopped("The source was paused or deleted, or the run came to its end elsewhere.")
            yield transaction, repository, created_by


async def _blocks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 1 << 20):
        yield body[start : start + (1 << 20)]


def _name(item: Item, content_type: str, body: bytes) -> str:
    """What people see: a page's own title, a file's own name."""
    if content_type != HTML:
        return item.name if suffix_of(item.name) else item.name + _SUFFIXES.get(content_type, "")
    head = body[:HEAD_BYTES]
    lower = head.lower()
    start = lower.find(b"<title")
    end = lower.find(b"</title", start)
    if start >= 0 and end > start:
        title = head[start:end].partition(b">")[2].decode("utf-8", "replace")
        if title.strip() and "\ufffd" not in title:
            return name_of(unescape(title), ".html")
    return name_of(item.name, ".html")
