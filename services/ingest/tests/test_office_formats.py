"""Office formats, on files made here and by other writers: pages, units, metadata, and files under a password."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import io
import os
import zlib
from pathlib import Path

import olefile
import pptx
import pytest
import xlsxwriter
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from docutalk_common import content_type as kinds
from docutalk_ingest.adapters.parsers.reading import read_document
from docutalk_ingest.domain import UnitSpan
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from .office_files import (
    OPEN_DOCUMENT,
    cell,
    covered,
    deck,
    encrypted,
    failure,
    named,
    old_container,
    old_workbook,
    open_document,
    opened,
    read,
    relations,
    shape,
    workbook,
    zipped,
)
from .world import RELATIONS, WORD, docx, paragraph

CORE = (
    "<c:coreProperties xmlns:c='http://schemas.openxmlformats.org/package/2006/metadata/core-properties'"
    " xmlns:dc='http://purl.org/dc/elements/1.1/' xmlns:t='http://purl.org/dc/terms/'><dc:title> Harbour\nlog </dc:title>"
    "<dc:creator>A. Mate</dc:creator><t:created>2024-03-01T10:00:00Z</t:created><t:modified>no date</t:modified>"
    "</c:coreProperties>"
)


def styled(text: str, style: str) -> str:
    """A Word paragraph in a style."""
    return f"<w:p><w:pPr><w:pStyle w:val='{style}'/></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


class TestWord:
    STYLES = (
        f"<w:styles xmlns:w='{WORD}'>"
        "<w:style w:styleId='Titel'><w:name w:val='Title'/></w:style>"
        "<w:style w:styleId='berschrift1'><w:name w:val='heading 1'/></w:style>"
        "<w:style w:styleId='berschrift2'><w:name w:val='heading 2'/></w:style>"
        "<w:style w:styleId='Own'><w:name w:val='Clause'/><w:basedOn w:val='berschrift2'/></w:style>"
        "<w:style w:styleId='Legal'><w:name w:val='Article'/><w:pPr><w:outlineLvl w:val='0'/></w:pPr></w:style>"
        "<w:style w:styleId='a'><w:name w:val='a'/><w:basedOn w:val='b'/></w:style>"
        "<w:style w:styleId='b'><w:name w:val='b'/><w:basedOn w:val='a'/></w:style>"
        "</w:styles>"
    )
    RELATION = f"<Relationship Id='s' Type='{RELATIONS}/styles' Target='styles.xml'/>"

    def test_headings_of_every_language_reach_to_the_next_of_their_level(self, tmp_path: Path) -> None:
        body = (
            styled("One", "berschrift1")
            + paragraph("text")
            + styled("One A", "Own")
            + paragraph("more")
            + styled("Two", "Legal")
            + paragraph("end")
            + styled("no heading", "a")
        )
        data = docx(body, parts={"word/styles.xml": self.STYLES}, relations=self.RELATION)
        page = read(tmp_path, data, "a.docx")[0]
        assert [(unit.label, unit.level, covered(page, unit)) for unit in page.units] == [
            ("One", 1, "One\ntext\nOne A\nmore"),
            ("One A", 2, "One A\nmore"),
            ("Two", 1, "Two\nend\nno heading"),
        ]

    def test_notes_belong_to_no_heading(self, tmp_path: Path) -> None:
        note = f"<w:footnotes xmlns:w='{WORD}'><w:footnote>{paragraph('A note.')}</w:footnote></w:footnotes>"
        data = docx(
            styled("One", "Titel"),
            parts={"word/styles.xml": self.STYLES, "word/footnotes.xml": note},
            relations=self.RELATION + f"<Relationship Id='f' Type='{RELATIONS}/footnotes' Target='footnotes.xml'/>",
        )
        page = read(tmp_path, data, "a.docx")[0]
        assert named(page, "heading") == [("One", "One")]
        assert named(page, "notes") == [("Footnotes", "A note.")]

    def test_table_is_a_unit_of_rows_and_a_frame_of_one_cell_is_not(self, tmp_path: Path) -> None:
        frame = f"<w:tbl><w:tr><w:tc>{paragraph('first')}{paragraph('second')}</w:tc></w:tr></w:tbl>"
        row = (
            f"<w:tr><w:sdt><w:sdtContent><w:tc>{paragraph('a')}</w:tc></w:sdtContent></w:sdt><w:tc>{paragraph('b')}</w:tc></w:tr>"
        )
        page = read(tmp_path, docx(frame + f"<w:tbl>{row}</w:tbl>"), "a.docx")[0]
        assert page.text == "first\nsecond\na\tb"
        assert named(page, "table") == [("Table 1", "a\tb")]

    def test_numbers_that_word_counts_are_part_of_the_text(self, tmp_path: Path) -> None:
        def level(number: int, form: str, text: str) -> str:
            return f"<w:lvl w:ilvl='{number}'><w:start w:val='1'/><w:numFmt w:val='{form}'/><w:lvlText w:val='{text}'/></w:lvl>"

        numbering = (
            f"<w:numbering xmlns:w='{WORD}'><w:abstractNum w:abstractNumId='7'>{level(0, 'decimal', '§ %1.')}"
            f"{level(1, 'lowerLetter', '(%1.%2)')}{level(2, 'bullet', '•')}</w:abstractNum>"
            "<w:num w:numId='1'><w:abstractNumId w:val='7'/></w:num></w:numbering>"
        )

        def item(text: str, at: int) -> str:
            numbered = f"<w:numPr><w:ilvl w:val='{at}'/><w:numId w:val='1'/></w:numPr>"
            return f"<w:p><w:pPr>{numbered}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"

        body = item("Scope", 0) + item("here", 1) + item("there", 1) + item("point", 2) + item("Price", 0) + item("net", 1)
        relation = f"<Relationship Id='n' Type='{RELATIONS}/numbering' Target='numbering.xml'/>"
        data = docx(body, parts={"word/numbering.xml": numbering}, relations=relation)
        expected = ["§ 1. Scope", "(1.a) here", "(1.b) there", "point", "§ 2. Price", "(2.a) net"]
        assert read(tmp_path, data, "a.docx")[0].text.split("\n") == expected

    def test_metadata_is_what_the_file_says_and_no_more(self, tmp_path: Path) -> None:
        metadata = opened(tmp_path, docx(paragraph("x"), parts={"docProps/core.xml": CORE}), "a.docx").metadata
        assert (metadata.title, metadata.author) == ("Harbour log", "A. Mate")
        assert metadata.created_at == dt.datetime(2024, 3, 1, 10, tzinfo=dt.UTC)
        assert metadata.modified_at is None

    def test_old_word_art_is_text_and_readings_of_characters_are_not(self, tmp_path: Path) -> None:
        art = "<w:pict><v:shape xmlns:v='v'><v:textpath string='DRAFT'/></v:shape></w:pict>"
        ruby = "<w:ruby><w:rt><w:r><w:t>にほん</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>日本</w:t></w:r></w:rubyBase></w:ruby>"
        page = read(tmp_path, docx(f"<w:p><w:r>{art}</w:r></w:p><w:p><w:r>{ruby}</w:r></w:p>"), "a.docx")[0]
        assert page.text == "DRAFT\n日本"

    def test_document_that_begins_with_a_heading_is_called_by_it(self, tmp_path: Path) -> None:
        body = paragraph("1 March") + styled("The log", "Titel") + styled("Day one", "berschrift1")
        data = docx(body, parts={"word/styles.xml": self.STYLES}, relations=self.RELATION)
        assert opened(tmp_path, data, "a.docx").metadata.title == "The log"

    def test_damaged_footnotes_leave_the_body_readable_and_mark_the_page(self, tmp_path: Path) -> None:
        relation = f"<Relationship Id='f' Type='{RELATIONS}/footnotes' Target='footnotes.xml'/>"
        page = read(tmp_path, docx(paragraph("Body."), parts={"word/footnotes.xml": "<w:foot"}, relations=relation), "a.docx")[0]
        assert (page.text, page.readable) == ("Body.", False)


class TestPowerPoint:
    def test_presentation_of_another_writer_comes_slide_by_slide(self, tmp_path: Path) -> None:
        made = pptx.Presentation()
        made.core_properties.title, made.core_properties.author = "Fleet", "B. Mate"
        first = made.slides.add_slide(made.slide_layouts[5])
        first.shapes.title.text = "Our ships"
        table = first.shapes.add_table(2, 2, Inches(1), Inches(3), Inches(4), Inches(1)).table
        for row in range(2):
            for column in range(2):
                table.cell(row, column).text = f"r{row}c{column}"
        group = first.shapes.add_group_shape()
        group.shapes.add_textbox(Inches(1), Inches(2), Inches(1), Inches(1)).text_frame.text = "in a group"
        first.notes_slide.notes_text_frame.text = "say hello"
        second = made.slides.add_slide(made.slide_layouts[6])
        second._element.set("show", "0")
        data = CategoryChartData()
        data.categories = ["Salt", "Tea"]
        data.add_series("Tons", (40, 2.5))
        second.shapes.add_chart(XL_CHART_TYPE.PIE, 0, 0, Inches(3), Inches(3), data)
        out = io.BytesIO()
        made.save(out)

        document = opened(tmp_path, out.getvalue(), "a.pptx")
        assert (document.page_count, document.metadata.title, document.metadata.author) == (2, "Fleet", "B. Mate")
        pages = list(document.pages)
        assert [(page.label, page.kind) for page in pages] == [("1", "slide"), ("2", "slide")]
        assert pages[0].text == "Our ships\nin a group\nr0c0\tr0c1\nr1c0\tr1c1\n\nsay hello"
        assert named(pages[0], "heading") == [("Our ships", "Our ships\nin a group\nr0c0\tr0c1\nr1c0\tr1c1")]
        assert named(pages[0], "table") == [("Table", "r0c0\tr0c1\nr1c0\tr1c1")]
        assert named(pages[0], "notes") == [("Notes", "say hello")]
        assert "\tSalt\tTea\nTons\t40\t2.5" in pages[1].text

    def test_title_is_first_and_the_others_go_from_top_to_bottom_and_left_to_right(self, tmp_path: Path) -> None:
        cm = 360_000
        shapes = [
            shape("right", left=9 * cm, top=5 * cm),
            shape("bottom", left=0, top=9 * cm),
            shape("left", left=1 * cm, top=int(5.2 * cm)),
            shape("Title", left=0, top=12 * cm, placeholder="title"),
        ]
        assert read(tmp_path, deck(["".join(shapes)]), "a.pptx")[0].text.split("\n") == ["Title", "left", "right", "bottom"]

    def test_placeholder_stands_where_its_layout_puts_it(self, tmp_path: Path) -> None:
        placed = shape("", top=100, placeholder="body")
        layout = f"<p:sldLayout xmlns:p='p' xmlns:a='a'><p:cSld><p:spTree>{placed}</p:spTree></p:cSld></p:sldLayout>"
        unplaced = shape("body", placeholder="body").replace("<a:off x='0' y='0'/>", "")
        data = deck(
            [shape("below", top=9_000_000) + unplaced],
            parts={"ppt/slideLayouts/l.xml": layout},
            slide_relations=relations(l=("slideLayout", "../slideLayouts/l.xml")),
        )
        assert read(tmp_path, data, "a.pptx")[0].text == "body\nbelow"

    def test_footer_of_every_slide_is_text_once(self, tmp_path: Path) -> None:
        slides = [shape(f"s{n}") + shape("Confidential", placeholder="ftr") for n in range(2)]
        assert [page.text for page in read(tmp_path, deck(slides), "a.pptx")] == ["s0\nConfidential", "s1"]

    def test_diagram_and_alternative_content_are_read_once(self, tmp_path: Path) -> None:
        frame = (
            "<mc:AlternateContent xmlns:mc='m'><mc:Choice><p:graphicFrame><a:graphic><a:graphicData>"
            "<d:relIds xmlns:d='d' r:dm='d1'/></a:graphicData></a:graphic></p:graphicFrame></mc:Choice>"
            f"<mc:Fallback>{shape('again')}</mc:Fallback></mc:AlternateContent>"
        )
        point = "<d:pt type='{}'><d:t><a:p><a:r><a:t>{}</a:t></a:r></a:p></d:t></d:pt>"
        diagram = f"<d:m xmlns:d='d' xmlns:a='a'>{point.format('node', 'Captain')}{point.format('pres', 'drawn')}</d:m>"
        data = deck(
            [frame],
            parts={"ppt/diagrams/data.xml": diagram},
            slide_relations=relations(d1=("diagramData", "../diagrams/data.xml")),
        )
        assert read(tmp_path, data, "a.pptx")[0].text == "Captain"

    def test_damaged_slide_is_marked_and_the_others_are_read(self, tmp_path: Path) -> None:
        pages = read(tmp_path, deck([shape("one"), "<p:sp>", shape("three")]), "a.pptx")
        assert [(page.text, page.readable) for page in pages] == [("one", True), ("", False), ("three", True)]

    @pytest.mark.parametrize("default", ["PowerPoint Presentation", "PowerPoint-Präsentation", "Présentation PowerPoint"])
    def test_title_that_the_program_invented_gives_way_to_that_of_the_first_slide(self, tmp_path: Path, default: str) -> None:
        core = CORE.replace(" Harbour\nlog ", default)
        data = deck([shape("Our ships", placeholder="ctrTitle")], parts={"docProps/core.xml": core})
        assert opened(tmp_path, data, "a.pptx").metadata.title == "Our ships"

    def test_presentation_of_damaged_slides_only_is_damaged(self, tmp_path: Path) -> None:
        assert failure(tmp_path, deck(["<p:sp>"]), "a.pptx").code == "damaged"

    def test_presentation_without_slides_says_so(self, tmp_path: Path) -> None:
        assert failure(tmp_path, deck([]), "a.pptx").code == "no_text"


def _day(*parts: int) -> dt.datetime:
    """A cell's date: workbooks know no time zones."""
    return dt.datetime(*parts)  # noqa: DTZ001


class TestExcel:
    def test_workbook_of_another_writer_comes_sheet_by_sheet(self, tmp_path: Path) -> None:
        out = io.BytesIO()
        book = xlsxwriter.Workbook(out, {"in_memory": True})
        book.set_properties({"title": "Cargo", "author": "C. Mate"})
        sheet = book.add_worksheet("Cargo list")
        sheet.write_row(1, 1, ["item", "tons", "when", "paid"])
        sheet.write_row(2, 1, ["salt", 40.0])
        sheet.write_datetime(2, 3, _day(2024, 2, 29), book.add_format({"num_format": "yyyy-mm-dd"}))
        sheet.write_boolean(2, 4, True)
        sheet.write_row(4, 1, ["a\nb", 0.1 + 0.2])
        sheet.write_datetime(4, 3, _day(2024, 2, 29, 13, 5), book.add_format({"num_format": "yyyy-mm-dd hh:mm"}))
        sheet.write_comment("B2", "weighed twice")
        sheet.insert_textbox(8, 0, "a remark")
        book.add_worksheet("Empty")
        hidden = book.add_worksheet("Hidden")
        hidden.hide()
        hidden.write(0, 0, 1e20)
        book.close()

        document = opened(tmp_path, out.getvalue(), "a.xlsx")
        assert (document.page_count, document.metadata.title, document.metadata.author) == (3, "Cargo", "C. Mate")
        pages = list(document.pages)
        assert [(page.label, page.kind) for page in pages] == [(n, "sheet") for n in ("Cargo list", "Empty", "Hidden")]
        table = "item\ttons\twhen\tpaid\nsalt\t40\t2024-02-29\tTRUE\n\na b\t0.3\t2024-02-29 13:05"
        assert named(pages[0], "table") == [("'Cargo list'!B2:E5", table)]
        assert pages[0].text.startswith(table)
        assert "weighed twice" in pages[0].text
        assert "a remark" in pages[0].text
        assert [page.text for page in pages[1:]] == ["", "1e+20"]

    def test_times_are_written_as_people_read_them(self, tmp_path: Path) -> None:
        out = io.BytesIO()
        book = xlsxwriter.Workbook(out, {"in_memory": True})
        sheet = book.add_worksheet()
        sheet.write(0, 0, 1.5, book.add_format({"num_format": "[h]:mm:ss"}))
        sheet.write_datetime(0, 1, dt.time(3, 4), book.add_format({"num_format": "hh:mm"}))
        sheet.write_datetime(0, 2, _day(2024, 1, 2, 3, 4, 5), book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}))
        book.close()
        assert read(tmp_path, out.getvalue(), "a.xlsx")[0].text == "36:00:00\t03:04\t2024-01-02 03:04:05"

    def test_shares_are_shown_as_percent_where_the_sheet_shows_them_so(self, tmp_path: Path) -> None:
        out = io.BytesIO()
        book = xlsxwriter.Workbook(out, {"in_memory": True})
        sheet = book.add_worksheet()
        for column, form in enumerate(["0%", "0.0%", '0.00" %"', "0.00"]):
            sheet.write(1, 1 + column, 0.125, book.add_format({"num_format": form}))
        sheet.set_header('&L&"Arial,Bold"&12Fleet && crew&CPage &P')
        book.close()
        page = read(tmp_path, out.getvalue(), "a.xlsx")[0]
        assert page.text.split("\n")[0] == "13%\t12.5%\t0.125\t0.125"
        assert named(page, "header") == [("Header", "Fleet & crew Page")]

    def test_last_moment_of_the_calendar_is_a_date(self, tmp_path: Path) -> None:
        out = io.BytesIO()
        book = xlsxwriter.Workbook(out, {"in_memory": True})
        book.add_worksheet().write(0, 0, 2958465.9999999, book.add_format({"num_format": "yyyy-mm-dd hh:mm"}))
        book.close()
        assert read(tmp_path, out.getvalue(), "a.xlsx")[0].text.startswith("9999-12-31")

    def test_chart_on_a_sheet_is_read(self, tmp_path: Path) -> None:
        out = io.BytesIO()
        book = xlsxwriter.Workbook(out, {"in_memory": True})
        sheet = book.add_worksheet("S")
        sheet.write_column(0, 0, ["Salt", "Tea"])
        chart = book.add_chart({"type": "bar"})
        chart.set_title({"name": "Tons by year"})
        chart.add_series({"name": "1900", "values": "=S!$A$1:$A$2"})
        sheet.insert_chart(5, 5, chart)
        book.close()
        assert "Tons by year" in read(tmp_path, out.getvalue(), "a.xlsx")[0].text

    def test_damaged_sheet_is_named(self, tmp_path: Path) -> None:
        error = failure(tmp_path, workbook("<row><c"), "a.xlsx")
        assert error.code == "damaged"
        assert "Excel workbook" in error.reason

    def test_workbook_of_1997_is_read(self, tmp_path: Path) -> None:
        page = read(tmp_path, old_workbook((1, 0, "salt"), (1, 1, 40.0), (2, 1, 2.5)), "a.xls")[0]
        assert (page.label, page.kind, page.text) == ("Old", "sheet", "salt\t40\n\t2.5")
        assert named(page, "table") == [("Old!A2:B3", "salt\t40\n\t2.5")]

    def test_garbage_in_an_old_container_is_damaged(self, tmp_path: Path) -> None:
        assert failure(tmp_path, bytes.fromhex("d0cf11e0a1b11ae1") + bytes(2000), "a.xls").code == "damaged"


class TestOpenDocument:
    def test_text_with_headings_lists_tables_and_notes(self, tmp_path: Path) -> None:
        body = (
            "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
            "<text:p text:style-name='P1'>The log</text:p><text:h text:outline-level='2'>Day<text:s text:c='2'/>one</text:h>"
            "<text:p>Quiet.<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>As ever.</text:p>"
            "</text:note-body></text:note>\n   Still<text:line-break/>quiet.</text:p>"
            "<text:list><text:list-item><text:p>salt</text:p></text:list-item></text:list>"
            "<table:table table:name='Crew'><table:table-header-rows><table:table-row>"
            "<table:table-cell><text:p>name</text:p></table:table-cell><table:table-cell><text:p>rank</text:p></table:table-cell>"
            "</table:table-row></table:table-header-rows></table:table>"
        )
        styles = "<style:style style:name='P1' style:family='paragraph' style:parent-style-name='Title'/>"
        page = read(tmp_path, open_document(body, styles=styles), "a.odt")[0]
        assert page.text == "The log\nDay  one\nQuiet. Still\nquiet.\nsalt\nname\trank\n\nAs ever."
        assert [(unit.kind, unit.label, unit.level) for unit in page.units] == [
            ("heading", "The log", 1),
            ("heading", "Day one", 2),
            ("table", "Crew", 0),
            ("notes", "Notes", 0),
        ]

    def test_presentation_comes_slide_by_slide(self, tmp_path: Path) -> None:
        def frame(text: str, place: str, more: str = "") -> str:
            box = f"<draw:text-box><text:p>{text}</text:p></draw:text-box>"
            return f"<draw:frame svg:x='1cm' svg:y='{place}' {more}>{box}</draw:frame>"

        notes = f"<presentation:notes>{frame('say hello', '1cm')}</presentation:notes>"
        slide = frame("low", "9cm") + frame("high", "20mm") + frame("Title", "15cm", "presentation:class='title'") + notes
        body = f"<draw:page>{slide}</draw:page><draw:page>{frame('two', '0cm')}</draw:page>"
        pages = read(tmp_path, open_document(body, kind="presentation"), "a.odp")
        assert [(page.label, page.kind, page.text) for page in pages] == [
            ("1", "slide", "Title\nhigh\nlow\n\nsay hello"),
            ("2", "slide", "two"),
        ]
        assert named(pages[0], "notes") == [("Notes", "say hello")]

    def test_workbook_shows_its_cells_as_they_were_shown(self, tmp_path: Path) -> None:
        body = (
            "<table:table table:name='Sales'><table:table-row table:number-rows-repeated='3'/>"
            "<table:table-row><table:table-cell table:number-columns-repeated='2'/>"
            "<table:table-cell office:value='0.5'><text:p>50 %</text:p></table:table-cell>"
            "<table:table-cell table:number-columns-repeated='2'><text:p>x</text:p></table:table-cell>"
            "<table:table-cell table:number-columns-repeated='16379'/></table:table-row>"
            "<table:table-row table:number-rows-repeated='1048572'><table:table-cell table:number-columns-repeated='16384'/>"
            "</table:table-row></table:table><table:table table:name='B'/>"
        )
        pages = read(tmp_path, open_document(body, kind="spreadsheet"), "a.ods")
        assert [(page.label, page.kind) for page in pages] == [("Sales", "sheet"), ("B", "sheet")]
        assert pages[0].text.split() == ["50", "%", "x", "x"]
        assert [unit.label for unit in pages[0].units] == ["Sales!C4:E4"]

    def test_metadata_and_footer(self, tmp_path: Path) -> None:
        meta = (
            f"<office:document-meta {OPEN_DOCUMENT} xmlns:dc='http://purl.org/dc/elements/1.1/'><office:meta>"
            "<dc:title>Log</dc:title><meta:initial-creator>D. Mate</meta:initial-creator>"
            "<meta:creation-date>2023-05-04T17:47:22.367419807</meta:creation-date></office:meta></office:document-meta>"
        )
        styles = (
            f"<office:document-styles {OPEN_DOCUMENT}><office:master-styles><style:master-page><style:footer>"
            "<text:p>Page <text:page-number>3</text:page-number></text:p></style:footer></style:master-page>"
            "</office:master-styles></office:document-styles>"
        )
        data = open_document("<text:p>Body.</text:p>", parts={"meta.xml": meta, "styles.xml": styles})
        document = opened(tmp_path, data, "a.odt")
        assert (document.metadata.title, document.metadata.author) == ("Log", "D. Mate")
        assert document.metadata.created_at is not None
        assert document.metadata.created_at.year == 2023
        page = next(document.pages)
        assert page.text == "Body.\n\nPage"
        assert named(page, "header") == [("Footer", "Page")]

    def test_chart_is_read_once_however_often_it_is_shown(self, tmp_path: Path) -> None:
        chart = (
            f"<office:document-content {OPEN_DOCUMENT}><office:body><office:chart><text:p>Tons</text:p>"
            "</office:chart></office:body></office:document-content>"
        )
        shown = "<draw:frame><draw:object xmlns:l='l' l:href='./Object 1'/></draw:frame>"
        data = open_document(f"<text:p>a{shown}{shown}</text:p>", parts={"Object 1/content.xml": chart})
        assert read(tmp_path, data, "a.odt")[0].text == "a\nTons"


def protected_text(body: str, password: str) -> bytes:
    """An OpenDocument text as OpenDocument 1.2 describes its protection."""
    text = f"<office:text>{body}</office:text>"
    plain = f"<office:document-content {OPEN_DOCUMENT}><office:body>{text}</office:body></office:document-content>"
    salt, vector = os.urandom(16), os.urandom(16)
    key = hashlib.pbkdf2_hmac("sha1", hashlib.sha256(password.encode()).digest(), salt, 1000, 32)
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = deflate.compress(plain.encode()) + deflate.flush()
    packed += bytes(16 - len(packed) % 16)
    cipher = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    entry = (
        f"<manifest:file-entry manifest:full-path='content.xml' manifest:size='{len(plain.encode())}'><manifest:encryption-data>"
        f"<manifest:algorithm manifest:algorithm-name='http://www.w3.org/2001/04/xmlenc#aes256-cbc'"
        f" manifest:initialisation-vector='{base64.b64encode(vector).decode()}'/>"
        f"<manifest:key-derivation manifest:key-derivation-name='PBKDF2' manifest:key-size='32' manifest:iteration-count='1000'"
        f" manifest:salt='{base64.b64encode(salt).decode()}'/>"
        f"<manifest:start-key-generation manifest:start-key-generation-name='http://www.w3.org/2000/09/xmldsig#sha256'/>"
        "</manifest:encryption-data></manifest:file-entry>"
    )
    return open_document("", manifest=entry, parts={"content.xml": cipher.update(packed) + cipher.finalize()})


class TestPassword:
    DATA = docx(paragraph("Secret cargo."))

    @pytest.mark.parametrize("name", ["a.docx", "a.doc", "letter"])
    def test_protected_document_opens_with_its_password_whatever_its_name(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / "file"
        path.write_bytes(encrypted(self.DATA, "pässwörd"))
        media_type, document = read_document(path, name, "pässwörd")
        assert media_type == kinds.DOCX
        assert next(document.pages).text == "Secret cargo."
        assert [file.name for file in tmp_path.iterdir()] == ["file"], "nothing readable is left behind"

    @pytest.mark.parametrize(
        ("data", "name", "text"),
        [(deck([shape("slide")]), "a.pptx", "slide"), (workbook(f"<row>{cell('A1', '7')}</row>"), "a.xlsx", "7")],
    )
    def test_presentations_and_workbooks_too(self, tmp_path: Path, data: bytes, name: str, text: str) -> None:
        assert read(tmp_path, encrypted(data, "x"), name, "x")[0].text == text

    def test_without_a_password_it_says_that_a_retry_takes_one(self, tmp_path: Path) -> None:
        error = failure(tmp_path, encrypted(self.DATA, "x"), "a.docx")
        assert error.code == "encrypted"
        assert "Retry the document with its password" in error.reason

    def test_wrong_password_is_told_apart(self, tmp_path: Path) -> None:
        assert failure(tmp_path, encrypted(self.DATA, "x"), "a.docx", "y").code == "wrong_password"

    def test_workbook_that_excel_opens_without_asking_is_read_without_asking(self, tmp_path: Path) -> None:
        data = encrypted(workbook(f"<row>{cell('A1', '7')}</row>"), "VelvetSweatshop")
        assert read(tmp_path, data, "a.xlsx")[0].text == "7"

    def test_open_document_with_its_password(self, tmp_path: Path) -> None:
        data = protected_text("<text:p>Secret cargo.</text:p>", "x")
        assert read(tmp_path, data, "a.odt", "x")[0].text == "Secret cargo."
        assert failure(tmp_path, data, "a.odt", "y").code == "wrong_password"
        assert failure(tmp_path, data, "a.odt").code == "encrypted"

    def test_protection_that_nobody_here_can_open_says_what_to_do(self, tmp_path: Path) -> None:
        entry = "<manifest:file-entry manifest:full-path='content.xml'><manifest:encryption-data/></manifest:file-entry>"
        error = failure(tmp_path, open_document("", manifest=entry), "a.odt", "x")
        assert error.code == "encrypted"
        assert "without a password" in error.reason


@pytest.mark.parametrize(
    ("stream", "found"),
    [("WordDocument", "old Word document (.doc)"), ("PowerPoint Document", "old PowerPoint presentation (.ppt)")],
)
def test_legacy_document_says_what_to_do(tmp_path: Path, stream: str, found: str) -> None:
    error = failure(tmp_path, old_container({stream: b"x"}), "a")
    assert error.code == "unsupported_type"
    assert found in error.reason
    assert "Save it as" in error.reason


def test_units_stay_on_their_text_when_blanks_are_cleaned_away(tmp_path: Path) -> None:
    styles = f"<w:styles xmlns:w='{WORD}'><w:style w:styleId='h'><w:name w:val='heading 1'/></w:style></w:styles>"
    relation = f"<Relationship Id='s' Type='{RELATIONS}/styles' Target='styles.xml'/>"
    blank = paragraph("   ")
    body = blank * 3 + paragraph("a  ") + blank * 4 + styled("One ", "h") + blank * 2 + paragraph("b") + blank
    data = docx(body, relations=relation, parts={"word/styles.xml": styles})
    page = read(tmp_path, data, "a.docx")[0]
    assert page.text == "a\n\nOne\n\nb"
    assert page.units == [UnitSpan("heading", "One", 3, 9, 1)]


def test_container_is_the_same_under_another_case_and_with_backslashes(tmp_path: Path) -> None:
    parts: dict[str, str | bytes] = {
        "_rels/.rels": relations(r1=("officeDocument", "\\Word\\document.xml")),
        "word/document.xml": f"<w:document xmlns:w='{WORD}'><w:body>{paragraph('found')}</w:body></w:document>",
    }
    assert read(tmp_path, zipped(parts), "a.docx")[0].text == "found"
    assert not olefile.isOleFile(io.BytesIO(zipped(parts)))
