"""The words of a part of a workspace as if there were nothing else in it: counted when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from docutalk_common.contracts.embed import SearchFilters
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.adapters.filter_conditions import document_conditions
from docutalk_embed.adapters.word_index import TOKENS, WordIndex
from docutalk_embed.domain import EXACT_SCAN_CHUNKS, any_of
from docutalk_embed.domain.languages import configurations_of

_LANGUAGES = "SELECT d.language, sum(d.live_chunk_count) FROM documents d WHERE {documents} GROUP BY d.language"
_TOKENS = TOKENS.format(
    count="0", configurations="unnest(CAST(:configs AS text[]), CAST(:config_counts AS bigint[]))", lexemes=""
)
# The queries are read once each, and not again for every chunk.
_COUNTS = """
SELECT w.lexeme, lexeme_dimension(w.lexeme), (
  SELECT count(*) FROM (
    SELECT FROM documents d JOIN chunks c ON c.document_id = d.document_id AND c.version = d.live_version
    WHERE {documents} AND c.workspace_id = :workspace_id AND c.words @@ w.query LIMIT :most
  ) AS having_it
)
FROM (
  SELECT t.lexeme, CAST(t.query AS tsquery) AS query
  FROM unnest(CAST(:lexemes AS text[]), CAST(:queries AS text[])) AS t (lexeme, query) OFFSET 0
) AS w
"""


class IsolatedWords(WordIndex):
    """The words of what the filters leave of a workspace. One in more than `most` chunks counts as one in so many: to
    count the rest of a million would take seconds, and it is a common word anyway."""

    def __init__(
        self, session: AsyncSession, workspace_id: UUID, filters: SearchFilters, *, most: int = EXACT_SCAN_CHUNKS
    ) -> None:
        super().__init__(session, workspace_id)
        self._documents, parameters = document_conditions(filters)
        self._parameters = parameters | {"workspace_id": workspace_id}
        self._most = most
        self._configurations: dict[str, int] | None = None

    async def _read_tokens(self, texts: Sequence[str], *, counted: bool) -> Sequence[Sequence[Any]]:
        if self._configurations is None:
            spoken = await self._session.execute(text(_LANGUAGES.format(documents=self._documents)), self._parameters)
            self._configurations = configurations_of({language: int(chunks) for language, chunks in spoken})
        found = await self._session.execute(
            text(_TOKENS),
            {
                "texts": texts,
                "configs": list(self._configurations),
                "config_counts": list(self._configurations.values()),
            },
        )
        rows = found.all()
        lexemes = sorted({row[4] for row in rows if row[4] is not None}) if counted else []
        counts = {lexeme: count for lexeme, _, count in await self._count(lexemes)}
        return [(*row[:6], counts.get(row[4], 0)) for row in rows]

    async def _read_names(self, names: Sequence[str]) -> Sequence[Sequence[Any]]:
        return [row for row in await self._count(sorted(set(names))) if row[2]]

    async def _count(self, lexemes: Sequence[str]) -> Sequence[Sequence[Any]]:
        """Of each its dimension, and in how many chunks it is."""
        if not lexemes:
            return []
        found = await self._session.execute(
            text(_COUNTS.format(documents=self._documents)),
            self._parameters | {"lexemes": lexemes, "queries": [any_of([lexeme]) for lexeme in lexemes], "most": self._most},
        )
        return found.all()
