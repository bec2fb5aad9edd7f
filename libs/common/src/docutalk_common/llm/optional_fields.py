"""Fields of a request that some models refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from docutalk_common.llm.refusals import exceeds_context

T = TypeVar("T")

_OTHER_NAMES = {"max_tokens": "max_completion_tokens"}


class OptionalFields:
    """Sends a request with as many of its optional fields as the model takes: some endpoints refuse what they do not know, and
    reasoning models refuse a temperature. Remembers it for each model, so that only the first request is sent twice."""

    def __init__(self) -> None:
        self._refused: dict[str, dict[str, str | None]] = {}

    async def send(
        self,
        model: str,
        fields: Mapping[str, object],
        create: Callable[[dict[str, object]], Awaitable[T]],
        said: Callable[[Exception], str | None],
    ) -> T:
        """What `create` returns for the fields. `said` gives the text of an error that refuses the request, and None for any
        other error."""
        while True:
            sent = self._taken(model, fields)
            try:
                return await create(sent)
            except Exception as error:
                refusal = said(error)
                if refusal is None or not self._learned(model, sent, refusal):
                    raise

    def _taken(self, model: str, fields: Mapping[str, object]) -> dict[str, object]:
        """The fields that the model has not refused, under the names that it takes."""
        refused = self._refused.get(model, {})
        taken = {}
        for field, value in fields.items():
            name: str | None = field
            while name in refused:
                name = refused[name]
            if name is not None:
                taken[name] = value
        return taken

    def _learned(self, model: str, sent: Mapping[str, object], refusal: str) -> bool:
        # A prompt that is too long is often refused in words that name the limit of the answer too.
        named = None if exceeds_context(refusal) else next((name for name in sent if name in refusal), None)
        if named is not None:
            self._refused.setdefault(model, {})[named] = _OTHER_NAMES.get(named)
        return named is not None
