"""What is told of an answer beside its text: where it stands, and how it was made."""

from __future__ import annotations

from rich.text import Text

from docutalk_cli.client import Json
from docutalk_cli.output import Output, count, one_line, place, time_text

_LEAST_COST = 0.0001


def show_sources(output: Output, citations: list[Json]) -> None:
    """A line for each citation, after an empty one."""
    if citations:
        output.line("")
    for citation in citations:
        text = Text.assemble(
            (f"[{citation['marker']}] ", "cyan"), (place(citation), "bold"), f': "{one_line(citation["quote"])}"'
        )
        if since := _since(citation):
            text.append(f" ({since})", style="yellow")
        output.line(text)


def remarks(answer: Json) -> list[str]:
    """What a reader should know of an answer, each a sentence."""
    told = ["The answer was stopped."] if answer["stopped"] else []
    if answer["truncated"]:
        told.append("The answer was cut: it may not be longer.")
    if removed := answer["markers_removed"]:
        were = "was" if removed == 1 else "were"
        told.append(f"{count(removed, 'citation')} of the model {were} not supported and {were} taken out.")
    return told


def usage_text(answer: Json) -> str | None:
    """`gpt-4.1-mini · 3,120 tokens in, 85 out · $0.0014`; None when no tokens were counted."""
    if (usage := answer["usage"]) is None:
        return None
    parts = [answer["model"], f"{usage['input_tokens']:,} tokens in, {usage['output_tokens']:,} out"]
    if usage["cost_usd"] is not None:
        parts.append(_cost(usage["cost_usd"]))
    return " · ".join(parts)


def _since(citation: Json) -> str | None:
    """What became of the document after it was cited."""
    if deleted := citation["source_deleted_at"]:
        return f"deleted since, {time_text(deleted)}"
    if changed := citation["source_changed_at"]:
        return f"of version {citation['version']}; changed since, {time_text(changed)}"
    return None


def _cost(dollars: float) -> str:
    if 0 < dollars < _LEAST_COST:
        return f"less than ${_LEAST_COST}"
    return f"${dollars:.4f}" if dollars < 1 else f"${dollars:,.2f}"
