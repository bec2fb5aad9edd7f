"""Every query about the places that documents name."""

# ruff: noqa: S608 - what is put into the statements are constants of this module; values are parameters.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from docutalk_common.contracts.embed import BoundingBox, Place, PlaceNamed, Places
from docutalk_common.contracts.ingest import IndexChunks
from docutalk_common.db import Transaction
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from docutalk_embed.domain.places import GazetteerPlace

_PLACE = "p.place_id, p.name, p.kind, p.country, p.latitude, p.longitude, p.population"


def box_condition(box: BoundingBox, *, place: str = "p") -> tuple[str, dict[str, Any]]:
    """SQL that holds for a row of `places` (by default `p`) within the box, and its parameters. The box must be checked."""
    joined = "AND" if box.west <= box.east else "OR"
    condition = (
        f"{place}.latitude BETWEEN :box_south AND :box_north"
        f" AND ({place}.longitude >= :box_west {joined} {place}.longitude <= :box_east)"
    )
    return condition, {f"box_{side}": getattr(box, side) for side in ("west", "south", "east", "north")}


def names_place_in_box(box: BoundingBox) -> tuple[str, dict[str, Any]]:
    """SQL that holds for a row `d` of `documents` whose live version names a place in the box, and its parameters.

    To be joined with AND to the other conditions of a search; it takes `:workspace_id` too. The box must be checked.
    """
    condition, parameters = box_condition(box)
    return (
        "(d.document_id, d.live_version) IN (SELECT m.document_id, m.version FROM places p"
        f" JOIN mentions m ON m.place_id = p.place_id WHERE {condition} AND m.workspace_id = :workspace_id)"
    ), parameters


async def store_mentions(transaction: Transaction, work: IndexChunks, found: Sequence[Mapping[GazetteerPlace, int]]) -> None:
    """Stores what each chunk of a batch names, and how often, in the chunks' order. The chunks must be stored already; their
    mentions go when they go."""
    places = {place.place_id: place for named in found for place in named}
    if not places:
        return
    known = await transaction.session.scalars(
        text("SELECT place_id FROM places WHERE place_id = ANY(CAST(:places AS integer[]))"), {"places": list(places)}
    )
    # In order: of two batches that name the same new places one waits for the other, and neither for ever.
    if missing := sorted(places.keys() - set(known)):
        await transaction.session.execute(
            text(
                "INSERT INTO places (place_id, name, kind, country, latitude, longitude, population)"
                " VALUES (:place_id, :name, :kind, :country, :latitude, :longitude, :population) ON CONFLICT DO NOTHING"
            ),
            [{name: getattr(places[place], name) for name in Place.model_fields} for place in missing],
        )
    connection = await transaction.connection()
    await connection.copy_records_to_table(
        "mentions",
        columns=["chunk_id", "place_id", "workspace_id", "document_id", "version", "mentions"],
        records=[
            (chunk.chunk_id, place.place_id, work.workspace_id, work.document_id, work.version, count)
            for chunk, named in zip(work.chunks, found, strict=True)
            for place, count in named.items()
        ],
    )


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
        where = "m.workspace_id = :workspace_id"
        parameters: dict[str, Any] = {"workspace_id": self._workspace_id, "limit": limit, "offset": offset}
        if document_id is not None:
            where += " AND m.document_id = :document_id"
            parameters["document_id"] = document_id
        if box is not None:
            condition, sides = box_condition(box)
            where += f" AND {condition}"
            parameters |= sides
        rows = await self._session.execute(
            text(
                "WITH named AS MATERIALIZED ("
                "  SELECT m.place_id, count(DISTINCT m.document_id) AS documents, sum(m.mentions) AS mentions FROM mentions m"
                "  JOIN documents d ON d.document_id = m.document_id AND d.live_version = m.version"
                + ("  JOIN places p ON p.place_id = m.place_id" if box is not None else "")
                + f"  WHERE {where} GROUP BY m.place_id"
                "), page AS ("
                "  SELECT * FROM named ORDER BY mentions DESC, place_id LIMIT :limit OFFSET :offset"
                ")"
                f" SELECT (SELECT count(*) FROM named), {_PLACE}, page.documents, page.mentions"
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
