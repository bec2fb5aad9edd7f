"""Readers of formats, on files made here: what they give, and what they say of files that give nothing."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from docutalk_ingest.adapters.parsers import zip_limits
from docutalk_ingest.adapters.parsers.reading import read_document
from docutalk_ingest.domain import MAX_CHARACTERS, ParsedPage, ParseFailed

from .world import PACKAGE, RELATIONS, WORD, assemble, docx, paragraph, pdf


def read(folder: Path, data: bytes, filename: str) -> list[ParsedPage]:
    """The pages of a file with these bytes."""
    path = folder / "file"
    path.write_bytes(data)
    return list(read_document(path, filename)[1].pages)


def failure(folder: Path, data: bytes, filename: str) -> ParseFailed:
    """Why a file with these bytes gives no pages."""
    with pytest.raises(ParseFailed) as caught:
        read(folder, data, filename)
    return caught.value


class TestPdf:
    def test_pages_come_in_order_with_their_text(self, tmp_path: Path) -> None:
        pages = read(tmp_path, pdf("First page\nof two.", "Second page."), "a.pdf")
        assert [(page.label, page.text.split()) for page in pages] == [
            ("1", ["First", "page", "of", "two."]),
            ("2", ["Second", "page."]),
        ]

    def test_page_labels_are_those_of_the_document(self, tmp_path: Path) -> None:
        data = pdf("preface", "preface", "body", labels="0 << /S /r >> 2 << /S /D /P (A-) /St 3 >>")
        assert [page.label for page in read(tmp_path, data, "a.pdf")] == ["i", "ii", "A-3"]

    def test_lines_end_with_a_newline_only(self, tmp_path: Path) -> None:
        assert read(tmp_path, pdf("one\ntwo"), "a.pdf")[0].text == "one\ntwo"

    def test_junk_before_the_header_does_no_harm(self, tmp_path: Path) -> None:
        assert read(tmp_path, b"junk of a mail gateway\n" + pdf("Still read."), "a.pdf")[0].text == "Still read."

    def test_text_beside_the_page_is_left_out(self, tmp_path: Path) -> None:
        data = pdf("Shown.").replace(b"(Shown.) Tj", b"(Shown.) Tj 900 0 Td (Hidden) Tj").replace(b"/Length", b"/L")
        assert read(tmp_path, data, "a.pdf")[0].text.strip() == "Shown."

    def test_letters_below_one_another_become_a_column_again(self, tmp_path: Path) -> None:
        data = pdf("\n".join("VERTICALTEXT"))
        assert read(tmp_path, data, "a.pdf")[0].text == "VERTICALTEXT"

    def test_pdf_cut_in_half_is_damaged_and_not_half_read(self, tmp_path: Path) -> None:
        data = pdf(*["A page of text."] * 20)
        error = failure(tmp_path, data[: len(data) // 2], "a.pdf")
        assert error.code == "damaged"
        assert "end is missing" in error.reason

    def test_pdf_cut_after_an_earlier_end_mark_is_damaged(self, tmp_path: Path) -> None:
        """A file for the web has an end mark near its beginning, and one at its end."""
        data = pdf("One.") + b"9 0 obj\n<< /Type /Page >>\nendobj\n"
        assert failure(tmp_path, data, "a.pdf").code == "damaged"

    def test_encrypted_pdf_says_what_to_do(self, tmp_path: Path) -> None:
        zeros = "00" * 32
        trailer = (
            f"/ID [<{zeros[:32]}> <{zeros[:32]}>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -44 /O <{zeros}> /U <{zeros}> >>"
        )
        data = assemble(["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [] /Count 0 >>"], trailer=trailer)
        error = failure(tmp_path, data, "a.pdf")
        assert error.code == "encrypted"
        assert "password" in error.reason

    def test_garbage_after_the_header_is_damaged(self, tmp_path: Path) -> None:
        assert failure(tmp_path, b"%PDF-1.7\n" + bytes(range(256)) * 8, "a.pdf").code == "damaged"


class TestDocx:
    def test_paragraphs_tables_tabs_and_breaks(self, tmp_path: Path) -> None:
        body = (
            paragraph("Title")
            + "<w:p><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r></w:p>"
            + f"<w:tbl><w:tr><w:tc>{paragraph('x')}</w:tc><w:tc>{paragraph('y')}{paragraph('z')}</w:tc></w:tr></w:tbl>"
        )
        assert read(tmp_path, docx(body), "a.docx")[0].text == "Title\na\tb\nc\nx\ty z"

    def test_tracked_changes_read_as_accepted(self, tmp_path: Path) -> None:
        body = "<w:p><w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del></w:p>"
        assert read(tmp_path, docx(body), "a.docx")[0].text == "new"

    def test_alternative_content_is_read_once(self, tmp_path: Path) -> None:
        body = (
            "<w:p><mc:AlternateContent><mc:Choice><w:r><w:t>box</w:t></w:r></mc:Choice>"
            "<mc:Fallback><w:r><w:t>box</w:t></w:r></mc:Fallback></mc:AlternateContent></w:p>"
        )
        assert read(tmp_path, docx(body), "a.docx")[0].text == "box"

    def test_footnotes_follow_the_body_and_external_parts_are_not_fetched(self, tmp_path: Path) -> None:
        note = f"<w:footnotes xmlns:w='{WORD}'><w:footnote>{paragraph('A note.')}</w:footnote></w:footnotes>"
        relations = (
            f"<Relationship Id='r1' Type='{RELATIONS}/footnotes' Target='footnotes.xml'/>"
            f"<Relationship Id='r2' Type='{RELATIONS}/header' Target='http://127.0.0.1:9/x' TargetMode='External'/>"
        )
        data = docx(paragraph("Body."), parts={"word/footnotes.xml": note}, relations=relations)
        assert read(tmp_path, data, "a.docx")[0].text == "Body.\n\nA note."

    def test_entities_are_not_expanded(self, tmp_path: Path) -> None:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr(
                "word/document.xml",
                f"<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><w:document xmlns:w='{WORD}'><w:body>"
                "<w:p><w:r><w:t>kept &x;</w:t></w:r></w:p></w:body></w:document>",
            )
        assert read(tmp_path, out.getvalue(), "a.docx")[0].text == "kept"

    def test_zip_bomb_is_refused_before_it_is_unpacked(self, tmp_path: Path) -> None:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("word/document.xml", b"\0" * (zip_limits.MAX_RATIO * 100_000))
        assert failure(tmp_path, out.getvalue(), "a.docx").code == "too_large_unpacked"

    def test_too_many_entries_are_refused(self, tmp_path: Path) -> None:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("word/document.xml", "")
            for number in range(zip_limits.MAX_ENTRIES):
                archive.writestr(f"x{number}", "")
        assert failure(tmp_path, out.getvalue(), "a.docx").code == "too_large_unpacked"

    def test_cut_document_is_damaged(self, tmp_path: Path) -> None:
        data = docx(paragraph("Text " * 1000))
        assert failure(tmp_path, data[: len(data) // 2], "a.docx").code == "damaged"

    def test_document_without_text_says_so(self, tmp_path: Path) -> None:
        assert failure(tmp_path, docx("<w:p/>"), "a.docx").code == "no_text"

    def test_relations_namespace_is_the_packages(self) -> None:
        assert PACKAGE.encode() in zipfile.ZipFile(io.BytesIO(docx(""))).read("_rels/.rels")


class TestHtml:
    def test_article_is_kept_and_navigation_left_out(self, tmp_path: Path) -> None:
        prose = "".join(f"<p>On day {i} the harbour master wrote down {i * 7} ships and what they carried.</p>" for i in range(9))
        menu = "<nav><a href='/'>Home</a> <a href='/b'>Boats</a></nav>"
        page = f"<html><body>{menu}<article><h1>Log</h1>{prose}</article></body></html>"
        text = read(tmp_path, page.encode(), "a.html")[0].text
        assert "harbour master" in text
        assert "Boats" not in text

    def test_page_that_is_no_article_is_read_whole(self, tmp_path: Path) -> None:
        cells = "".join(f"<div><span>Part {i}</span><b>Price {i}.50</b></div>" for i in range(40))
        text = read(tmp_path, f"<!doctype html><body>{cells}</body>".encode(), "a.html")[0].text
        assert "Part 0" in text
        assert "Price 39.50" in text

    def test_words_are_not_torn_at_tags_inside_of_them(self, tmp_path: Path) -> None:
        cells = "".join(f"<div><span>Pa</span><b>rt</b> {i}</div>" for i in range(40))
        lines = read(tmp_path, f"<!doctype html><body>{cells}</body>".encode(), "a.html")[0].text.split("\n")
        assert lines[:2] == ["Part 0", "Part 1"]

    def test_page_inside_a_form_is_read(self, tmp_path: Path) -> None:
        page = b"<html><body><form><div>Name</div><div>Form 27-B, stroke 6</div></form></body></html>"
        assert "stroke 6" in read(tmp_path, page, "a.html")[0].text

    def test_scripts_are_no_text(self, tmp_path: Path) -> None:
        text = read(tmp_path, b"<html><body><script>evil()</script><p>Visible.</p></body></html>", "a.html")[0].text
        assert text == "Visible."

    def test_declared_encoding_is_used(self, tmp_path: Path) -> None:
        page = "<html><head><meta charset='iso-8859-2'></head><body><p>Žluťoučký kůň</p></body></html>"
        assert read(tmp_path, page.encode("iso-8859-2"), "a.html")[0].text == "Žluťoučký kůň"


class TestText:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
    def test_unicode_encodings_are_told_apart(self, tmp_path: Path, encoding: str) -> None:
        assert read(tmp_path, "Über den Fluss".encode(encoding), "a.txt")[0].text == "Über den Fluss"

    def test_old_encodings_are_guessed(self, tmp_path: Path) -> None:
        text = "Die Fähre über den Fluß fährt täglich um zwölf Uhr, außer an Sonntagen. " * 5
        assert read(tmp_path, text.encode("cp1252"), "a.txt")[0].text == text

    def test_line_ends_become_newlines(self, tmp_path: Path) -> None:
        assert read(tmp_path, b"a\r\nb\rc\n", "a.txt")[0].text == "a\nb\nc\n"

    def test_markdown_keeps_its_source(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"# Title\n\n*text*\n")
        media_type, document = read_document(path, "a.md")
        assert (media_type, [page.text for page in document.pages]) == ("text/markdown", ["# Title\n\n*text*\n"])

    def test_too_much_text_is_refused_without_reading_it(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        with path.open("wb") as file:
            file.write(b"one line ")
            file.truncate(MAX_CHARACTERS * 4 + 1)
        with path.open("r+b") as file:
            file.write(b"x" * 65536)
        with pytest.raises(ParseFailed) as caught:
            read_document(path, "a.txt")
        assert caught.value.code == "too_much_text"

    def test_a_character_too_many_is_refused(self, tmp_path: Path) -> None:
        assert failure(tmp_path, b"a" * (MAX_CHARACTERS + 1), "a.txt").code == "too_much_text"

    def test_white_space_only_is_no_text(self, tmp_path: Path) -> None:
        assert failure(tmp_path, b" \n\t ", "a.txt").code == "no_text"


class TestOther:
    def test_empty_file(self, tmp_path: Path) -> None:
        assert failure(tmp_path, b"", "a.pdf").code == "empty"

    def test_image_named_pdf_is_named_as_what_it_is(self, tmp_path: Path) -> None:
        error = failure(tmp_path, b"\0\0\0\x18ftypheic" + b"\0" * 64, "scan.pdf")
        assert error.code == "unsupported_type"
        assert "named .pdf but is an image (HEIC)" in error.reason

    def test_old_word_document_says_what_to_do(self, tmp_path: Path) -> None:
        error = failure(tmp_path, bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "a.doc")
        assert error.code == "unsupported_type"
        assert "not supported yet" in error.reason
        assert ".docx" in error.reason

    def test_broken_container_of_a_protected_file_is_damaged(self, tmp_path: Path) -> None:
        data = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600) + "EncryptedPackage".encode("utf-16-le") + bytes(100)
        assert failure(tmp_path, data, "a.docx").code == "damaged"

    def test_bytes_of_no_kind_are_unsupported(self, tmp_path: Path) -> None:
        assert failure(tmp_path, bytes(range(256)), "a.txt").code == "unsupported_type"
