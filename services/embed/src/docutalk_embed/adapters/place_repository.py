"""Every query about the places that documents name."""

# ruff: noqa: S608 - what is put into the statements are constants of this module; values are parameters.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from docutalk_common.contracts.embed import BoundingBox, Place, PlaceNamed, Places
from docutalk_common.contracts.ingest import IndexChunks
from docutalk_common.db import Cause, Database, Transaction
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.adapters.filter_conditions import box_condition
from docutalk_embed.domain.places import GazetteerPlace

_PLACE = "p.place_id, p.name, p.kind, p.country, p.latitude, p.longitude, p.population"


async def keep_places(db: Database, found: Sequence[Mapping[GazetteerPlace, int]]) -> None:
    """Copies what the gazetteer says of places that were never named before.

    In a transaction of its own: batches that name the same new place would wait for each other until their documents are
    stored, and two of them for ever when one holds what the other needs next.
    """
    places = {place.place_id: place for named in found for place in named}
    if not places:
        return
    async with db.read() as session:
        known = await session.scalars(
            text("SELECT place_id FROM places WHERE place_id = ANY(CAST(:places AS integer[]))"), {"places": list(places)}
        )
    if missing := sorted(places.keys() - set(known)):
        async with db.transaction(Cause.new()) as transaction:
            await transaction.session.execute(
                text(
                    "INSERT INTO places (place_id, name, kind, country, latitude, longitude, population)"
                    " VALUES (:place_id, :name, :kind, :country, :latitude, :longitude, :population) ON CONFLICT DO NOTHING"
                ),
                [{name: getattr(places[place], name) for name in Place.model_fields} for place in missing],
            )


async def store_mentions(transaction: Transaction, work: IndexChunks, found: Sequence[Mapping[GazetteerPlace, int]]) -> None:
    """Stores what each chunk of a batch names, and how often, in the chunks' order. Chunks and places must be stored already;
    a chunk's mentions go when it goes."""
    mentions = [
        (chunk.chunk_id, place.place_id, work.workspace_id, work.document_id, work.version, count)
        for chunk, named in zip(work.chunks, found, strict=True)
        for place, count in named.items()
    ]
    if mentions:
        connection = await transaction.connection()
        await connection.copy_records_to_table(
            "mentions",
            columns=["chunk_id", "place_id", "workspace_id", "document_id", "version", "mentions"],
            records=mentions,
        )


async def count_places(session: AsyncSession, document_id: UUID, workspace_id: UUID, version: int, *, sign: int) -> None:
    """Adds what a version names to the places of its workspace, or takes it away. The caller holds the workspace's row."""
    keys = {"document_id": document_id, "workspace_id": workspace_id, "version": version, "sign": sign}
    await session.execute(
        text(
            "INSERT INTO named_places AS n"
            " SELECT CAST(:workspace_id AS uuid), m.place_id, CAST(:sign AS integer), CAST(:sign AS integer) * sum(m.mentions)"
            " FROM mentions m WHERE m.document_id = :document_id AND m.version = :version GROUP BY m.place_id"
            " ON CONFLICT (workspace_id, place_id)"
            " DO UPDATE SET documents = n.documents + excluded.documents, mentions = n.mentions + excluded.mentions"
        ),
        keys,
    )
    if sign < 0:
        await session.execute(text("DELETE FROM named_places WHERE workspace_id = :workspace_id AND documents <= 0"), keys)


class PlaceRepository:
    """The places of a workspace, inside of a read-only transaction that the caller owns. Live versions only."""

    def __init__(self, session: AsyncSession, workspace_id: UUID) -> None:
        self._session = session
        self._workspace_id = workspace_id

    async def has_document(self, document_id: UUID) -> bool:
        """Whether searches find the document."""
        found = await self._session.scalar(
            text(
                "SELECT true FROM documents WHERE document_id = :document_id AND workspace_id = :workspace_id"
                " AND live_version IS NOT NULL"
            ),
            {"document_id": document_id, "workspace_id": self._workspace_id},
        )
        return bool(found)

    async def list(self, document_id: UUID | None, box: BoundingBox | None, *, limit: int, offset: int) -> Places:
        """Most mentioned first; of equals the one with the smaller number."""
        parameters: dict[str, Any] = {"workspace_id": self._workspace_id, "limit": limit, "offset": offset}
        if document_id is None:
            named = "SELECT place_id, documents, mentions FROM named_places WHERE workspace_id = :workspace_id"
        else:
            named = (
                "SELECT m.place_id, 1 AS documents, sum(m.mentions) AS mentions FROM documents d"
                " JOIN mentions m ON m.document_id = d.document_id AND m.version = d.live_version"
                " WHERE d.document_id = :document_id AND d.workspace_id = :workspace_id GROUP BY m.place_id"
            )
            parameters["document_id"] = document_id
        within = ""
        if box is not None:
            within = f" JOIN places p USING (place_id) WHERE {box_condition(box)}"
            parameters |= box.model_dump()
        rows = await self._session.execute(
            text(
                f"WITH found AS MATERIALIZED (SELECT n.place_id, n.documents, n.mentions FROM ({named}) AS n{within}),"
                " page AS (SELECT * FROM found ORDER BY mentions DESC, place_id LIMIT :limit OFFSET :offset)"
                f" SELECT (SELECT count(*) FROM found), {_PLACE}, page.documents, page.mentions"
                # One row at least, for the total behind the end of the list.
                " FROM (VALUES (1)) AS always LEFT JOIN page ON true LEFT JOIN places p USING (place_id)"
                " ORDER BY page.mentions DESC, page.place_id"
            ),
            parameters,
        )
        total, items = 0, []
        for found in rows:
            total = int(found[0])
            if found[1] is not None:
                place = Place(**dict(zip(Place.model_fields, found[1:8], strict=True)))
                items.append(PlaceNamed(place=place, documents=found[8], mentions=int(found[9])))
        return Places(items=items, total=total)
