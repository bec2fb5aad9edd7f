"""DrawingML: the text of shapes, tables, charts and diagrams, which Word, PowerPoint and Excel share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from lxml import etree

from docutalk_ingest.adapters.parsers.office_text import OfficeText
from docutalk_ingest.adapters.parsers.office_xml import Package, Relation, child, descendants, local, reference

_T = TypeVar("_T")
_MAX_POINTS = 50_000
"""Values of one chart. Point numbers are written in the file: a lone one of a billion is no reason for a billion rows."""
_MAX_COLUMNS = 40
_BREAKS = {"br": "\n", "tab": "\t"}
# Of a series: name, categories, values; charts of points have other words for them.
_SERIES_PARTS = (("tx", "tx"), ("cat", "xVal"), ("val", "yVal"))
# Fields that show the number of the slide, or the day on which it is shown.
_COUNTED = ("slidenum", "datetime")
# Points of a diagram that only say how it is drawn.
_LAYOUT_POINTS = frozenset({"pres", "parTrans", "sibTrans"})


def reading_order(shapes: Iterable[tuple[float, float, _T]], tolerance: float) -> list[_T]:
    """Shapes given as `(left, top, shape)`, from top to bottom. Tops that differ by less than `tolerance` are beside one another,
    and those go from left to right."""
    rows: list[list[tuple[float, float, _T]]] = []
    for placed in sorted(shapes, key=lambda placed: placed[1]):
        if rows and placed[1] - rows[-1][0][1] < tolerance:
            rows[-1].append(placed)
        else:
            rows.append([placed])
    return [shape for row in rows for _, _, shape in sorted(row, key=lambda placed: placed[0])]


def paragraphs(body: etree._Element) -> Iterator[str]:
    """The paragraphs of a text body, one after the other; a line break inside stays one."""
    for paragraph in descendants(body, "p"):
        yield "".join(_run(part) for part in paragraph)


def _run(part: etree._Element) -> str:
    name = local(part)
    if name in _BREAKS:
        return _BREAKS[name]
    if name == "fld" and part.get("type", "").startswith(_COUNTED):
        return ""
    # Runs and fields hold their text in `t`; a formula nests its runs deeper, and the same twice when it has a fallback.
    alternative = next(descendants(part, "Choice"), None) if name == "AlternateContent" else part
    if alternative is None:
        return ""
    return "".join(text.text or "" for text in descendants(alternative, "t"))


def write_body(body: etree._Element, out: OfficeText) -> None:
    """A text body as lines."""
    for paragraph in paragraphs(body):
        out.write(paragraph + "\n")


def write_table(table: etree._Element, out: OfficeText, label: str) -> None:
    """A table as rows. Cells that are merged into another hold no text of their own."""
    out.begin_line()
    start = out.length
    for row in table:
        if local(row) == "tr":
            out.row("\n".join(paragraphs(cell)) for cell in row if local(cell) == "tc")
    out.unit("table", label, start)


def write_chart(chart: etree._Element, out: OfficeText) -> None:
    """Title, axis titles, and the values as a table: a row per series, or a row per point when there are many."""
    for title in descendants(chart, "title"):
        write_body(title, out)
    series = [_series(element) for element in descendants(chart, "ser")]
    series = [found for found in series if any(found)]
    if not series:
        return
    out.begin_line()
    start = out.length
    categories = next((categories for _, categories, _ in series if categories), {})
    points = sorted({point for _, _, values in series for point in values} | set(categories))[:_MAX_POINTS]
    rows = [["", *(categories.get(point, "") for point in points)]] if categories else []
    rows += [[name, *(values.get(point, "") for point in points)] for name, _, values in series]
    for row in rows if len(points) <= _MAX_COLUMNS else zip(*rows, strict=True):
        out.row(row)
    out.unit("table", "Chart", start)


def shown_number(value: float) -> str:
    """To 15 digits, as Excel keeps them: 0.1 + 0.2 is 0.3, and a whole number has no point."""
    return str(int(value)) if abs(value) < 1e15 and value.is_integer() else f"{value:.15g}"


def _series(element: etree._Element) -> tuple[str, dict[int, str], dict[int, str]]:
    """Its name, its categories by point, and its values by point."""
    name, categories, values = ((child(element, a), child(element, b)) for a, b in _SERIES_PARTS)
    named = " ".join(_points(name[:1]).values()) or "".join(_texts(part) for part in name[:1] if part is not None)
    return named, _points(categories), {point: _number(value) for point, value in _points(values).items()}


def _points(parts: tuple[etree._Element | None, ...]) -> dict[int, str]:
    found: dict[int, str] = {}
    for part in parts:
        for point in () if part is None else descendants(part, "pt"):
            number = point.get("idx", "")
            if number.isdecimal() and len(number) < 10:
                # The levels of a nested category count from 0 each, the inner ones first.
                index, text = int(number), _texts(point)
                found[index] = f"{text} {found[index]}" if index in found else text
    return found


def _texts(element: etree._Element) -> str:
    return "".join(value.text or "" for value in descendants(element, "v"))


def _number(text: str) -> str:
    try:
        return shown_number(float(text))
    except ValueError:
        return text


def write_diagram(data: etree._Element, out: OfficeText) -> None:
    """The texts of a diagram, in the order in which its points were made."""
    for point in descendants(data, "pt"):
        if point.get("type") not in _LAYOUT_POINTS:
            lines = [line for line in paragraphs(point) if line.strip()]
            out.write("".join(line + "\n" for line in lines))


def write_graphic(frame: etree._Element, package: Package, relations: list[Relation], out: OfficeText) -> None:
    """What a frame shows: a table in it, or a chart or diagram that it refers to."""
    for table in descendants(frame, "tbl"):
        write_table(table, out, "Table")
    targets = {relation.id: relation for relation in relations}
    for element in descendants(frame, "chart", "relIds"):
        chart = local(element) == "chart"
        relation = targets.get(reference(element, "id" if chart else "dm"))
        if relation is not None:
            (write_chart if chart else write_diagram)(package.xml(relation.target), out)
