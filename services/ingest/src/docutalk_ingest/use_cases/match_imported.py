"""Which items of a source have a document already, that was imported and that no run has looked at?"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from docutalk_common.contracts.ingest import SourceKind

from docutalk_ingest.adapters.source_repository import Unlinked
from docutalk_ingest.adapters.sources.item import Item

T = TypeVar("T")


def match_imported(kind: SourceKind, items: Sequence[Item], documents: Sequence[Unlinked]) -> dict[str, Unlinked]:
    """By the items' keys. An export tells where a document was found, and not by what its source knows the item again, so the
    surest sign comes first: the same bytes; then place and name together; then the place. The place of a row says nothing, rows
    move: it is known by its name. What two could claim is nobody's.
    """
    found: dict[str, Unlinked] = {}
    by_name = kind == SourceKind.CSV

    def match(of_item: Callable[[Item], Hashable | None], of_document: Callable[[Unlinked], Hashable], *, alike: bool) -> None:
        taken = {document.document_id for document in found.values()}
        waiting = _grouped((document for document in documents if document.document_id not in taken), of_document)
        for sign, candidates in _grouped((item for item in items if item.key not in found), of_item).items():
            known = waiting.get(sign, [])
            if sign is not None and (alike or len(candidates) == len(known) == 1):
                found.update((item.key, document) for item, document in zip(candidates, known, strict=False))

    match(_sha256_of, lambda document: document.sha256, alike=True)
    match(lambda item: (item.origin, item.name), lambda document: (document.origin, document.filename), alike=False)
    if by_name:
        match(lambda item: item.name, lambda document: document.filename, alike=False)
    else:
        match(lambda item: item.origin, lambda document: document.origin, alike=False)
    return found


def _sha256_of(item: Item) -> str | None:
    return hashlib.sha256(item.body).hexdigest() if item.body is not None else None


def _grouped(things: Iterable[T], sign: Callable[[T], Hashable]) -> dict[Hashable, list[T]]:
    groups: dict[Hashable, list[T]] = defaultdict(list)
    for thing in things:
        groups[sign(thing)].append(thing)
    return groups
