"""What documents' names tell about a query: passages of a report rarely say whose report it is, its name does."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from docutalk_embed.domain import EXACT_SCAN_CHUNKS

NAME_COUNTS = 0.5
"""A word of the query that stands in a document's name counts, by words, as if each of its passages held it once: half of the
word's rarity is what one mention in a long passage brings."""
MAX_NAMED = 20
"""More documents than that are not what a query names."""
MAX_SHARING = 1_000
"""A word in more names than that tells nothing of any of them, and is not read further."""
COMMON_SHARE = 0.75
_JOINED = 3
_WORD = re.compile(r"[^\W\d_]+|\d+")
_POSSESSIVE = re.compile(r"['’]s\b|['’]")


@dataclass(frozen=True)
class NameWord:
    """A word of the query that stands in names: in which form of the query, in how many documents' names of the workspace, and
    how many chunks those have which the filters leave."""

    query_words: tuple[str, ...]
    document_count: int
    chunk_counts: Mapping[UUID, int]


@dataclass(frozen=True)
class Names:
    """`shares`: how much of the query's words in names a document's name holds, 0…1; empty when the query names nothing.

    `documents` are those whose names hold the most, `words` the words of the query that stand in the names of all of those.
    """

    shares: Mapping[UUID, float]
    documents: tuple[UUID, ...] = ()
    words: tuple[str, ...] = ()


NO_NAMES = Names({})


def names_to_look_for(query: str) -> list[str]:
    """Words of a query as they may stand in a name, neighbours also as one: `American Express` may be `AMERICANEXPRESS`.

    A joined word is made of its parts, parted by a space: names have none.
    """
    words = _WORD.findall(_POSSESSIVE.sub("", query.lower()))
    single = [word for word in words if len(word) > (3 if word.isdecimal() else 1)]
    joined = [
        " ".join(words[start : start + count])
        for count in range(2, _JOINED + 1)
        for start in range(len(words) - count + 1)
        if not any(word.isdecimal() for word in words[start : start + count])
    ]
    return list(dict.fromkeys(single + joined))


def weigh_names(found: Sequence[NameWord], total: int) -> Names:
    """What the names of `total` documents tell. A word in nearly all of them tells nothing."""
    telling = [word for word in found if word.document_count <= min(total * COMMON_SHARE, MAX_SHARING)]
    if not telling:
        return NO_NAMES
    shares: dict[UUID, float] = {}
    chunks: dict[UUID, int] = {}
    rarities = [math.log1p((total - word.document_count + 0.5) / (word.document_count + 0.5)) for word in telling]
    for word, rarity in zip(telling, rarities, strict=True):
        for document_id, count in word.chunk_counts.items():
            shares[document_id] = shares.get(document_id, 0.0) + rarity / sum(rarities)
            chunks[document_id] = count
    most = max(shares.values(), default=0.0)
    documents = sorted(document_id for document_id, share in shares.items() if share >= most - 1e-9)
    if len(documents) > MAX_NAMED or sum(chunks[document_id] for document_id in documents) > EXACT_SCAN_CHUNKS:
        return Names(shares)
    shared = [word for word in telling if all(document_id in word.chunk_counts for document_id in documents)]
    return Names(shares, tuple(documents), tuple(part for word in shared for part in word.query_words))
