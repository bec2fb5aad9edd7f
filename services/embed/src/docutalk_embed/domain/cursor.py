"""Where the next page of a search begins: what is left of its ranking, as text that the asker keeps.

So pages neither repeat nor skip while documents come and go between them, and nothing is kept here. At most about 10 kB: both
lists have 100 chunks each, and a chunk takes 16 bytes of id and 16 of scores.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import struct
import zlib
from collections.abc import Sequence
from uuid import UUID

from docutalk_common.contracts.embed import SearchPassages

from docutalk_embed.domain import InvalidQuery
from docutalk_embed.domain.grouping import Group
from docutalk_embed.domain.ranking import Ranked

_FORMAT = 1
_HEAD = struct.Struct(">B8sB")
"""Format, fingerprint of the question, length of the model's name in bytes."""
_GROUP = struct.Struct(">BBBffff")
"""Chunks, which of them is the best, duplicates; score and its parts, NaN where there is none."""
_MAX_CHARACTERS = 20_000
_MAX_BYTES = 40_000


def write_cursor(asked: SearchPassages, model: str, groups: Sequence[Group]) -> str:
    """The groups that were not shown yet, bound to the question."""
    name = model.encode()[:255]
    parts = [_HEAD.pack(_FORMAT, _fingerprint(asked), len(name)), name]
    for group in groups:
        best = group.best
        place = group.chunk_ids.index(best.chunk_id)
        scores = (math.nan if part is None else part for part in (best.score, best.semantic, best.keyword, best.name))
        parts.append(_GROUP.pack(len(group.chunk_ids), place, len(group.duplicates), *scores))
        parts += [chunk_id.bytes for chunk_id in (*group.chunk_ids, *group.duplicates)]
    return base64.urlsafe_b64encode(zlib.compress(b"".join(parts))).decode().rstrip("=")


def read_cursor(cursor: str, asked: SearchPassages) -> tuple[str, list[Group]]:
    """The model that ranked, and the groups that are left. Raises `InvalidQuery` unless the cursor is of this question."""
    if len(cursor) > _MAX_CHARACTERS:
        raise InvalidQuery("`after` is too long: give the `next` of the page before as it came")
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True)
        inflate = zlib.decompressobj()
        content = inflate.decompress(packed, _MAX_BYTES)
        if not inflate.eof or inflate.unused_data:
            raise ValueError("cut off, or followed by something else")
        version, fingerprint, length = _HEAD.unpack_from(content)
        if version != _FORMAT:
            raise ValueError("of another release")
        model = content[_HEAD.size : _HEAD.size + length].decode()
        groups = list(_groups(content[_HEAD.size + length :]))
    except (binascii.Error, zlib.error, struct.error, ValueError, IndexError) as error:
        raise InvalidQuery("`after` cannot be read: give the `next` of the page before as it came, or leave it out") from error
    if fingerprint != _fingerprint(asked):
        raise InvalidQuery(
            "`after` belongs to another search: workspace, query, mode, filters and merging must be those of the page before"
        )
    return model, groups


def _groups(content: bytes) -> Sequence[Group]:
    groups: list[Group] = []
    position = 0
    while position < len(content):
        chunks, place, duplicates, *scores = _GROUP.unpack_from(content, position)
        if place >= chunks or any(map(math.isinf, scores)):
            raise ValueError("never written")
        position += _GROUP.size
        ids = [UUID(bytes=content[start : start + 16]) for start in range(position, position + 16 * (chunks + duplicates), 16)]
        position += 16 * len(ids)
        score, *parts = (None if math.isnan(value) else value for value in scores)
        groups.append(Group(Ranked(ids[place], score or 0.0, *parts), ids[:chunks], ids[chunks:]))
    return groups


def _fingerprint(asked: SearchPassages) -> bytes:
    question = asked.model_dump_json(exclude={"after", "limit", "model_seconds"})
    return hashlib.sha256(question.encode("utf-8", "surrogatepass")).digest()[:8]
