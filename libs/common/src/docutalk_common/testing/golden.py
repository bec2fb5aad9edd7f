"""Golden JSON of everything that crosses a service boundary, so that no contract changes silently.

`python -m docutalk_common.testing.golden FOLDER` writes the files anew. Read the difference before committing it: a field
removed, renamed, retyped or newly required is a new version of the message, not a change of this one.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID, uuid5

from pydantic import BaseModel

from docutalk_common.asyncapi import all_messages
from docutalk_common.contracts import chat, dead_letters
from docutalk_common.contracts.envelope import Contract, Envelope
from docutalk_common.messaging.streams import REQUESTS

_NAMESPACE = UUID("5f1c3a52-54c3-4d0e-9d2b-0d0c5a1e7a11")
_EPOCH = datetime(2025, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)


def contracts() -> dict[str, type[Contract]]:
    """File name without suffix → what it holds: messages by type, requests and responses by subject, and what else is sent."""
    found: dict[str, type[Contract]] = {model.type: model for model in all_messages()}
    for request in REQUESTS:
        found[f"{request.subject}.request"] = request.request
        found[f"{request.subject}.response"] = request.response
    found["envelope"] = Envelope
    found["frame"] = chat.Frame
    found["dead_letter"] = dead_letters.DeadLetter
    return dict(sorted(found.items()))


def sample(model: type[BaseModel], path: str = "") -> dict[str, Any]:
    """Values for every field, optional ones too, made of nothing but the field's place and type: the same in every run."""
    hints = get_type_hints(model)
    place = path or model.__name__
    return {name: _value(hints[name], f"{place}.{name}") for name in model.model_fields}


def _value(kind: Any, path: str) -> Any:
    if kind is Any:
        return path
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        # None is one of the values; the other one says more.
        return _value(next(argument for argument in arguments if argument is not type(None)), path)
    if origin is Literal:
        return arguments[0]
    if origin in (list, tuple):
        return [_value(arguments[0], f"{path}.{n}") for n in range(2)]
    if origin in (dict, Mapping):
        return {"key": _value(arguments[1], f"{path}.key")}
    if isinstance(kind, type):
        return _plain(kind, path)
    raise TypeError(f"{path}: no sample for {kind!r}")


def _plain(kind: type, path: str) -> Any:
    number = uuid5(_NAMESPACE, path).int % 1000
    if issubclass(kind, BaseModel):
        return sample(kind, path)
    if issubclass(kind, Enum):
        return next(iter(kind)).value
    simple: dict[type, Any] = {
        UUID: str(uuid5(_NAMESPACE, path)),
        datetime: (_EPOCH + timedelta(seconds=number)).isoformat(),
        bool: number % 2 == 0,
        int: number,
        float: number / 8,
        str: f"{path.rpartition('.')[2]} – ü",
        object: f"{path} – anything",
    }
    if kind not in simple:
        raise TypeError(f"{path}: no sample for {kind!r}")
    return simple[kind]


def golden(model: type[Contract]) -> dict[str, Any]:
    """What the model of today writes for its sample, as it is on the wire."""
    body: dict[str, Any] = json.loads(model.model_validate(sample(model)).model_dump_json())
    return body


def text(model: type[Contract]) -> str:
    """The content of a golden file."""
    return json.dumps(golden(model), indent=2, ensure_ascii=False) + "\n"


def write(folder: Path) -> None:
    """Makes the folder hold exactly the contracts of today."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        if old.stem not in contracts():
            old.unlink()
    for name, model in contracts().items():
        (folder / f"{name}.json").write_text(text(model), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
