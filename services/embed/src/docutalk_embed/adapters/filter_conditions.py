"""The filters of a search as a condition on documents."""

from __future__ import annotations

from typing import Any

from docutalk_common.contracts.embed import BoundingBox, SearchFilters

from docutalk_embed.domain import clean_text
from docutalk_embed.domain.places import check_box

LIVE = "d.workspace_id = :workspace_id AND d.live_version IS NOT NULL"


def document_conditions(filters: SearchFilters) -> tuple[str, dict[str, Any]]:
    """A condition on the alias `d` of documents that leaves those that can be found, with its parameters beside
    `workspace_id`; no parameters when nothing is filtered. Raises `InvalidArea` for a box that is none."""
    conditions, parameters = [LIVE], dict[str, Any]()
    for column, type_, values in (
        ("document_id", "uuid[]", filters.document_ids),
        ("content_type", "text[]", [clean_text(content_type) for content_type in filters.content_types]),
        ("source_id", "uuid[]", filters.source_ids),
        ("language", "text[]", [clean_text(language).lower() for language in filters.languages]),
    ):
        if values:
            conditions.append(f"d.{column} = ANY(CAST(:{column}s AS {type_}))")
            parameters[f"{column}s"] = list(values)
    if filters.created_from is not None:
        conditions.append("d.document_created_at >= CAST(:created_from AS timestamptz)")
        parameters["created_from"] = filters.created_from
    if filters.created_before is not None:
        conditions.append("d.document_created_at < CAST(:created_before AS timestamptz)")
        parameters["created_before"] = filters.created_before
    if filters.box is not None:
        conditions.append(
            # Without the workspace's id the mentions of all workspaces are read: seconds for a small one among large ones.
            "EXISTS (SELECT FROM mentions m JOIN places p ON p.place_id = m.place_id WHERE m.workspace_id = :workspace_id"
            f" AND m.document_id = d.document_id AND m.version = d.live_version AND {box_condition(filters.box)})"
        )
        parameters |= check_box(filters.box).model_dump()
    return " AND ".join(conditions), parameters


def box_condition(box: BoundingBox) -> str:
    """A condition on the alias `p` of places; its parameters are `west`, `south`, `east` and `north`. A box whose west is
    greater than its east crosses the 180th meridian."""
    between = "p.longitude BETWEEN :west AND :east" if box.west <= box.east else "(p.longitude >= :west OR p.longitude <= :east)"
    return f"p.latitude BETWEEN :south AND :north AND {between}"
