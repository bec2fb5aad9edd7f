"""An archive becomes a workspace as it was, or nothing at all becomes of it."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from docutalk_common.contracts import chat
from docutalk_common.contracts.envelope import uuid7
from docutalk_common.process import wait_until
from docutalk_gateway.adapters.models import AuditEntry
from docutalk_gateway.domain import Limits
from docutalk_gateway.use_cases.check_archive import SizeLimits
from docutalk_gateway.use_cases.import_workspace import NewIds
from docutalk_local.testing import TestStack
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from .portable import Services, anonymous, archive_of, forget, jsonl, lines, packed, planted, sealed, unpacked

MIB = 1 << 20
LIMITS = SizeLimits(archive=64 * MIB, file=8 * MIB, quota=Limits())
Files = dict[str, bytes]


@pytest.fixture(scope="module", autouse=True)
async def _empty_bucket(gateway: Any) -> None:
    """All that is there is listed each time: nothing that other tests left."""
    await gateway.storage.delete(await gateway.storage.keys())


@pytest.fixture
async def services(stack: TestStack) -> AsyncIterator[Services]:
    found = Services()
    async with found.serving(stack):
        yield found


async def post(person: Any, archive: bytes, **more: Any) -> Any:
    """Sends an archive."""
    headers = {"Content-Type": "application/zip", **more.pop("headers", {})}
    return await person.http.post("/api/v1/imports", content=archive, headers=headers, **more)


async def imported(person: Any, archive: bytes, **more: Any) -> dict[str, Any]:
    """What became of an archive."""
    answer = await post(person, archive, **more)
    assert answer.status_code == 202, answer.text
    return await ended(person, answer.headers["location"])


async def ended(person: Any, location: str) -> dict[str, Any]:
    """An import that has come to its end."""
    found: dict[str, Any] = {}

    async def is_final() -> bool:
        found.update((await person.http.get(location)).raise_for_status().json())
        return found["status"] in {"done", "failed"}

    await wait_until(is_final, seconds=30, what="the import has come to its end", every=0.01)
    return found


async def state(gateway: Any) -> dict[str, Any]:
    """Everything that an import could change: the rows of every table but that of imports, and the objects."""
    found: dict[str, Any] = {"objects": sorted(await gateway.storage.keys())}
    async with gateway.db.read() as session:
        tables = await session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'gateway'"))
        # `rate_windows` counts requests, `idempotency_keys` and `sign_ins` are those of the requests themselves.
        for table in set(tables) - {"imports", "rate_windows", "sign_ins"}:
            # Not the rows themselves: other tests on the same servers leave thousands.
            rows = await session.execute(text(f"SELECT count(*), bit_xor(hashtextextended(t::text, 0)) FROM gateway.{table} t"))
            found[table] = tuple(rows.one())
    return found


async def archives_are_gone(gateway: Any) -> None:
    """Returns when none of an import that has ended is left: it goes a moment later."""

    async def none_is_left() -> bool:
        return not await gateway.storage.keys("imports/")

    await wait_until(none_is_left, seconds=20, what="the last archive is deleted")


async def test_archive_of_another_installation_is_the_same_workspace_again(gateway: Any, person: Any, services: Services) -> None:
    await planted(gateway, person, services)
    archive = await archive_of(person)
    await forget(gateway, services, person.workspace)

    found = await imported(person, archive)

    assert found["status"] == "done", found
    assert (found["workspace_id"], found["remapped"], found["reason"]) == (str(person.workspace), 0, None)
    assert found["progress"] == {"done": 14, "total": 14}
    assert await archive_of(person) == archive


async def test_archive_of_a_workspace_that_is_here_becomes_a_copy_with_ids_of_its_own(
    gateway: Any, person: Any, services: Services
) -> None:
    await planted(gateway, person, services)
    archive = await archive_of(person)

    found = await imported(person, archive)

    assert found["status"] == "done", found
    assert found["workspace_id"] != str(person.workspace)
    assert found["remapped"] == 15
    before, person.workspace = unpacked(archive), UUID(found["workspace_id"])
    after = unpacked(await archive_of(person))
    assert anonymous(after) == anonymous(before)
    for path in ("documents.jsonl", "sources.jsonl", "sessions.jsonl"):
        assert not set(ids_of(before, path)) & set(ids_of(after, path))
    cited = [citation["document_id"] for line in lines(after, "sessions.jsonl") for citation in line.get("citations", [])]
    unknown = {c["document_id"] for line in lines(before, "sessions.jsonl") for c in line.get("citations", [])}
    assert set(cited) - unknown <= set(ids_of(after, "documents.jsonl"))
    mine = (await person.http.get(f"/api/v1/workspaces/{person.workspace}")).json()
    assert (mine["name"], mine["description"], mine["system_prompt"], mine["role"]) == ("Werkstatt", "Text", "Be brief.", "owner")


def ids_of(files: Files, path: str) -> list[str]:
    """The ids of the records of a part."""
    names = ("document_id", "source_id", "session_id", "message_id")
    key = {"documents.jsonl": names[:1], "sources.jsonl": names[1:2], "sessions.jsonl": names[2:]}[path]
    return [line[name] for line in lines(files, path) for name in key if name in line]


async def test_new_ids_are_in_the_order_of_the_old_ones() -> None:
    old = sorted(uuid7() for _ in range(50))
    new = NewIds(uuid7())

    made = [new.of(one) for one in old]

    assert made == sorted(made) == [new.of(one) for one in old]
    assert len({*made, *old}) == 100
    assert {(one.version, one.variant) for one in made} == {(7, old[0].variant)}


CONTENTS = st.lists(st.binary(max_size=300), min_size=1, max_size=3)
WORKSPACES = st.fixed_dictionaries(
    {
        "documents": st.lists(CONTENTS, max_size=7),
        "sources": st.lists(st.text(min_size=1, max_size=20).filter(lambda name: "\x00" not in name), max_size=4),
        "turns": st.lists(st.integers(0, 4), max_size=4),
        "weight": st.none() | st.floats(0, 1),
        "stays": st.booleans(),
    }
)


@settings(max_examples=25)
@given(made=WORKSPACES)
async def test_whatever_is_exported_is_imported_as_it_was(
    gateway: Any, person: Any, services: Services, made: dict[str, Any]
) -> None:
    person.workspace = UUID((await person.http.post("/api/v1/workspaces", json={"name": "New"})).json()["id"])
    for name in made["sources"]:
        services.put_source(person.workspace, name)
    documents = [
        (await services.put_document(gateway.storage, person.workspace, *contents)).document_id for contents in made["documents"]
    ]
    for turns in made["turns"]:
        services.put_session(person.workspace, person.id, [*documents[:2], uuid7()], turns=turns)
    if made["weight"] is not None:
        services.weights[person.workspace] = made["weight"]
    archive = await archive_of(person)
    if not made["stays"]:
        await forget(gateway, services, person.workspace)

    found = await imported(person, archive)

    assert found["status"] == "done", found
    person.workspace = UUID(found["workspace_id"])
    again = await archive_of(person)
    if made["stays"]:
        assert anonymous(unpacked(again)) == anonymous(unpacked(archive))
    else:
        assert again == archive


async def test_imported_upload_is_known_by_its_bytes_and_gets_new_versions(gateway: Any, person: Any, services: Services) -> None:
    await planted(gateway, person, services)
    found = await imported(person, await archive_of(person))
    person.workspace = UUID(found["workspace_id"])

    answer = await person.upload(("again.txt", b"one again"), ("fresh.txt", b"two"))

    first, second = answer.json()["documents"]
    assert first["duplicate_of"] == first["id"]
    assert UUID(first["id"]) in services.documents[person.workspace]
    assert "duplicate_of" not in second  # those bytes were brought by a source


async def test_name_can_be_another_one(gateway: Any, person: Any, services: Services) -> None:
    found = await imported(person, await archive_of(person), params={"name": "  Copy  "})

    mine = (await person.http.get(f"/api/v1/workspaces/{found['workspace_id']}")).json()
    assert mine["name"] == "Copy"


async def test_model_that_is_not_here_is_left_out_and_told(gateway: Any, person: Any, services: Services) -> None:
    services.answering[person.workspace] = chat.ChatSettings(model="elsewhere", passages=7)

    found = await imported(person, await archive_of(person))

    assert found["status"] == "done"
    assert "elsewhere" in found["reason"]
    assert services.answering[UUID(found["workspace_id"])] == chat.ChatSettings(passages=7)


async def test_archive_made_by_another_program_is_read(gateway: Any, person: Any, services: Services) -> None:
    await planted(gateway, person, services)
    files = unpacked(await archive_of(person))

    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert (await imported(person, packed(files, method=method)))["status"] == "done"


async def test_import_is_in_the_audit_log_and_its_archive_is_gone(gateway: Any, person: Any, services: Services) -> None:
    answer = await post(person, await archive_of(person))
    found = await ended(person, answer.headers["location"])

    async with gateway.db.read() as session:
        [entry] = await session.scalars(
            select(AuditEntry).where(AuditEntry.workspace_id == UUID(found["workspace_id"]), AuditEntry.action.like("%imported"))
        )
    assert (entry.actor_id, entry.target_id) == (person.id, UUID(found["id"]))

    async def is_gone() -> bool:
        return f"imports/{found['id']}.zip" not in await gateway.storage.keys("imports/")

    await wait_until(is_gone, seconds=10, what="the archive is deleted")


async def test_imports_are_listed_to_their_person_only(gateway: Any, person: Any, services: Services) -> None:
    found = await imported(person, await archive_of(person))
    other = await gateway.person()

    listed = (await person.http.get("/api/v1/imports")).json()
    theirs = (await other.http.get("/api/v1/imports")).json()

    assert listed["items"][0] == found
    assert theirs["items"] == []
    assert (await other.http.get(f"/api/v1/imports/{found['id']}")).status_code == 404


async def test_same_key_imports_once(gateway: Any, person: Any, services: Services) -> None:
    archive = await archive_of(person)
    headers = {"Idempotency-Key": uuid4().hex}

    first = await post(person, archive, headers=headers)
    again = await post(person, archive, headers=headers)
    other = await post(person, archive + b"x", headers=headers)

    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert other.status_code == 422
    await ended(person, first.headers["location"])


async def test_archive_larger_than_the_limit_is_refused(gateway_with: Any, services: Services) -> None:
    async with gateway_with(max_import_bytes=1000) as small:
        someone = await small.person()
        before = await state(small)

        answer = await post(someone, bytes(1001))

        assert answer.status_code == 413
        assert await state(small) == before


async def test_body_that_is_no_archive_is_refused_by_its_type(person: Any) -> None:
    answer = await person.http.post("/api/v1/imports", json={})

    assert answer.status_code == 422


# Archives that are refused ---------------------------------------------------------------------------------------


@dataclass
class Hostile:
    """An archive that was right, and somebody who sends what was made of it."""

    gateway: Any
    person: Any
    files: Files
    archive: bytes

    async def is_refused(self, archive: bytes, *, because: str = "") -> None:
        """It comes to nothing: not a row and not an object is left."""
        await archives_are_gone(self.gateway)
        before = await state(self.gateway)
        found = await imported(self.person, archive)

        async def is_as_before() -> bool:
            return await state(self.gateway) == before

        assert found["status"] == "failed", found
        assert because in found["reason"], found["reason"]
        assert found["workspace_id"] is None
        # The archive itself goes a moment later.
        await wait_until(is_as_before, seconds=30, what="everything is as it was")

    def with_lines(self, path: str, change: Callable[[list[dict[str, Any]]], Any]) -> bytes:
        """The archive with other records, and a manifest that is right about them."""
        records = lines(self.files, path)
        changed = change(records)
        return packed(sealed({**self.files, path: jsonl(records if changed is None else changed)}))


@pytest.fixture
async def hostile(gateway: Any, person: Any, services: Services) -> Hostile:
    await planted(gateway, person, services)
    archive = await archive_of(person)
    return Hostile(gateway, person, unpacked(archive), archive)


async def test_archive_that_was_only_repacked_is_taken(hostile: Hostile) -> None:
    # What the tests below begin with.
    assert (await imported(hostile.person, packed(sealed(hostile.files))))["status"] == "done"
    assert (await imported(hostile.person, hostile.with_lines("documents.jsonl", lambda _: None)))["status"] == "done"


async def test_truncated_archive_changes_nothing(hostile: Hostile) -> None:
    for end in [0, 1, 21, 22, 100, *range(200, len(hostile.archive), len(hostile.archive) // 25), len(hostile.archive) - 1]:
        await hostile.is_refused(hostile.archive[:end])


@settings(max_examples=60)
@given(data=st.data())
async def test_archive_with_a_flipped_bit_changes_nothing_or_only_looked_different(
    gateway: Any, services: Services, hostile: Hostile, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(hostile.archive) * 8 - 1))
    flipped = bytearray(hostile.archive)
    flipped[place // 8] ^= 1 << place % 8
    await archives_are_gone(gateway)
    before = await state(gateway)

    found = await imported(hostile.person, bytes(flipped))

    if found["status"] == "done":
        # A time, a flag or padding: nothing that is read. What was read is as it was.
        hostile.person.workspace = UUID(found["workspace_id"])
        assert anonymous(unpacked(await archive_of(hostile.person))) == anonymous(hostile.files)
    else:

        async def is_as_before() -> bool:
            return await state(gateway) == before

        await wait_until(is_as_before, seconds=30, what="everything is as it was")


NAMES = [
    "../evil",
    "/etc/passwd",
    "files/../x",
    "files\\x",
    "C:\\x",
    "a.txt",
    "files/",
    "nested.zip",
    "files/x/1.txt",
    "é.txt",
]


@pytest.mark.parametrize("name", NAMES)
async def test_archive_with_another_file_changes_nothing(hostile: Hostile, name: str) -> None:
    await hostile.is_refused(packed({**hostile.files, name: b"x"}))


async def test_archive_with_a_file_that_no_line_names_changes_nothing(hostile: Hostile) -> None:
    await hostile.is_refused(packed({**hostile.files, f"files/{uuid4()}/1.txt": b"x"}), because="no document names")


@pytest.mark.filterwarnings("ignore:Duplicate name")
async def test_archive_with_a_file_twice_changes_nothing(hostile: Hostile) -> None:
    target = io.BytesIO(packed(hostile.files))
    with zipfile.ZipFile(target, "a") as made:
        made.writestr("sources.jsonl", b"")

    await hostile.is_refused(target.getvalue(), because="twice")


async def test_archive_without_one_of_its_files_changes_nothing(hostile: Hostile) -> None:
    for name in hostile.files:
        await hostile.is_refused(packed({key: value for key, value in hostile.files.items() if key != name}))


async def test_archive_with_a_changed_file_changes_nothing(hostile: Hostile) -> None:
    name = next(name for name in hostile.files if name.startswith("files/"))

    await hostile.is_refused(packed({**hostile.files, name: b"eno"}), because=f"{name} is not what")


async def test_archive_with_a_changed_part_changes_nothing(hostile: Hostile) -> None:
    changed = hostile.files["sources.jsonl"].replace(b"News", b"Snew")

    await hostile.is_refused(packed({**hostile.files, "sources.jsonl": changed}), because="sources.jsonl is not what")


async def test_encrypted_archive_changes_nothing(hostile: Hostile) -> None:
    flagged = bytearray(packed(hostile.files))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = flagged.find(signature)
        while place >= 0:
            flagged[place + flags] |= 1
            place = flagged.find(signature, place + 1)

    await hostile.is_refused(bytes(flagged), because="encrypted")


async def test_archive_with_a_symbolic_link_changes_nothing(hostile: Hostile) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for name, content in hostile.files.items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, (0o120777 if name.startswith("files/") else 0o100644) << 16
            made.writestr(info, content)

    await hostile.is_refused(target.getvalue(), because="link")


def bomb(files: Files, name: str, size: int, *, declared: int | None = None) -> bytes:
    """The archive with a file of so many zeros, which may say that it has fewer."""
    archive = packed({**files, name: bytes(size)})
    if declared is None:
        return archive
    return archive.replace(struct.pack("<I", size), struct.pack("<I", declared))


async def test_file_that_unpacks_to_more_than_it_says_changes_nothing(hostile: Hostile) -> None:
    [name] = [name for name in hostile.files if len(hostile.files[name]) == 3000]
    lying = bomb(hostile.files, name, 5_000_017, declared=3000)

    await hostile.is_refused(lying, because="larger than the archive says")


async def test_archive_that_unpacks_to_far_more_than_it_has_changes_nothing(hostile: Hostile) -> None:
    await hostile.is_refused(bomb(hostile.files, f"files/{uuid4()}/1.txt", 40 * MIB), because="when it is unpacked")


async def test_file_larger_than_an_upload_may_be_changes_nothing(hostile: Hostile) -> None:
    name = f"files/{uuid4()}/1.txt"

    await hostile.is_refused(packed({**hostile.files, name: bytes(9 * MIB)}, method=zipfile.ZIP_STORED), because=name)


async def test_entries_that_lie_over_each_other_change_nothing(hostile: Hostile) -> None:
    archive = bytearray(packed(hostile.files, method=zipfile.ZIP_STORED))
    central = archive.find(b"PK\x01\x02")
    second = archive.find(b"PK\x01\x02", central + 1)
    archive[second + 42 : second + 46] = archive[central + 42 : central + 46]

    await hostile.is_refused(bytes(archive), because="over another part")


async def test_newer_format_is_refused_with_what_to_do(hostile: Hostile) -> None:
    await hostile.is_refused(packed(sealed(hostile.files, version=2)), because="newer DocuTalk")


@pytest.mark.parametrize(
    "said",
    [
        {"format": "something else"},
        {"version": 0},
        {"version": "1"},
        {"extra": 1},
        {"workspace": {}},
        {"parts": []},
        {"counts": {"documents": 4, "files": 4, "sources": 1, "sessions": 2, "messages": 8}},
        {"counts": {"documents": -1, "files": 4, "sources": 1, "sessions": 2, "messages": 8}},
    ],
)
async def test_manifest_that_is_wrong_changes_nothing(hostile: Hostile, said: dict[str, Any]) -> None:
    await hostile.is_refused(packed(sealed(hostile.files, **said)))


@pytest.mark.parametrize("manifest", [b"", b"{}", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"format":NaN}'])
async def test_manifest_that_is_none_changes_nothing(hostile: Hostile, manifest: bytes) -> None:
    await hostile.is_refused(packed({**hostile.files, "manifest.json": manifest}))


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ({"extra": 1}, "line 1"),
        ({"filename": "a\x00b"}, "line 1"),
        ({"filename": ""}, "line 1"),
        ({"created_at": "2026-03-01T12:30:15"}, "time zone"),
        ({"created_at": 5}, "line 1"),
        ({"document_id": "x"}, "line 1"),
        ({"source_id": str(UUID(int=5))}, "source"),
        ({"versions": []}, "line 1"),
        ({"document_id": str(UUID(int=5))}, "line 1"),
    ],
)
async def test_document_that_is_wrong_changes_nothing(hostile: Hostile, change: dict[str, Any], because: str) -> None:
    await hostile.is_refused(hostile.with_lines("documents.jsonl", lambda found: found[0].update(change)), because=because)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"version": 2**40},
        {"size": -1},
        {"size": 4},
        {"sha256": "x"},
        {"content_type": "text/plain\r\nX-Evil: 1"},
        {"path": None},
        {"path": "files/../../etc/passwd"},
        {"object_key": "imports/x"},
    ],
)
async def test_version_that_is_wrong_changes_nothing(hostile: Hostile, change: dict[str, Any]) -> None:
    await hostile.is_refused(hostile.with_lines("documents.jsonl", lambda found: found[0]["versions"][0].update(change)))


async def test_records_that_are_there_twice_change_nothing(hostile: Hostile) -> None:
    for path in ("documents.jsonl", "sources.jsonl", "sessions.jsonl"):
        await hostile.is_refused(hostile.with_lines(path, lambda found: [*found, found[-1]]), because="twice")


@pytest.mark.parametrize(
    "change",
    [
        {"type": "other"},
        {"session_id": str(UUID(int=5))},
        {"reply_to": str(UUID(int=5))},
        {"role": "system"},
        {"rating": 5},
        {"text": "x" * 100_001},
        {"markers_removed": 2**40},
        {"citations": [{"marker": 1}]},
        {"filters": {"document_ids": ["x"]}},
        {"usage": {"input_tokens": 1, "output_tokens": 1, "cost_usd": float("inf")}},
    ],
)
async def test_message_that_is_wrong_changes_nothing(hostile: Hostile, change: dict[str, Any]) -> None:
    await hostile.is_refused(
        hostile.with_lines("sessions.jsonl", lambda found: found[1].update(change)), because="sessions.jsonl"
    )


async def test_answer_to_nothing_changes_nothing(hostile: Hostile) -> None:
    answer = {"reply_to": None, "role": "assistant"}

    await hostile.is_refused(hostile.with_lines("sessions.jsonl", lambda found: found[2].update(answer)))


@pytest.mark.parametrize("line", [b"", b"{", b'{"a":"\\ud800"}', b"x" * 2_000_000, b"[" * 50_000, b"\xff"])
async def test_line_that_is_none_changes_nothing(hostile: Hostile, line: bytes) -> None:
    part = hostile.files["sources.jsonl"] + line + b"\n"

    await hostile.is_refused(packed(sealed({**hostile.files, "sources.jsonl": part})), because="line 2")


async def test_part_without_its_last_line_break_changes_nothing(hostile: Hostile) -> None:
    cut = hostile.files["documents.jsonl"][:-1]

    await hostile.is_refused(packed(sealed({**hostile.files, "documents.jsonl": cut})), because="middle of a line")


async def test_archive_without_files_is_refused_with_what_to_do(hostile: Hostile) -> None:
    archive = await archive_of(hostile.person, include_files=False)

    await hostile.is_refused(archive, because="include_files=true")


async def test_archive_without_conversations_is_taken(hostile: Hostile) -> None:
    archive = await archive_of(hostile.person, include_sessions=False)

    assert (await imported(hostile.person, archive))["status"] == "done"


async def test_something_else_is_refused(hostile: Hostile) -> None:
    for other in (b"", b"hello", zlib.compress(b"hello"), packed({}), packed({"word/document.xml": b"<x/>"}), bytes(100_000)):
        await hostile.is_refused(other)


@settings(max_examples=40)
@given(content=st.binary(max_size=400), begins=st.sampled_from([b"", b"PK\x03\x04"]), ends=st.integers(0, 200))
async def test_whatever_is_sent_changes_nothing(hostile: Hostile, content: bytes, begins: bytes, ends: int) -> None:
    await hostile.is_refused(begins + content + hostile.archive[len(hostile.archive) - ends :])


async def test_more_than_a_workspace_may_hold_is_refused(gateway_with: Any, services: Services) -> None:
    async with gateway_with(quota_documents=2) as small:
        someone = await small.person()
        await planted(small, someone, services)
        archive = await archive_of(someone)

        found = await imported(someone, archive)

        assert found["status"] == "failed"
        assert "may hold 2 documents" in found["reason"]


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "a\x00b"])
async def test_name_that_is_none_is_refused(person: Any, name: str) -> None:
    answer = await post(person, b"x", params={"name": name})

    assert answer.status_code == 422
