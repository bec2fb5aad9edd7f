"""Which documents a question is about."""

from __future__ import annotations

from uuid import UUID

from docutalk_common.contracts.embed import SearchFilters
from docutalk_common.contracts.gateway import MessagePosted

NO_DOCUMENT = UUID(int=0)
"""No document has this id. It stands alone where the choices have no document in common: an empty list would mean all."""


def scope_of(posted: MessagePosted) -> SearchFilters:
    """The filters of its search: what was chosen, narrowed to the documents that were named beside it. Where both say documents
    only those count that both say."""
    named, chosen = posted.document_ids, posted.filters.document_ids
    ids = [*named, *chosen]
    if named and chosen:
        ids = [one for one in named if one in set(chosen)] or [NO_DOCUMENT]
    return posted.filters.model_copy(update={"document_ids": list(dict.fromkeys(ids))})
