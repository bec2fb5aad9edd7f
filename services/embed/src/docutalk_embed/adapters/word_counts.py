"""In how many passages a word is, as SQL: kept for a whole workspace, counted for a part of it alone."""

# ruff: noqa: S608 - what is put into the statements are constants of this module; values are parameters.
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from docutalk_common.contracts.embed import SearchFilters

from docutalk_embed.adapters.filter_conditions import document_conditions

COUNTED_CHUNKS = 10_000
"""Counting the words of one costs 20 µs."""

_WITHIN = "FROM documents d JOIN chunks c ON c.document_id = d.document_id AND c.version = d.live_version WHERE {documents}"


@dataclass(frozen=True)
class WordCounts:
    """`configurations` has the columns `config` and `chunk_count`, `lexemes` has `lexeme` and `chunk_count`; both want the
    `parameters`. `unseen`: for how many chunks a word counts that `lexemes` has not."""

    configurations: str
    lexemes: str
    parameters: Mapping[str, Any]
    unseen: int = 0

    @classmethod
    def of_workspace(cls, workspace_id: UUID) -> Self:
        """As they are kept with every document that comes and goes."""
        return cls(
            "(SELECT config, chunk_count FROM configurations WHERE workspace_id = :workspace_id)",
            "(SELECT lexeme, chunk_count FROM lexemes WHERE workspace_id = :workspace_id)",
            {"workspace_id": workspace_id},
        )

    @classmethod
    def of_isolated(cls, workspace_id: UUID, filters: SearchFilters, reach: int, *, counted: int = COUNTED_CHUNKS) -> Self:
        """Of the `reach` chunks that the filters leave. When they are more than `counted`, the others are taken to be
        like those, and a word that none of those has is taken for a rare one."""
        documents, parameters = document_conditions(filters)
        within = _WITHIN.format(documents=documents)
        return cls(
            f"(SELECT c.config, CAST(count(*) AS integer) AS chunk_count {within} GROUP BY c.config)",
            "(SELECT word.lexeme, CAST(ceil(count(*) * CAST(:scale AS float8)) AS integer) AS chunk_count"
            f" FROM (SELECT c.words {within} LIMIT :counted) AS c, unnest(tsvector_to_array(c.words)) AS word (lexeme)"
            " GROUP BY word.lexeme)",
            parameters | {"workspace_id": workspace_id, "scale": max(1.0, reach / counted), "counted": counted},
            unseen=int(reach > counted),
        )
