"""What is left in the schema of something that was erased."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import text

from docutalk_common.db import Database


async def leftovers(db: Database, words: Collection[object], *, but: Collection[str] = ()) -> dict[str, list[str]]:
    """By table the rows that hold one of the words, in whatever column, also as bytes; without the tables `but`."""
    wanted = [form for word in map(str, words) for form in (word, word.encode().hex())]
    found: dict[str, list[str]] = {}
    async with db.read() as session:
        tables = await session.scalars(
            text("SELECT relname FROM pg_class WHERE relnamespace = CAST(:schema AS regnamespace) AND relkind = 'r' ORDER BY 1"),
            {"schema": db.schema},
        )
        for table in tables:
            rows = await session.scalars(
                text(
                    f'SELECT CAST(t AS text) FROM "{table}" t, unnest(CAST(:wanted AS text[])) AS word'
                    " WHERE position(word IN CAST(t AS text)) > 0"
                ),
                {"wanted": wanted},
            )
            if table not in but and (held := list(rows)):
                found[table] = held
    return found
