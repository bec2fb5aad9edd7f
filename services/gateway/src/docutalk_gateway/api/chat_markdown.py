"""A conversation as Markdown. What people, models and documents wrote is text in it: it can make no tag, link or image."""

from __future__ import annotations

import re
from collections.abc import Sequence

from docutalk_gateway.api.chat_shapes import ChatMessage, ChatSession, Citation

_SPECIAL = re.compile(r"([\\`*_\[\]<>#!|~&$])")
_HTML = re.compile(r"<(?=[A-Za-z/!?])")
_IMAGE = re.compile(r"!+(?=\[)")
# What follows is the address of a link, or of all links of that name: `[1]: http://…` would make one of each citation.
_ADDRESS = re.compile(r"\](?=[(:])")
_HEADING = re.compile(r"^(\s{0,3})(?=#)")
_UNDERLINE = re.compile(r"^(\s{0,3})(?=(?:=+|-+)\s*$)")
_FENCE = re.compile(r" {0,3}(`{3,}(?!.*`)|~{3,})(.*)")


def escaped(text: str) -> str:
    """A stranger's text on one line, with every sign that Markdown or HTML could take for its own made plain."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def source_line(citation: Citation, *, longest: int | None = None) -> str:
    """`[1] report.pdf, p. 3: "quote"`, the quote cut to `longest` characters."""
    quote = " ".join(citation.quote.split())
    if longest is not None and len(quote) > longest:
        quote = quote[: longest - 1].rstrip() + "…"
    return f'\\[{citation.marker}\\] {escaped(citation.filename)}, p. {citation.page}: "{escaped(quote)}"'


def as_markdown(session: ChatSession, messages: Sequence[ChatMessage]) -> str:
    """Title, then each question and its answers with their sources."""
    parts = [f"# {escaped(session.title)}"]
    for message in messages:
        when = message.created_at.strftime("%Y-%m-%d %H:%M UTC")
        if message.role == "user":
            parts.append(f"## Question · {when}")
            if message.selected_text:
                parts.append("\n".join(f"> {escaped(line)}" for line in message.selected_text.splitlines() if line.strip()))
            parts.append("\n\n".join(escaped(line) for line in message.text.splitlines() if line.strip()))
            if message.code:
                parts.append(f"*There is no answer: {escaped(message.reason or message.code)}*")
            continue
        parts.append(f"### Answer · {when}" + _remarks(message))
        parts.append(_formatted(message.text))
        parts += [_source(citation) for citation in message.citations]
    return "\n\n".join(part for part in parts if part) + "\n"


def _remarks(message: ChatMessage) -> str:
    remarks = [
        ("another answer was chosen", not message.chosen),
        ("stopped", message.stopped),
        ("cut, as it may not be longer", message.truncated),
        ("nothing in the documents supports it", message.supported is False and not message.stopped),
    ]
    told = [what for what, applies in remarks if applies]
    return f" ({', '.join(told)})" if told else ""


def _formatted(text: str) -> str:
    """An answer keeps its emphasis, lists and blocks of code; its headings would break the outline, its tags and images would be
    shown, and a block of code that does not end (it was stopped) would take in what follows."""
    lines: list[str] = []
    fence = ""
    for line in text.splitlines():
        if match := _FENCE.fullmatch(line):
            # At the margin it ends or begins a block of the answer and not, maybe, one of a list in it.
            lines.append(_HTML.sub("&lt;", line.lstrip()))
            if not fence:
                fence = match[1]
            elif match[1].startswith(fence) and not match[2].strip():
                fence = ""
        elif fence:
            lines.append(_HTML.sub("&lt;", line))
        else:
            lines.append(_harmless(line, below_text=bool(lines) and bool(lines[-1].strip())))
    return "\n".join([*lines, fence] if fence else lines)


def _harmless(line: str, *, below_text: bool) -> str:
    line = _ADDRESS.sub(r"]\\", _IMAGE.sub("", _HTML.sub("&lt;", line)))
    line = _HEADING.sub(r"\1\\", line)
    return _UNDERLINE.sub(r"\1\\", line) if below_text else line


def _source(citation: Citation) -> str:
    since = ""
    if citation.source_deleted_at:
        since = f" — deleted since, {citation.source_deleted_at:%Y-%m-%d}"
    elif citation.source_changed_at:
        since = f" — of version {citation.version}; changed since, {citation.source_changed_at:%Y-%m-%d}"
    return f"> {source_line(citation)}{since}"
