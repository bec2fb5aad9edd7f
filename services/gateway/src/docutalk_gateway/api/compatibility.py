"""What of a change to the API would break programs that call it. Simple rules over two OpenAPI documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def breaking_changes(old: Json, new: Json) -> list[str]:
    """Each change from `old` to `new` that a caller of `old` would notice, as a sentence. Additions are none.

    Gone: a path, a method, a parameter, an answer, a field. Changed: a type. In a request: a field or parameter that became
    required, a value that is not taken any more. In an answer: a field that may now be missing.
    """
    return list(_paths(_Pair(old, new)))


class _Pair:
    """Two documents, to resolve references in."""

    def __init__(self, old: Json, new: Json) -> None:
        self.old = old
        self.new = new

    def schemas(self, where: str, old: Json, new: Json, *, answer: bool, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        """Compares two schemas. `answer`: what the server sends, else what it takes."""
        reference = old.get("$ref", "")
        if reference in seen:
            return
        seen |= {reference} if reference else set()
        old, new = _resolved(self.old, old), _resolved(self.new, new)
        if (before := _types(self.old, old)) - (after := _types(self.new, new)) and not answer:
            yield f"{where} does not take {', '.join(sorted(before - after))} any more"
        elif answer and after - before:
            yield f"{where} may now be {', '.join(sorted(after - before))}"
        if not answer and (gone := _values(old) - (_values(new) or _values(old))):
            yield f"{where} does not take {', '.join(sorted(gone))} any more"
        yield from self._fields(where, old, new, answer=answer, seen=seen)
        if "items" in old and "items" in new:
            yield from self.schemas(f"{where}[]", old["items"], new["items"], answer=answer, seen=seen)

    def _fields(self, where: str, old: Json, new: Json, *, answer: bool, seen: frozenset[str]) -> Iterator[str]:
        fields = new.get("properties", {})
        for name, schema in old.get("properties", {}).items():
            if name not in fields:
                yield f"{where}.{name} is gone"
            else:
                yield from self.schemas(f"{where}.{name}", schema, fields[name], answer=answer, seen=seen)
        required, was_required = set(new.get("required", ())), set(old.get("required", ()))
        if answer:
            for name in sorted((was_required - required) & set(fields)):
                yield f"{where}.{name} may now be missing"
        else:
            for name in sorted(required - was_required):
                yield f"{where}.{name} is now required"


def _resolved(document: Json, schema: Json) -> Json:
    while "$ref" in schema:
        found: Json = document
        for key in schema["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        schema = found
    variants = [v for v in schema.get("anyOf", ()) if v.get("type") != "null"]
    return _resolved(document, variants[0]) if len(variants) == 1 else schema


def _values(schema: Json) -> set[str]:
    return {str(value) for value in schema.get("enum") or []}


def _types(document: Json, schema: Json) -> set[str]:
    if "$ref" in schema:
        return _types(document, _resolved(document, schema))
    if "anyOf" in schema:
        return set().union(*(_types(document, variant) for variant in schema["anyOf"]))
    return {schema["type"]} if "type" in schema else set()


def _paths(pair: _Pair) -> Iterator[str]:
    for path, operations in pair.old["paths"].items():
        if path not in pair.new["paths"]:
            yield f"{path} is gone"
            continue
        for method, operation in operations.items():
            where = f"{method.upper()} {path}"
            changed = pair.new["paths"][path].get(method)
            if changed is None:
                yield f"{where} is gone"
            else:
                yield from _operation(pair, where, operation, changed)


def _operation(pair: _Pair, where: str, old: Json, new: Json) -> Iterator[str]:
    before = {(p["in"], p["name"]): p for p in old.get("parameters", ())}
    after = {(p["in"], p["name"]): p for p in new.get("parameters", ())}
    for key, parameter in before.items():
        if key not in after:
            yield f"{where}: the parameter {key[1]} is gone"
        else:
            yield from pair.schemas(f"{where}: the parameter {key[1]}", parameter["schema"], after[key]["schema"], answer=False)
    for key, parameter in after.items():
        if parameter.get("required") and not before.get(key, {}).get("required"):
            yield f"{where}: the parameter {key[1]} is now required"
    yield from _contents(pair, f"{where}: the body", old.get("requestBody", {}), new.get("requestBody", {}), answer=False)
    for status, response in old["responses"].items():
        if status not in new["responses"]:
            yield f"{where}: the answer {status} is gone"
        else:
            changed = _resolved(pair.new, new["responses"][status])
            yield from _contents(pair, f"{where}: the answer {status}", _resolved(pair.old, response), changed, answer=True)


def _contents(pair: _Pair, where: str, old: Json, new: Json, *, answer: bool) -> Iterator[str]:
    for media_type, content in old.get("content", {}).items():
        changed = new.get("content", {}).get(media_type)
        if changed is None:
            # Without a schema it was FastAPI's guess about a response that it does not know.
            if content.get("schema"):
                yield f"{where} is not {media_type} any more"
        else:
            yield from pair.schemas(where, content.get("schema", {}), changed.get("schema", {}), answer=answer)
