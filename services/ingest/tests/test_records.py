"""What a workspace takes, and its records carried to another one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts.ingest import (
    ExportedDocument,
    ExportedRecords,
    ExportedSource,
    ExportedVersion,
    ExportRecords,
    GetUsage,
    ImportRecords,
    KnownRecords,
    RecordsImported,
    Schedule,
    SourceKind,
    WorkspaceUsage,
)
from docutalk_common.db import Cause, Database
from docutalk_common.errors import RequestFailed
from docutalk_ingest.adapters.source_repository import SourceRepository
from docutalk_ingest.adapters.source_tables import source_runs, sources
from docutalk_ingest.adapters.tables import documents, versions
from docutalk_ingest.adapters.tombstones import bury_workspace
from docutalk_ingest.domain import freeze
from docutalk_ingest.use_cases.export_records import MAX_PAGE_BYTES, export_records
from docutalk_ingest.use_cases.find_known_records import find_known_records
from docutalk_ingest.use_cases.get_usage import get_usage
from docutalk_ingest.use_cases.import_records import import_records
from docutalk_local.testing import TestStack
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select, update

from .world import registered, resting, uploaded

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
async def db(stack: TestStack) -> AsyncIterator[Database]:
    """The database with nobody at work: what is imported here has no files."""
    async with resting(stack) as db:
        yield db
        async with db.transaction(Cause.new()) as transaction:
            await transaction.session.execute(delete(sources))


async def imported(db: Database, workspace_id: UUID, records: ExportedRecords, by: UUID | None = None) -> RecordsImported:
    request = ImportRecords(
        workspace_id=workspace_id, imported_by=by or uuid4(), sources=records.sources, documents=records.documents
    )
    return await import_records(request, Cause.new(), db, lambda: None)


async def pages_of(db: Database, workspace_id: UUID) -> list[ExportedRecords]:
    """An export, page by page."""
    pages = [await export_records(ExportRecords(workspace_id=workspace_id), db)]
    while pages[-1].next is not None:
        pages.append(await export_records(ExportRecords(workspace_id=workspace_id, after=pages[-1].next), db))
    return pages


async def exported(db: Database, workspace_id: UUID) -> ExportedRecords:
    """An export as a whole."""
    pages = await pages_of(db, workspace_id)
    return ExportedRecords(
        sources=[source for page in pages for source in page.sources],
        documents=[document for page in pages for document in page.documents],
    )


def carried(records: ExportedRecords, workspace_id: UUID) -> ExportedRecords:
    """The records under other ids, with their files in the place of another workspace. Ids keep their order."""

    def other(id_: UUID) -> UUID:
        return UUID(int=id_.int ^ 1)

    return ExportedRecords(
        sources=[source.model_copy(update={"source_id": other(source.source_id)}) for source in records.sources],
        documents=[
            document.model_copy(
                update={
                    "document_id": other(document.document_id),
                    "source_id": other(document.source_id) if document.source_id else None,
                    "versions": [
                        version.model_copy(
                            update={
                                "object_key": f"{workspace_id}/{other(document.document_id)}/"
                                + version.object_key.rpartition("/")[2]
                            }
                        )
                        for version in document.versions
                    ],
                }
            )
            for document in records.documents
        ],
    )


# --- made records

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
names = words.map(lambda text: " ".join(freeze(text).split())).filter(bool)
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
even_ids = st.uuids().map(lambda id_: UUID(int=id_.int & ~1))
configs = st.one_of(
    st.builds(lambda title, text: (SourceKind.TEXT, {"title": title, "text": text}), names, names),
    st.builds(
        lambda paths: (SourceKind.URLS, {"urls": [f"http://example.org/{path}" for path in paths]}),
        st.lists(st.integers(0, 999), min_size=1, max_size=4),
    ),
    st.just((SourceKind.CSV, {"text": "id,name\n1,a\n", "key_column": "id"})),
    st.just((SourceKind.FEED, {"url": "http://example.org/feed", "full_text": True, "max_items": 5})),
    st.builds(lambda query: (SourceKind.SEARCH, {"query": query, "max_results": 3}), names),
)
schedules = st.one_of(
    st.none(),
    st.builds(Schedule, every_seconds=st.integers(60, 10_000)),
    st.builds(Schedule, cron=st.just("5 4 * * 1"), timezone=st.sampled_from(["UTC", "Asia/Tokyo"])),
)


@st.composite
def made_sources(draw: st.DrawFn) -> list[ExportedSource]:
    found = []
    for id_ in sorted(draw(st.sets(even_ids, max_size=4))):
        kind, config = draw(configs)
        about = {"source_id": id_, "kind": kind, "config": config}
        found.append(
            ExportedSource(
                **about, name=draw(names), schedule=draw(schedules), paused=draw(st.booleans()), created_at=draw(times)
            )
        )
    return found


@st.composite
def made_records(draw: st.DrawFn) -> tuple[UUID, ExportedRecords]:
    """A workspace, and what an export of it may hold."""
    workspace_id = draw(even_ids)
    of = draw(made_sources())
    links = st.sampled_from([None, *(source.source_id for source in of)])
    found = []
    for id_ in sorted(draw(st.sets(even_ids, max_size=6))):
        kept = [
            ExportedVersion(
                version=number,
                filename=draw(words),
                content_type=draw(words),
                size=draw(st.integers(0, 1 << 40)),
                sha256=draw(words),
                object_key=f"{workspace_id}/{id_}/{number}",
                created_at=draw(times),
            )
            for number in sorted(draw(st.sets(st.integers(1, 30), min_size=1, max_size=5)))
        ]
        about = {"document_id": id_, "versions": kept, "source_id": draw(links)}
        found.append(ExportedDocument(**about, filename=draw(words), created_at=draw(times), origin=draw(st.none() | words)))
    return workspace_id, ExportedRecords(sources=of, documents=found)


@given(made_records())
@examples(max_examples=40)
async def test_what_is_exported_and_imported_elsewhere_is_exported_there_as_it_was(
    db: Database, made: tuple[UUID, ExportedRecords]
) -> None:
    workspace_id, records = made
    elsewhere = uuid4()
    try:
        said = await imported(db, workspace_id, records)
        assert (said.sources, said.documents) == (len(records.sources), len(records.documents))
        first = await exported(db, workspace_id)
        assert first == records
        moved = carried(first, elsewhere)
        await imported(db, elsewhere, moved)
        assert await exported(db, elsewhere) == moved
        assert await imported(db, elsewhere, moved) == said, "again it does no harm"
        assert await exported(db, elsewhere) == moved
        assert await exported(db, workspace_id) == records
    finally:
        # The same ids are drawn again.
        async with db.transaction(Cause.new()) as transaction:
            for table in (documents, sources):
                which = table.c.workspace_id.in_([workspace_id, elsewhere])
                await transaction.session.execute(delete(table).where(which))


# --- pages


def a_version(workspace_id: UUID, document_id: UUID, number: int = 1, **about: Any) -> ExportedVersion:
    values = {"filename": "a.txt", "content_type": "text/plain", "size": 3, "sha256": "x", "created_at": NOON}
    key = f"{workspace_id}/{document_id}/{number}.txt"
    return ExportedVersion.model_validate({"version": number, "object_key": key, **values, **about})


def a_document(workspace_id: UUID, *numbers: int, **about: Any) -> ExportedDocument:
    document_id = uuid4()
    kept = [a_version(workspace_id, document_id, number) for number in numbers or (1,)]
    values = {"document_id": document_id, "filename": "a.txt", "created_at": NOON, "versions": kept}
    return ExportedDocument.model_validate(values | about)


def a_source(**about: Any) -> ExportedSource:
    values = {"source_id": uuid4(), "kind": SourceKind.TEXT, "name": "a", "config": {"title": "a", "text": "b"}}
    return ExportedSource.model_validate({**values, "created_at": NOON, **about})


async def test_pages_fit_into_messages_and_together_hold_each_record_once_in_order(db: Database) -> None:
    workspace_id = uuid4()
    texts = [{"title": "a", "text": "w" * 200_000} for _ in range(5)]
    huge = {"urls": [f"http://example.org/{number}/{'u' * 900}" for number in range(900)]}
    records = ExportedRecords(
        sources=[*(a_source(config=config) for config in texts), a_source(kind=SourceKind.URLS, config=huge)],
        documents=[a_document(workspace_id, filename="f" * 200) for _ in range(1200)],
    )
    await imported(db, workspace_id, records)
    await registered(db, uploaded(filename="of others.txt"))
    pages = await pages_of(db, workspace_id)
    assert len(pages) >= 5
    for page in pages:
        size, count = len(page.model_dump_json().encode()), len(page.sources) + len(page.documents)
        assert count
        assert size <= MAX_PAGE_BYTES + 200 + count or count == 1
    together = await exported(db, workspace_id)
    ids = [source.source_id for source in together.sources]
    assert ids == sorted(source.source_id for source in records.sources)
    ids = [document.document_id for document in together.documents]
    assert ids == sorted(document.document_id for document in records.documents)


async def test_what_is_deleted_is_not_exported_and_a_new_name_is(db: Database) -> None:
    workspace_id = uuid4()
    kept, gone, source, gone_source = a_document(workspace_id), a_document(workspace_id), a_source(), a_source()
    await imported(db, workspace_id, ExportedRecords(sources=[source, gone_source], documents=[kept, gone]))
    async with db.transaction(Cause.new()) as transaction:
        for table, column, id_ in (
            (documents, documents.c.document_id, gone.document_id),
            (sources, sources.c.source_id, gone_source.source_id),
        ):
            await transaction.session.execute(update(table).where(column == id_).values(deleted_at=func.now()))
        which = documents.c.document_id == kept.document_id
        await transaction.session.execute(update(documents).where(which).values(filename="renamed.txt"))
    found = await exported(db, workspace_id)
    assert found.sources == [source]
    assert found.documents == [kept.model_copy(update={"filename": "renamed.txt"})]


@pytest.mark.parametrize("after", ["", "nonsense", "source:1", "page:3f2504e0-4f89-11d3-9a0c-0305e82c3301"])
async def test_place_that_no_page_gave_is_refused(db: Database, after: str) -> None:
    with pytest.raises(RequestFailed, match="`after` is not the `next` of a page") as caught:
        await export_records(ExportRecords(workspace_id=uuid4(), after=after), db)
    assert caught.value.code == "invalid"


# --- bringing them in


WORKSPACE = UUID("5d0f7c1e-6a44-4b7e-8d4c-3a1f0c2b9e10")


def with_version(**about: Any) -> ExportedDocument:
    document = a_document(WORKSPACE)
    return document.model_copy(update={"versions": [a_version(WORKSPACE, document.document_id, **about)]})


TWICE = a_document(WORKSPACE)
INVALID = [
    (a_document(WORKSPACE, versions=[]), "no versions"),
    (a_document(WORKSPACE, 2, 1), "not in order"),
    (a_document(WORKSPACE, 1, 1), "not in order"),
    (a_document(WORKSPACE, 0), "not in order"),
    (with_version(object_key=f"{uuid4()}/x"), "do not lie in its place"),
    (with_version(object_key=f"{WORKSPACE}/{uuid4()}/x"), "do not lie in its place"),
    (with_version(size=-1), "impossible size"),
    (with_version(filename="\x00.txt"), "NUL"),
    (with_version(created_at="2026-05-01T12:00:00"), "time zone"),
    (a_source(config={"title": "a"}), "text"),
    (a_source(name=" "), "name"),
    (a_source(schedule=Schedule(every_seconds=1)), "every_seconds"),
    (a_source(created_at="2026-05-01T12:00:00"), "time zone"),
]


@pytest.mark.parametrize(("record", "about"), INVALID, ids=[str(number) for number in range(len(INVALID))])
async def test_import_with_something_that_cannot_be_is_refused_as_a_whole(
    db: Database, record: ExportedDocument | ExportedSource, about: str
) -> None:
    good = ExportedRecords(sources=[a_source()], documents=[a_document(WORKSPACE)])
    if isinstance(record, ExportedSource):
        bad = good.model_copy(update={"sources": [*good.sources, record]})
    else:
        bad = good.model_copy(update={"documents": [*good.documents, record]})
    with pytest.raises(RequestFailed, match=about) as caught:
        await imported(db, WORKSPACE, bad)
    assert caught.value.code == "invalid"
    assert str(caught.value).endswith(".")
    assert await exported(db, WORKSPACE) == ExportedRecords()


async def test_same_record_twice_is_refused(db: Database) -> None:
    document, source = a_document(WORKSPACE), a_source()
    for records in (ExportedRecords(documents=[document, document]), ExportedRecords(sources=[source, source])):
        with pytest.raises(RequestFailed, match="twice"):
            await imported(db, WORKSPACE, records)


@pytest.mark.parametrize("case", ["of another workspace", "deleted", "source of another workspace", "workspace erased"])
async def test_import_that_conflicts_changes_nothing(db: Database, case: str) -> None:
    workspace_id, other = uuid4(), uuid4()
    document, source = a_document(workspace_id), a_source()
    if case == "of another workspace":
        theirs = document.model_copy(update={"versions": [a_version(other, document.document_id)]})
        await imported(db, other, ExportedRecords(documents=[theirs]))
    if case == "deleted":
        await imported(db, workspace_id, ExportedRecords(documents=[document]))
        async with db.transaction(Cause.new()) as transaction:
            which = documents.c.document_id == document.document_id
            await transaction.session.execute(update(documents).where(which).values(deleted_at=func.now()))
    if case == "source of another workspace":
        await imported(db, other, ExportedRecords(sources=[source]))
    if case == "workspace erased":
        async with db.transaction(Cause.new()) as transaction:
            await bury_workspace(transaction.session, workspace_id)
    before = await exported(db, other)
    records = ExportedRecords(sources=[a_source(), source], documents=[a_document(workspace_id), document])
    with pytest.raises(RequestFailed) as caught:
        await imported(db, workspace_id, records)
    assert caught.value.code == "conflict"
    assert await exported(db, workspace_id) == ExportedRecords()
    assert await exported(db, other) == before


async def test_imported_sources_run_by_their_schedules_from_now_on_and_not_at_once(db: Database) -> None:
    workspace_id, by = uuid4(), uuid4()
    hourly = Schedule(every_seconds=3600)
    records = ExportedRecords(sources=[a_source(schedule=hourly), a_source(schedule=hourly, paused=True), a_source()])
    await imported(db, workspace_id, records, by)
    async with db.read() as session:
        found = {
            source.source_id: source for source in (await SourceRepository(session).find(workspace_id, page=1, per_page=9))[0]
        }
        runs = await session.scalar(
            select(func.count()).select_from(source_runs).where(source_runs.c.workspace_id == workspace_id)
        )
    on, paused, unscheduled = (found[source.source_id] for source in records.sources)
    assert on.next_run_at is not None
    assert timedelta(minutes=59) < on.next_run_at - datetime.now(UTC) <= timedelta(minutes=61)
    assert (paused.paused, paused.next_run_at, unscheduled.next_run_at, runs) == (True, None, None, 0)
    assert {source.created_by for source in found.values()} == {by}


async def test_document_whose_source_is_not_there_belongs_to_none(db: Database) -> None:
    workspace_id, other = uuid4(), uuid4()
    theirs = a_source()
    await imported(db, other, ExportedRecords(sources=[theirs]))
    records = [a_document(workspace_id, source_id=id_, origin="http://example.org/") for id_ in (uuid4(), theirs.source_id)]
    await imported(db, workspace_id, ExportedRecords(documents=records))
    found = (await exported(db, workspace_id)).documents
    assert [(document.source_id, document.origin) for document in found] == [(None, "http://example.org/")] * 2


# --- what is there


async def test_usage_counts_what_is_kept_and_what_of_it_was_collected(db: Database) -> None:
    workspace_id = uuid4()
    assert await get_usage(GetUsage(workspace_id=workspace_id), db) == WorkspaceUsage()
    read = await registered(db, uploaded(workspace_id=workspace_id), size=100, page_count=5, served_version=1)
    collected = await registered(db, uploaded(workspace_id=workspace_id), origin="http://example.org/", page_count=7)
    waiting = await registered(db, uploaded(workspace_id=workspace_id))
    gone = await registered(db, uploaded(workspace_id=workspace_id), page_count=11)
    await registered(db, uploaded(), page_count=13)
    await imported(db, workspace_id, ExportedRecords(sources=[a_source()]))
    async with db.transaction(Cause.new()) as transaction:
        for document, size, pages in ((read, 100, 5), (collected, 1000, 7), (waiting, 10_000, None), (gone, 100_000, 11)):
            which = versions.c.document_id == document.document_id
            await transaction.session.execute(update(versions).where(which).values(size=size, page_count=pages))
        # Another version is being read; the first one is served.
        newer = select(versions).where(versions.c.document_id == read.document_id).subquery()
        columns = [newer.c[column.name] if column.name != "version" else newer.c.version + 1 for column in versions.c]
        await transaction.session.execute(insert(versions).from_select(list(versions.c), select(*columns)))
        which = documents.c.document_id == read.document_id
        await transaction.session.execute(update(documents).where(which).values(version=2, page_count=None))
        which = documents.c.document_id == gone.document_id
        await transaction.session.execute(update(documents).where(which).values(deleted_at=func.now()))
    assert await get_usage(GetUsage(workspace_id=workspace_id), db) == WorkspaceUsage(
        documents=3, bytes=11_200, pages=12, collected_documents=1, collected_bytes=1000, sources=1, older_bytes=100
    )


async def test_ids_of_documents_and_sources_are_known_in_any_workspace_also_deleted_ones(db: Database) -> None:
    document, source, deleted = a_document(WORKSPACE), a_source(), await registered(db, uploaded())
    workspace_id = uuid4()
    await imported(db, workspace_id, ExportedRecords(sources=[source]))
    found = await registered(db, uploaded())
    async with db.transaction(Cause.new()) as transaction:
        which = documents.c.document_id == deleted.document_id
        await transaction.session.execute(update(documents).where(which).values(deleted_at=func.now()))
    known = [source.source_id, deleted.document_id, found.document_id]
    answer = await find_known_records(KnownRecords(ids=[document.document_id, *known]), db)
    assert sorted(answer.ids) == sorted(known)
    with pytest.raises(RequestFailed, match="At most 1000"):
        await find_known_records(KnownRecords(ids=[uuid4()] * 1001), db)
