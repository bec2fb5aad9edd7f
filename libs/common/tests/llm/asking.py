"""What the tests of language models ask."""

from __future__ import annotations

from collections.abc import Callable

from docutalk_common.llm import LanguageModel, ModelMessage

HELLO = [ModelMessage("system", "Be brief."), ModelMessage("user", "Hello?")]

Connect = Callable[..., LanguageModel]


async def pieces_of(model: LanguageModel, into: list[str] | None = None) -> list[str]:
    """The pieces of an answer; they are in `into` too, also when it fails."""
    pieces = [] if into is None else into
    async with model.stream(HELLO) as stream:
        async for text in stream:
            pieces.append(text)
    return pieces
