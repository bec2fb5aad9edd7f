"""Formats that are made of text: what is kept of them, where its parts lie, and that odd files end in text or a reason."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import re
import zipfile
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from docutalk_common.contracts.ingest import DocumentMetadata
from docutalk_ingest.adapters.parsers.dates import parse_date
from docutalk_ingest.adapters.parsers.page_text import MAX_UNITS, PageText, finish_units
from docutalk_ingest.adapters.parsers.reading import read_document
from docutalk_ingest.domain import MAX_CHARACTERS, ParsedPage, ParseFailed, TooMuchText, UnitSpan
from hypothesis import given, settings
from hypothesis import strategies as st

from .world import docx, paragraph, pdf

FORBIDDEN = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")


def read_whole(folder: Path, data: bytes | str, filename: str) -> tuple[str, list[ParsedPage], DocumentMetadata]:
    """Media type, pages and metadata of a file; its units are checked to lie inside of its text."""
    path = folder / "file"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    media_type, document = read_document(path, filename)
    pages = list(document.pages)
    for page in pages:
        assert not FORBIDDEN.search(page.text)
        for unit in page.units:
            assert 0 <= unit.start < unit.end <= len(page.text)
            assert not FORBIDDEN.search(unit.label)
    return media_type, pages, document.metadata


def read_page(folder: Path, data: bytes | str, filename: str) -> ParsedPage:
    """The only page of a file."""
    (page,) = read_whole(folder, data, filename)[1]
    return page


def failure(folder: Path, data: bytes | str, filename: str) -> ParseFailed:
    """Why a file gives no pages."""
    with pytest.raises(ParseFailed) as caught:
        read_whole(folder, data, filename)
    return caught.value


def units(page: ParsedPage, kind: str) -> list[tuple[str, int, str]]:
    """Label, level and text of the units of a kind."""
    return [(unit.label, unit.level, page.text[unit.start : unit.end]) for unit in page.units if unit.kind == kind]


class TestUnits:
    def test_heading_reaches_to_the_next_of_its_level_or_a_higher_one(self) -> None:
        page = PageText()
        for text, level in (("A", 1), ("a", 2), ("deep", 3), ("b", 2), ("B", 1)):
            page.heading(text, level)
            page.add("\nbody\n")
        found = {label: " ".join(text.split()) for label, _, text in units(page.page(), "heading")}
        assert found["A"] == "A body a body deep body b body"
        assert found["a"] == "a body deep body"
        assert found["deep"] == "deep body"
        assert found["B"] == "B body"

    def test_too_many_of_a_kind_are_left_out_and_others_stay(self) -> None:
        rows = [UnitSpan("row", str(i), i, i + 1) for i in range(MAX_UNITS + 1)]
        assert finish_units([*rows, UnitSpan("header", "x", 0, 4)], MAX_UNITS * 2) == [UnitSpan("header", "x", 0, 4)]

    def test_places_are_those_of_the_frozen_text(self) -> None:
        page = PageText()
        page.add("\x00a\ud800\r\n")
        page.heading("T\x07itle", 1)
        made = page.page()
        assert (made.text, units(made, "heading")) == ("a\ufffd\nTitle", [("Title", 1, "Title")])

    def test_too_much_text_is_refused_when_it_comes(self) -> None:
        page = PageText()
        page.add("x" * MAX_CHARACTERS)
        with pytest.raises(TooMuchText):
            page.add("x")


class TestMarkdown:
    def test_headings_of_both_kinds_are_units_and_code_is_none(self, tmp_path: Path) -> None:
        source = "# One *bold* #\n\ntext\n\nTwo\n===\n\n```\n# no heading\n```\n\nThree\n---\n\n- item\n---\n\n#hashtag\n"
        page = read_page(tmp_path, source, "a.md")
        assert page.text == source
        assert [(label, level) for label, level, _ in units(page, "heading")] == [("One bold", 1), ("Two", 1), ("Three", 2)]

    def test_front_matter_tells_title_author_date_and_language(self, tmp_path: Path) -> None:
        source = "---\ntitle: 'A plan'\nauthor: Ada\ndate: 2024-03-01\nlang: de-AT\n---\n# Other\n"
        metadata = read_whole(tmp_path, source, "a.md")[2]
        assert metadata == DocumentMetadata(
            title="A plan", author="Ada", created_at=datetime(2024, 3, 1, tzinfo=UTC), language="de"
        )

    def test_first_heading_is_the_title_without_front_matter(self, tmp_path: Path) -> None:
        assert read_whole(tmp_path, "intro\n\n## Small\n\n# Big\n", "a.md")[2].title == "Big"

    def test_long_line_of_marks_takes_no_time(self, tmp_path: Path) -> None:
        assert read_page(tmp_path, "# a" + " #" * 200_000 + "\n" + "[" * 200_000, "a.md").text


class TestDelimited:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
    def test_rows_become_lines_of_cells_whatever_parts_them(self, tmp_path: Path, delimiter: str, encoding: str) -> None:
        rows = [["Größe", "Preis, netto", "Ort"], ["12", "3.50", 'a "b"'], ["13", "4.50", "two\nlines"]]
        out = io.StringIO()
        for row in rows:
            out.write(delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) + "\r\n")
        page = read_page(tmp_path, out.getvalue().encode(encoding), "a.csv")
        assert page.text == 'Größe\tPreis, netto\tOrt\n12\t3.50\ta "b"\n13\t4.50\ttwo lines'
        assert units(page, "row")[1] == ("Row 2", 0, '12\t3.50\ta "b"')

    def test_decimal_commas_do_not_part_cells(self, tmp_path: Path) -> None:
        assert read_page(tmp_path, "a;b\n1,5;2,5\n3,5;4,5\n", "a.csv").text == "a\tb\n1,5\t2,5\n3,5\t4,5"

    def test_column_of_prose_is_left_as_it_is(self, tmp_path: Path) -> None:
        source = "Lorem, ipsum\ndolor sit\namet, consectetur, elit\nsed do\n"
        assert read_page(tmp_path, source, "a.csv").text.strip() == source.strip()

    def test_quote_that_is_never_closed_swallows_no_rows(self, tmp_path: Path) -> None:
        source = 'name,size\nnail 3",7\n"screw,8\n' + "".join(f"part {i},{i}\n" for i in range(400))
        text = read_page(tmp_path, source, "a.csv").text
        assert "\npart 399\t399" in text
        assert '"screw\t8\n' in text

    def test_long_table_has_no_units_for_its_rows(self, tmp_path: Path) -> None:
        page = read_page(tmp_path, "a,b\n" * (MAX_UNITS + 1), "a.csv")
        assert page.units == []
        assert page.text.count("a\tb") == MAX_UNITS + 1


class TestJson:
    def test_values_stand_beside_their_names(self, tmp_path: Path) -> None:
        source = {"name": "Ada", "born": 1815, "address": {"city": "London"}, "tags": ["x", "y"], "no": None, "ok": True}
        page = read_page(tmp_path, json.dumps(source), "a.json")
        assert page.text == "name: Ada\nborn: 1815\naddress.city: London\ntags: x, y\nok: true"

    def test_records_are_units_called_by_their_name(self, tmp_path: Path) -> None:
        source = {"page": 1, "items": [{"id": 7, "title": "Boat"}, {"id": 8, "note": "no title"}, {"note": "nothing"}]}
        page = read_page(tmp_path, json.dumps(source), "a.json")
        assert page.text.startswith("page: 1\n\nid: 7\ntitle: Boat\n\nid: 8")
        assert [label for label, _, _ in units(page, "record")] == ["Boat", "8", "Record 3"]

    def test_numbers_and_repeated_names_stay_as_they_are_written(self, tmp_path: Path) -> None:
        page = read_page(tmp_path, '{"a": 1.10, "a": 12345678901234567890123, "b": 1e999}', "a.json")
        assert page.text == "a: 1.10\na: 12345678901234567890123\nb: 1e999"

    def test_lines_of_json_are_records_and_other_lines_stay(self, tmp_path: Path) -> None:
        media_type, (page,), _ = read_whole(tmp_path, '{"name": "a"}\n{"name": "b"}\nnot json\n{"name": "c"}\n', "a.jsonl")
        assert media_type == "application/jsonl"
        assert [label for label, _, _ in units(page, "record")] == ["a", "b", "c"]
        assert "not json" in page.text

    def test_json_is_told_without_its_suffix(self, tmp_path: Path) -> None:
        assert read_whole(tmp_path, '{"a": {"b": "c"}}', "download")[0] == "application/json"

    @pytest.mark.parametrize("source", ['{"a": tru', "{'a': 1}", "[1, 2"])
    def test_invalid_json_is_read_as_text(self, tmp_path: Path, source: str) -> None:
        assert read_page(tmp_path, source, "a.json").text == source

    @pytest.mark.parametrize("depth", [900, 200_000])
    def test_deep_nesting_ends_in_text(self, tmp_path: Path, depth: int) -> None:
        assert "needle" in read_page(tmp_path, '{"a":[' * depth + '"needle"' + "]}" * depth, "a.json").text

    def test_half_surrogates_and_zeros_in_escapes_become_harmless(self, tmp_path: Path) -> None:
        assert read_page(tmp_path, '{"title": "a\\ud800\\u0000b"}', "a.json").text == "title: a\ufffdb"

    def test_json_without_values_says_so(self, tmp_path: Path) -> None:
        assert failure(tmp_path, '{"a": [], "b": null}', "a.json").code == "no_text"


class TestRtf:
    def test_paragraphs_tables_and_special_characters(self, tmp_path: Path) -> None:
        source = (
            rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}{\f1\fcharset204 Arial Cyr;}}"
            rb"{\pard Gr\'fc\'dfe \endash  \u8364?\u-10179?\u-8704?\~x\par}"
            rb"{\f1 \'cf\'f0\'e8\'e2\'e5\'f2\par}"
            rb"\trowd\pard\intbl One\par line\cell Two\cell\row \pard After.\par}"
        )
        page = read_page(tmp_path, source, "a.rtf")
        assert page.text == "Grüße – €😀\xa0x\nПривет\nOne line\tTwo\nAfter."

    def test_headings_by_outline_level_and_by_style(self, tmp_path: Path) -> None:
        source = (
            rb"{\rtf1{\stylesheet{\s1\outlinelevel0 heading 1;}{\s2\outlinelevel1 heading 2;}}"
            rb"\pard\s1 First\par\pard text\par\pard\s2 Second\par\pard more\par\pard\outlinelevel0 Third\par}"
        )
        page = read_page(tmp_path, source, "a.rtf")
        assert units(page, "heading") == [
            ("First", 1, "First\ntext\nSecond\nmore"),
            ("Second", 2, "Second\nmore"),
            ("Third", 1, "Third"),
        ]

    def test_metadata_is_no_text(self, tmp_path: Path) -> None:
        source = rb"{\rtf1{\info{\title A {\'e4}}{\author Ada}{\creatim\yr2020\mo2\dy3\hr4}{\operator Eve}}Body.}"
        _, (page,), metadata = read_whole(tmp_path, source, "a.rtf")
        assert page.text == "Body."
        assert metadata == DocumentMetadata(title="A ä", author="Ada", created_at=datetime(2020, 2, 3, 4, tzinfo=UTC))

    def test_pictures_hidden_text_and_instructions_are_left_out_and_notes_follow(self, tmp_path: Path) -> None:
        source = (
            rb"{\rtf1 {\header Head\par}Seen{\v hidden}{\pict\wmetafile8 "
            + b"0af3" * 5000
            + rb"}{\pict\bin5 }}{{\}"
            + rb"{\field{\*\fldinst HYPERLINK x}{\fldrslt  link}}{\footnote A note.\par}{\*\other nothing} end.\par}"
        )
        assert read_page(tmp_path, source, "a.rtf").text == "Seen link end.\n\nA note.\n\nHead"

    def test_cut_file_gives_what_it_holds(self, tmp_path: Path) -> None:
        assert read_page(tmp_path, rb"{\rtf1 {\b Bold} and th", "a.rtf").text == "Bold and th"

    def test_deep_nesting_is_refused(self, tmp_path: Path) -> None:
        assert failure(tmp_path, rb"{\rtf1 " + b"{" * 100_000 + b"x", "a.rtf").code == "damaged"

    def test_document_without_text_says_so(self, tmp_path: Path) -> None:
        assert failure(tmp_path, rb"{\rtf1{\pict 00}}", "a.rtf").code == "no_text"


def epub(
    chapters: dict[str, str | None], *, nav: str = "", ncx: str = "", metadata: str = "", extra: dict[str, str] | None = None
) -> bytes:
    """A book with these files in its spine, in a folder of their own; one without text is missing."""
    items = "".join(f"<item id='c{i}' href='text/{name}' media-type='application/xhtml+xml'/>" for i, name in enumerate(chapters))
    refs = "".join(f"<itemref idref='c{i}'/>" for i in range(len(chapters)))
    items += "<item id='nav' href='nav.xhtml' properties='nav' media-type='application/xhtml+xml'/>" if nav else ""
    items += "<item id='ncx' href='toc.ncx' media-type='application/x-dtbncx+xml'/>" if ncx else ""
    package = (
        "<package xmlns='http://www.idpf.org/2007/opf'><metadata xmlns:dc='http://purl.org/dc/elements/1.1/'>"
        f"{metadata}</metadata><manifest>{items}</manifest><spine toc='ncx'>{refs}</spine></package>"
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr("META-INF/container.xml", "<container><rootfile full-path='OPS/a.opf'/></container>")
        archive.writestr("OPS/a.opf", package)
        for name, text in {"nav.xhtml": nav, "toc.ncx": ncx}.items():
            if text:
                archive.writestr(f"OPS/{name}", text)
        for name, chapter in chapters.items():
            if chapter is not None:
                archive.writestr(f"OPS/text/{name.replace('%20', ' ')}", chapter)
        for name, text in (extra or {}).items():
            archive.writestr(name, text)
    return out.getvalue()


class TestEpub:
    def test_chapters_come_in_the_order_of_the_spine_with_their_titles(self, tmp_path: Path) -> None:
        nav = "<html><body><nav epub:type='toc'><a href='text/b%20c.xhtml#p'>The <i>end</i></a></nav></body></html>"
        data = epub({"z.xhtml": "<p>First.</p>", "b%20c.xhtml": "<h1>End</h1><p>Last.</p>"}, nav=nav)
        pages = read_whole(tmp_path, data, "a.epub")[1]
        assert [(page.label, page.kind, page.text) for page in pages] == [
            ("1", "chapter", "First."),
            ("The end", "chapter", "End\nLast."),
        ]
        assert units(pages[1], "heading") == [("End", 1, "End\nLast.")]

    def test_titles_of_an_older_table_of_contents(self, tmp_path: Path) -> None:
        ncx = "<ncx><navPoint><navLabel><text>One</text></navLabel><content src='text/a.xhtml#x'/></navPoint></ncx>"
        assert [page.label for page in read_whole(tmp_path, epub({"a.xhtml": "<p>x</p>"}, ncx=ncx), "a.epub")[1]] == ["One"]

    def test_metadata(self, tmp_path: Path) -> None:
        said = (
            "<dc:title>A book</dc:title><dc:creator>Ada</dc:creator><dc:creator>Bob</dc:creator><dc:language>en-GB</dc:language>"
            "<dc:date>1999-04</dc:date><meta property='dcterms:modified'>2020-01-02T03:04:05Z</meta>"
        )
        metadata = read_whole(tmp_path, epub({"a.xhtml": "<p>x</p>"}, metadata=said), "a.epub")[2]
        assert metadata == DocumentMetadata(
            title="A book",
            author="Ada, Bob",
            language="en",
            created_at=datetime(1999, 4, 1, tzinfo=UTC),
            modified_at=datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC),
        )

    def test_elements_that_xhtml_closes_at_once_swallow_nothing(self, tmp_path: Path) -> None:
        chapter = "<?xml version='1.0'?><html><head><title/><script src='x'/></head><p>Kept<a id='n'/> all.</p></html>"
        assert read_page(tmp_path, epub({"a.xhtml": chapter}), "a.epub").text == "Kept all."

    def test_missing_chapter_is_an_unreadable_page(self, tmp_path: Path) -> None:
        pages = read_whole(tmp_path, epub({"a.xhtml": "<p>Here.</p>", "b.xhtml": None}), "a.epub")[1]
        assert [(page.text, page.readable) for page in pages] == [("Here.", True), ("", False)]

    def test_copy_protection_is_named(self, tmp_path: Path) -> None:
        lock = (
            "<encryption xmlns:e='http://www.w3.org/2001/04/xmlenc#'><e:EncryptedData>"
            "<e:EncryptionMethod Algorithm='{}'/></e:EncryptedData></encryption>"
        )
        text: dict[str, str | None] = {"a.xhtml": "<p>x</p>"}
        locked = {"META-INF/encryption.xml": lock.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc")}
        fonts = {"META-INF/encryption.xml": lock.format("http://www.idpf.org/2008/embedding")}
        error = failure(tmp_path, epub(text, extra=locked), "a.epub")
        assert error.code == "encrypted"
        assert "DRM" in error.reason
        assert read_page(tmp_path, epub(text, extra=fonts), "a.epub").text == "x"

    def test_book_without_chapters_is_damaged(self, tmp_path: Path) -> None:
        assert failure(tmp_path, epub({}), "a.epub").code == "damaged"

    def test_entities_of_the_package_are_not_expanded(self, tmp_path: Path) -> None:
        data = epub({"a.xhtml": "<p>x</p>"}, metadata="<dc:title>&lol;</dc:title>")
        bomb = b"<!DOCTYPE p [<!ENTITY lol 'lollollol'>]><package"
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
            for name in source.namelist():
                target.writestr(name, source.read(name).replace(b"<package", bomb))
        assert "lollol" not in str(read_whole(tmp_path, out.getvalue(), "a.epub")[2])


def mail(**headers: str) -> EmailMessage:
    """A mail with these headers, and `From` and `Date`."""
    message = EmailMessage()
    for name, value in {"From": "Ada <ada@example.com>", "Date": "Fri, 16 Dec 2022 17:04:16 -0500", **headers}.items():
        message[name] = value
    return message


class TestMail:
    def test_header_body_and_metadata(self, tmp_path: Path) -> None:
        subject = "Über alles und noch sehr viel mehr, in einer Zeile, die länger ist als erlaubt"
        message = mail(Subject=subject, To="bob@example.com")
        message.set_content("Grüße.\n")
        media_type, (page,), metadata = read_whole(tmp_path, message.as_bytes(policy=SMTP), "saved")
        assert media_type == "message/rfc822"
        ((label, _, header),) = units(page, "header")
        assert label == metadata.title == subject
        assert header.split("\n")[:2] == ["From: Ada <ada@example.com>", "To: bob@example.com"]
        assert page.text.endswith("\n\nGrüße.")
        assert metadata.author == "Ada <ada@example.com>"
        assert metadata.created_at == datetime(2022, 12, 16, 22, 4, 16, tzinfo=UTC)

    def test_plain_text_is_preferred_and_html_is_read_without_it(self, tmp_path: Path) -> None:
        both = mail(Subject="x")
        both.set_content("The plain form.")
        both.add_alternative("<p>The <b>rich</b> form.</p>", subtype="html")
        assert "rich" not in read_page(tmp_path, both.as_bytes(), "a.eml").text
        rich = mail(Subject="x")
        rich.set_content("<h1>Offer</h1><p>The <b>rich</b> form.</p><script>no()</script>", subtype="html")
        page = read_page(tmp_path, rich.as_bytes(), "a.eml")
        assert page.text.endswith("Offer\nThe rich form.")
        assert units(page, "heading")

    def test_attached_files_are_read_and_the_others_named(self, tmp_path: Path) -> None:
        message = mail(Subject="Files")
        message.set_content("See below.")
        word = docx(paragraph("Inside of Word."))
        message.add_attachment(word, maintype="application", subtype="octet-stream", filename="brief für dich.docx")
        message.add_attachment(pdf("On paper."), maintype="application", subtype="pdf", filename="p.pdf")
        message.add_attachment(b"a;b\n1;2\n", maintype="text", subtype="csv", filename="t.csv")
        message.add_attachment(b"\x7fELF" + bytes(20), maintype="application", subtype="octet-stream", filename="p.bin")
        page = read_page(tmp_path, message.as_bytes(), "a.eml")
        found = {label: text for label, _, text in units(page, "attachment")}
        assert found["brief für dich.docx"] == "Attachment: brief für dich.docx\nInside of Word."
        assert found["p.pdf"] == "Attachment: p.pdf\nOn paper."
        assert found["t.csv"] == "Attachment: t.csv\na\tb\n1\t2"
        assert "(not read: " in found["p.bin"]

    def test_mails_in_mails_are_read_to_a_depth(self, tmp_path: Path) -> None:
        message = mail(Subject="0")
        message.set_content("body 0")
        for number in range(1, 8):
            outer = mail(Subject=str(number))
            outer.set_content(f"body {number}")
            outer.add_attachment(message)
            message = outer
        text = read_page(tmp_path, message.as_bytes(), "a.eml").text
        assert all(f"body {number}" in text for number in (7, 6, 5, 4))
        assert "body 3" not in text

    def test_files_in_the_form_that_is_not_shown_are_kept(self, tmp_path: Path) -> None:
        message = mail(Subject="x")
        message.set_content("Plain.")
        message.add_alternative("<p>Rich.</p>", subtype="html")
        rich = list(message.iter_parts())[1]
        rich.make_mixed()
        rich.add_attachment(b"kept text", maintype="text", subtype="plain", filename="k.txt")
        text = read_page(tmp_path, message.as_bytes(), "a.eml").text
        assert "kept text" in text
        assert "Rich" not in text

    @pytest.mark.parametrize(
        "source",
        [
            b"From: a@b\nDate: x\nSubject: =?nope?q?a=?= =?utf-8?b?!!!?=\n\nbody",
            b"From: a@b\nDate: x\nContent-Type: text/plain; charset=klingon\nContent-Transfer-Encoding: base64\n\nYm9keQ",
            b"From: \xff\xfe\xe4\nDate: 1\nContent-Type: multipart/mixed\n\nno boundary, body",
            "From: a@b\nDate: x\nSubject: ä\n\nbody".encode("utf-16"),
        ],
    )
    def test_malformed_mails_give_what_they_hold(self, tmp_path: Path, source: bytes) -> None:
        assert "body" in read_page(tmp_path, source, "a.eml").text

    def test_thousands_of_parts_come_to_an_end(self, tmp_path: Path) -> None:
        part = "--b\nContent-Disposition: attachment; filename=x.txt\n\nx\n"
        source = "From: a@b\nDate: x\nContent-Type: multipart/mixed; boundary=b\n\n" + part * 5_000 + "--b--\n"
        assert "too many attachments" in read_page(tmp_path, source, "a.eml").text


class TestHtml:
    def test_headings_of_an_article_are_units(self, tmp_path: Path) -> None:
        prose = "".join(f"<p>On day {i} the harbour master wrote down {i * 7} ships and what they carried.</p>" for i in range(9))
        source = f"<html><body><article><h1>Log</h1>{prose}<h2>Notes  <i>too</i></h2>{prose}</article></body></html>"
        page = read_page(tmp_path, source, "a.html")
        assert [(label, level) for label, level, _ in units(page, "heading")][-1] == ("Notes too", 2)

    def test_headings_of_a_page_that_is_no_article(self, tmp_path: Path) -> None:
        cells = "".join(f"<div><span>Part {i}</span><b>Price {i}.50</b></div>" for i in range(40))
        page = read_page(tmp_path, f"<!doctype html><body><h2><div>Parts</div></h2>{cells}<h2></h2><p>End</p></body>", "a.html")
        assert [label for label, _, _ in units(page, "heading")] == ["Parts"]

    def test_title_author_date_and_language_are_told(self, tmp_path: Path) -> None:
        head = (
            "<html lang='de-CH'><head><title>The log - Harbour</title><meta name='author' content='Ada Lovelace'>"
            "<meta property='article:published_time' content='2021-05-06T07:08:09Z'></head>"
        )
        metadata = read_whole(tmp_path, head + "<body><p>Ein Absatz.</p></body></html>", "a.html")[2]
        assert metadata.title is not None
        assert metadata.title.startswith("The log")
        assert (metadata.author, metadata.language) == ("Ada Lovelace", "de")

    @pytest.mark.parametrize(
        "source",
        [
            "<html><body>" + "<div>" * 3_000 + "needle" + "</div>" * 3_000,
            "<html><body>" + "<b>" * 50_000 + "needle",
            "<html><body>" + "<table><tr><td>" * 2_000 + "needle",
            "<html><body><h1>needle" + "<h2>" * 2_000,
        ],
        ids=["blocks", "inline", "tables", "headings"],
    )
    def test_deep_nesting_ends_in_text(self, tmp_path: Path, source: str) -> None:
        assert "needle" in read_page(tmp_path, source, "a.html").text

    def test_names_of_encodings_mean_what_browsers_take_them_for(self, tmp_path: Path) -> None:
        page = "<html><head><meta charset='iso-8859-1'></head><body><p>“quoted” – 5 €</p></body></html>"
        assert read_page(tmp_path, page.encode("cp1252"), "a.html").text == "“quoted” – 5 €"


class TestText:
    def test_stray_bytes_of_another_encoding_spoil_only_themselves(self, tmp_path: Path) -> None:
        data = "Überall größere Häuser für schöne Mädchen. ".encode() * 20 + "Süß".encode("cp1252")
        assert read_page(tmp_path, data, "a.txt").text.endswith("Mädchen. Süß")

    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
    @pytest.mark.parametrize("text", ["Все люди рождаются свободными.", "すべての 人間は、生まれながらにして 自由であり\n"])
    def test_utf_16_without_a_mark_in_other_scripts(self, tmp_path: Path, text: str, encoding: str) -> None:
        assert read_page(tmp_path, text.encode(encoding), "a.txt").text == text

    def test_stray_zeros_do_not_make_a_text_unreadable(self, tmp_path: Path) -> None:
        data = b"A log with a hole.\n" * 20 + b"\0" + b"And on it goes.\n" * 20
        assert read_page(tmp_path, data, "a.log").text == data.replace(b"\0", b"").decode()

    @pytest.mark.parametrize("data", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, b"\n", b"\0" * 100])
    def test_file_of_nothing_has_a_reason(self, tmp_path: Path, data: bytes) -> None:
        assert failure(tmp_path, data, "a.txt").reason.endswith(".")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-05-06T12:30:00+02:00", datetime(2024, 5, 6, 10, 30, tzinfo=UTC)),
        ("Mon, 20 Nov 1995 19:12:08 -0500", datetime(1995, 11, 21, 0, 12, 8, tzinfo=UTC)),
        ("0000-00-00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("some day", None),
        (None, None),
    ],
)
def test_dates(text: str | None, moment: datetime | None) -> None:
    assert parse_date(text) == moment


_STARTS = {
    "a.rtf": b"{\\rtf1 ",
    "a.html": b"<html><body>",
    "a.csv": b"",
    "a.json": b"[",
    "a.jsonl": b'{"a":1}\n',
    "a.eml": b"From: a\nDate: b\n",
    "a.md": b"# x\n",
}
_PIECES = st.sampled_from(
    [
        *rb"""\u-10179 \' { } \bin9 <h1> </h1> <td> " , =?utf-8?b? ?= \ud800 [ ] words of text \info \title \footnote""".split(),
        *(b"\n", b"\r", b"\x00", b"\xff", b" ", b"Content-Type: multipart/mixed; boundary=x\n\n--x\n"),
    ]
)


@pytest.mark.parametrize("filename", _STARTS)
@given(pieces=st.lists(_PIECES | st.binary(max_size=8), max_size=30))
@settings(max_examples=40)
def test_any_bytes_end_in_clean_text_or_a_reason(tmp_path: Path, filename: str, pieces: list[bytes]) -> None:
    with contextlib.suppress(ParseFailed):
        read_whole(tmp_path, _STARTS[filename] + b"".join(pieces), filename)
