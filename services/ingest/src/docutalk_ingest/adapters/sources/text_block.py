"""A text that somebody typed."""

from __future__ import annotations

from pydantic import Field

from docutalk_ingest.adapters.sources.item import Item, Listing, Reach, SourceConfig, Validators, name_of

# A source's configuration travels in messages of at most 1 MiB.
MAX_TEXT = 250_000


class TextBlock(SourceConfig):
    """`{title, text}`: one document."""

    title: str = Field(min_length=1, max_length=300, pattern=r"\S")
    text: str = Field(min_length=1, max_length=MAX_TEXT, pattern=r"\S")

    async def items(self, reach: Reach, validators: Validators) -> Listing:
        return Listing([Item("text", self.title, name_of(self.title, ".txt"), body=self.text.encode("utf-8", "replace"))])
