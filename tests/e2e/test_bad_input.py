"""Files that cannot be read end with a clear status, and delay nobody."""

from __future__ import annotations

from docutalk_common.testing.pdf import make_pdf
from docutalk_local.testing.system import System

GOOD = make_pdf(["The next document is not delayed."])
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + bytes(2000)
# The standard security handler, revision 2, with a user password that is not empty.
ENCRYPTED = make_pdf(["secret"]).replace(
    b"/Root 1 0 R",
    b"/Root 1 0 R /ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>] "
    b"/Encrypt << /Filter /Standard /V 1 /R 2 /Length 40 /P -4 /O <" + b"11" * 32 + b"> /U <" + b"22" * 32 + b"> >>",
)


async def test_each_bad_file_fails_with_a_reason_and_the_good_ones_are_ready(shared_system: System) -> None:
    person = await shared_system.register("clumsy@example.com")
    whole = make_pdf([f"Page {n}" for n in range(50)])
    bad = {
        "empty.pdf": b"",
        "half.pdf": whole[: len(whole) // 2],
        "locked.pdf": ENCRYPTED,
        "photo.pdf": JPEG,
        "endless.txt": b"lorem ipsum " * (100 * 1024 * 1024 // 12),
    }
    files = []
    for name, content in bad.items():
        files += [(name, content), (f"good-after-{name}.pdf", GOOD + f"%{name}\n".encode())]
    accepted = await person.upload(files)
    documents = await person.until_final([d["id"] for d in accepted], seconds=120)
    outcome = {d["filename"]: d for d in documents.values()}
    for name in bad:
        document = outcome[name]
        # pdfium mends some cut files from what is left; then the pages that are there must be right.
        if name == "half.pdf" and document["status"] == "ready":
            assert document["page_count"] < 50
            continue
        assert document["status"] == "failed", f"{name} ended {document['status']}"
        assert len(document["reason"]) > 20, f"{name}: {document['reason']!r} tells a person nothing"
        assert outcome[f"good-after-{name}.pdf"]["status"] == "ready"
    assert "password" in outcome["locked.pdf"]["reason"].lower() or "encrypt" in outcome["locked.pdf"]["reason"].lower()
    assert "empty" in outcome["empty.pdf"]["reason"].lower()
    assert "image" in outcome["photo.pdf"]["reason"].lower()
