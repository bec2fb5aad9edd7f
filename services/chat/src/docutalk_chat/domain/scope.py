"""Which documents a question is about."""

from __future__ import annotations

from docutalk_common.contracts.embed import SearchFilters
from docutalk_common.contracts.gateway import MessagePosted


def scope_of(posted: MessagePosted) -> SearchFilters:
    """The filters of its search: those that were chosen, with the documents that were named beside them."""
    named = [*posted.document_ids, *posted.filters.document_ids]
    return posted.filters.model_copy(update={"document_ids": list(dict.fromkeys(named))})
