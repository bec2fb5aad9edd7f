"""RTF, read by its control words. Order of the text: body, then notes and comments, then headers and footers.

Hidden and deleted text, pictures and embedded objects are left out; a field gives its result. Not by striprtf: it knows no
headings, no notes apart and no metadata, gives half surrogate pairs for emoji, and takes 50 times as long for a picture.
"""

from __future__ import annotations

import codecs
import re
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from docutalk_common.contracts.ingest import DocumentMetadata

from docutalk_ingest.adapters.parsers.page_text import PageText, label_of
from docutalk_ingest.domain import MAX_CHARACTERS, ParsedDocument, ParseFailed, TooMuchText

_TOKEN = re.compile(
    rb"\\(?:([a-zA-Z]{1,32})(-?[0-9]{1,10})? ?|'([0-9a-fA-F]{2})|([^a-zA-Z]))|([{}])|([^\\{}\r\n]+)|[\r\n]+|\\", re.DOTALL
)
_SKIPPED = frozenset(
    b"fonttbl colortbl stylesheet pict objdata fldinst themedata colorschememapping latentstyles datastore listtable "
    b"listoverridetable rsidtbl generator xmlnstbl filetbl revtbl pgdsctbl mmathPr bkmkstart bkmkend nonshppict shprslt "
    b"info upr private xe tc doccomm operator company manager category keywords subject atnid atnauthor atnref atndate "
    b"ftnsep ftnsepc ftncn aftnsep aftnsepc aftncn template userprops blipuid sp fontemb falt panose listname wgrffmtfilter "
    b"passwordhash protusertbl".split()
)
_NOTES = frozenset((b"footnote", b"annotation"))
_MARGINS = frozenset(
    b"header headerl headerr headerf footer footerl footerr footerf".split(),
)
_CAPTURED = {b"title": "title", b"author": "author"}
_TIMES = {b"creatim": "created_at", b"revtim": "modified_at"}
_TIME_PARTS = {b"yr": "year", b"mo": "month", b"dy": "day", b"hr": "hour", b"min": "minute", b"sec": "second"}
_LITERAL = {
    b"tab": "\t",
    b"line": "\n",
    b"emdash": "—",
    b"endash": "–",
    b"emspace": "\u2003",
    b"enspace": "\u2002",
    b"bullet": "•",
    b"lquote": "‘",
    b"rquote": "’",
    b"ldblquote": "“",
    b"rdblquote": "”",
    b"cell": "\t",
    b"nestcell": "\t",
}
_SYMBOLS = {b"~": "\xa0", b"_": "-", b"{": "{", b"}": "}", b"\\": "\\", b"\t": "\t"}
_ENDS = frozenset((b"par", b"sect", b"page", b"row", b"nestrow", b"column"))
_CODECS = {b"mac": "mac_roman", b"pc": "cp437", b"pca": "cp850", b"ansi": "cp1252"}
# What `\fcharset` says of a font; 0, 1 and 2 leave it to the document.
_CHARSETS = {
    77: "mac_roman",
    128: "cp932",
    129: "cp949",
    130: "johab",
    134: "gbk",
    136: "big5",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
    254: "cp437",
    255: "cp850",
}
_BODY_LEVEL = 9
_MAX_GROUPS = 10_000
_SURROGATES = re.compile("[\ud800-\udfff]")


def read_rtf(path: Path, password: str | None = None) -> ParsedDocument:
    """The whole document as one page labelled `1`, its headings by their outline level."""
    reader = _Reader()
    reader.read(path.read_bytes())
    page = PageText()
    seen: set[str] = set()
    for flow in (reader.body, reader.notes, reader.margins):
        if page.length and flow.lines:
            page.add("\n")
        for text, level in flow.text_lines():
            if flow is reader.margins and text in seen:
                continue
            seen.add(text)
            if level:
                page.heading(text, level)
            else:
                page.add(text)
            page.add("\n")
    made = page.page()
    if not made.text:
        raise ParseFailed("no_text", "The RTF document holds no text. Text in its pictures cannot be read; save it as PDF.")
    return ParsedDocument(iter([made]), page_count=1, metadata=reader.metadata())


@dataclass
class _Flow:
    """Finished lines with their heading's level (0 for none), and the line that is being written."""

    lines: list[tuple[str, int]] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    def end(self, level: int) -> None:
        text = _joined("".join(self.parts)).rstrip()
        self.parts.clear()
        if text or (self.lines and self.lines[-1][0]):
            self.lines.append((text, level))

    def text_lines(self) -> list[tuple[str, int]]:
        """The lines without a blank one at their end."""
        return self.lines[:-1] if self.lines and not self.lines[-1][0] else self.lines


@dataclass
class _State:
    """What a group inherits and may change."""

    flow: _Flow | None
    captured: str = ""
    codec: str = ""
    """Of the current font; empty for the document's own."""
    skip_after_unicode: int = 1
    level: int = 0
    in_table: bool = False
    hidden: bool = False
    destination: bytes = b""


class _Reader:
    def __init__(self) -> None:
        self.body, self.notes, self.margins = _Flow(), _Flow(), _Flow()
        self._captured: dict[str, _Flow] = {}
        self._times: dict[str, dict[str, int]] = {}
        self._fonts: dict[int, str] = {}
        self._styles: dict[int, int] = {}
        self._codec = "cp1252"
        self._font = self._style = 0
        self._default_font = 0
        self._pending = bytearray()
        self._to_skip = 0
        self._star = False
        self._characters = 0
        self._state = _State(self.body)
        self._groups: list[_State] = []

    def read(self, data: bytes) -> None:
        position = 0
        while found := _TOKEN.match(data, position):
            position = found.end()
            word, number, code, symbol, brace, text = found.groups()
            if text is not None:
                self._bytes(text)
            elif code is not None:
                self._bytes(bytes((int(code, 16),)))
            elif word is not None:
                if word == b"bin":
                    position += max(int(number or 0), 0)
                else:
                    self._flush()
                    self._word(word, None if number is None else int(number))
            elif brace is not None:
                self._flush()
                self._to_skip = 0
                if brace == b"{":
                    if len(self._groups) == _MAX_GROUPS:
                        raise ParseFailed("damaged", "The RTF document is nested too deeply to be read. Save it again.")
                    self._groups.append(copy(self._state))
                elif self._close():
                    break
            elif symbol is not None:
                self._flush()
                self._symbol(symbol)
        self._flush()
        for flow in (self.body, self.notes, self.margins, *self._captured.values()):
            flow.end(0)

    def metadata(self) -> DocumentMetadata:
        """Title, author and dates of the document's `info` group."""
        said = {name: label_of(" ".join(text for text, _ in flow.lines)) or None for name, flow in self._captured.items()}
        return DocumentMetadata(
            title=said.get("title"),
            author=said.get("author"),
            created_at=self._time("created_at"),
            modified_at=self._time("modified_at"),
        )

    def _time(self, name: str) -> datetime | None:
        parts = self._times.get(name, {})
        try:
            return datetime(**{"month": 1, "day": 1, **parts}, tzinfo=UTC)
        except (TypeError, ValueError):
            return None

    def _close(self) -> bool:
        """Ends a group. True when that was the outermost: what follows is no part of the document."""
        if not self._groups:
            return False
        ended, self._state = self._state, self._groups.pop()
        if ended.flow is not None and ended.flow is not self._state.flow and ended.flow.parts:
            ended.flow.end(ended.level)
        return not self._groups

    def _bytes(self, data: bytes) -> None:
        if self._to_skip:
            skipped = min(self._to_skip, len(data))
            self._to_skip -= skipped
            data = data[skipped:]
        self._star = False
        if self._state.destination in {b"fonttbl", b"stylesheet"} or self._state.flow is None or self._state.hidden:
            return
        self._pending += data

    def _flush(self) -> None:
        if self._pending:
            # Together, because a character of an Asian encoding is two bytes.
            self._write(self._pending.decode(self._state.codec or self._codec, "replace"))
            self._pending.clear()

    def _write(self, text: str) -> None:
        if self._state.flow is not None and not self._state.hidden:
            self._characters += len(text)
            if self._characters > MAX_CHARACTERS:
                raise TooMuchText(f"more than {MAX_CHARACTERS:,} characters")
            self._state.flow.parts.append(text)

    def _symbol(self, symbol: bytes) -> None:
        if symbol == b"*":
            self._star = True
        elif self._to_skip:
            self._to_skip -= 1
        elif symbol in b"\r\n":
            self._end_line(b"par")
        elif symbol in _SYMBOLS:
            self._write(_SYMBOLS[symbol])

    def _word(self, word: bytes, number: int | None) -> None:
        star, self._star = self._star, False
        state = self._state
        if self._to_skip and word != b"u":
            self._to_skip -= 1
        elif word in _LITERAL:
            self._write(_LITERAL[word])
        elif word in _ENDS:
            self._end_line(word)
        elif word == b"u":
            if number is not None:
                self._write(chr(number % 0x10000))
                self._to_skip = state.skip_after_unicode
        elif word == b"uc":
            state.skip_after_unicode = max(number or 0, 0)
        elif word in _TIME_PARTS and state.destination in _TIMES:
            self._times.setdefault(_TIMES[state.destination], {})[_TIME_PARTS[word]] = number or 0
        elif not self._font_word(word, number) and not self._paragraph_word(word, number):
            self._destination(word, star)

    def _end_line(self, word: bytes) -> None:
        flow = self._state.flow
        if flow is None or self._state.hidden:
            return
        if word == b"par" and self._state.in_table:
            flow.parts.append(" ")
            return
        if word in {b"row", b"nestrow"}:
            cells = ("".join(flow.parts)).split("\t")
            flow.parts[:] = ["\t".join(" ".join(cell.split()) for cell in cells).rstrip("\t")]
            flow.end(0)
            return
        flow.end(self._state.level)

    def _font_word(self, word: bytes, number: int | None) -> bool:
        """Fonts and encodings. False for words that are none of these."""
        state = self._state
        if word == b"f":
            self._font = number or 0
            state.codec = self._fonts.get(self._font, "")
        elif word == b"fcharset" and state.destination == b"fonttbl":
            self._fonts[self._font] = _CHARSETS.get(number or 0, "")
        elif word == b"plain":
            state.hidden = False
            state.codec = self._fonts.get(self._default_font, "")
        elif word == b"deff":
            self._default_font = number or 0
        elif word == b"ansicpg" and number:
            self._codec = _known_codec(number) or self._codec
        elif word in _CODECS:
            self._codec = _CODECS[word]
        else:
            return False
        return True

    def _paragraph_word(self, word: bytes, number: int | None) -> bool:
        """Styles, levels, tables and what is hidden. False for words that are none of these."""
        state = self._state
        if word == b"s":
            self._style = number or 0
            if state.destination != b"stylesheet":
                state.level = self._styles.get(self._style, 0)
        elif word == b"outlinelevel":
            level = number + 1 if number is not None and 0 <= number < _BODY_LEVEL else 0
            if state.destination == b"stylesheet":
                self._styles[self._style] = level
            else:
                state.level = level
        elif word == b"pard":
            state.level, state.in_table = 0, False
        elif word == b"intbl":
            state.in_table = number != 0
        elif word in {b"v", b"deleted"}:
            state.hidden = number != 0
        else:
            return False
        return True

    def _destination(self, word: bytes, star: bool) -> None:
        state = self._state
        if word in _CAPTURED and any(group.destination == b"info" for group in self._groups[-2:]):
            state.flow = self._captured.setdefault(_CAPTURED[word], _Flow())
        elif word in {b"shptxt", b"ud"}:
            # The text of a drawing, and the Unicode form of what the group around it says in an old encoding.
            state.flow = self._surrounding_flow()
        elif word in _NOTES:
            state.flow = self.notes
            state.level = 0
        elif word in _MARGINS:
            state.flow = self.margins
            state.level = 0
        elif word in _SKIPPED or word in _TIMES or star:
            state.flow = None
        else:
            return
        state.destination = word

    def _surrounding_flow(self) -> _Flow | None:
        if any(group.destination == b"info" for group in self._groups):
            return next(
                (group.flow for group in reversed(self._groups) if group.flow is not None and group.destination in _CAPTURED),
                None,
            )
        return next((group.flow for group in reversed(self._groups) if group.flow is not None), self.body)


def _known_codec(page: int) -> str | None:
    name = {10000: "mac_roman", 65001: "utf-8"}.get(page, f"cp{page}")
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None


def _joined(text: str) -> str:
    """Characters outside of the basic plane come as two halves."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _SURROGATES.search(text) else text
