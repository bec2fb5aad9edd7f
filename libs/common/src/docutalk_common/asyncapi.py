"""The event interface as AsyncAPI 3.0 and as a page of tables, both made from `streams.py` and the contracts.

`python -m docutalk_common.asyncapi` writes `docs/asyncapi.json` and `docs/events.md`; `--check` fails when they differ from the
code. Both fail on a breaking change against the committed file: a channel or a field removed, a new required field, a changed
type. Such a change is a new version of the message beside the old one; before anything is released, `--allow-breaking`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from nats.js.api import RetentionPolicy, StreamConfig
from pydantic.json_schema import models_json_schema

from docutalk_common.contracts import chat, dead_letters, embed, gateway, ingest
from docutalk_common.contracts.envelope import Contract, Envelope, Message
from docutalk_common.messaging.requests import ReplyError
from docutalk_common.messaging.streams import DEAD_LETTERS, DURABLES, EVENTS, REQUESTS, SCHEDULES, SERVICES, STREAMS, TOKENS, WORK
from docutalk_common.messaging.topology import rights

Json = dict[str, Any]

JSON_FILE = "asyncapi.json"
PAGE_FILE = "events.md"
REF = "#/components/schemas/{model}"

_PARAMETERS = {
    "workspace_id": "The workspace, a UUID.",
    "entity_id": "What it happened to, a UUID: the document, the message, the answer.",
    "answer_id": "The answer, a UUID.",
    "service": "The service that gave up.",
    "durable": "The durable whose message it was.",
    "document_id": "The document the message was about, else what the event was about, or `none`.",
}


def all_messages() -> list[type[Message]]:
    """Every event and work message of the contract modules, by type."""
    found = {
        model
        for module in (gateway, ingest, embed, chat)
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, Message) and model.__module__ == module.__name__
    }
    return sorted((model for model in found if hasattr(model, "type")), key=lambda model: model.type)


def matches(pattern: str, subject: str) -> bool:
    """Whether a NATS pattern covers a subject or a narrower pattern."""
    wanted, found = pattern.split("."), subject.split(".")
    for position, part in enumerate(wanted):
        if part == ">":
            return len(found) > position
        if position >= len(found) or (part not in ("*", found[position])):
            return False
    return len(wanted) == len(found)


def senders(subject: str) -> list[str]:
    """The services whose rights let them publish a subject."""
    return [service for service in SERVICES if any(matches(pattern, subject) for pattern in rights(service).publish)]


def _summary(model: type[Contract]) -> str:
    return " ".join((model.__doc__ or "").split())


def _address(model: type[Message]) -> str:
    address = model.subject_filter().replace("*", "{workspace_id}", 1)
    return address.replace("*", "{entity_id}", 1)


def _parameters(address: str) -> Json:
    names = [part[1:-1] for part in address.split(".") if part.startswith("{")]
    return {name: {"description": _PARAMETERS[name]} for name in names}


def _channel(address: str, names: list[str], summary: str, **extra: Any) -> Json:
    channel: Json = {"address": address, "summary": summary, "messages": {name: _ref("messages", name) for name in names}}
    if parameters := _parameters(address):
        channel["parameters"] = parameters
    return channel | extra


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _operation(action: str, channel: str, message: str, service: str, **extra: Any) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
        "tags": [{"name": service}],
        **extra,
    }


class _Document:
    """The document in the making."""

    def __init__(self) -> None:
        self.channels: Json = {}
        self.operations: Json = {}
        self.messages: Json = {}
        self._models: dict[str, type[Contract]] = {"Envelope": Envelope, "ReplyError": ReplyError}

    def message(self, name: str, model: type[Contract], payload: Json, *, headers: Json | None = None) -> None:
        self._models[model.__name__] = model
        self.messages[name] = {
            "name": name,
            "title": model.__name__,
            "summary": _summary(model),
            "contentType": "application/json",
            "payload": payload,
            **({"headers": headers} if headers else {}),
        }

    def event_or_work(self, model: type[Message]) -> None:
        stream = {"event": EVENTS, "work": WORK, "due": SCHEDULES}[model.kind]
        inside = {"type": {"const": model.type}, "data": _ref("schemas", model.__name__)}
        payload = {"allOf": [_ref("schemas", "Envelope"), {"type": "object", "properties": inside}]}
        self.message(model.type, model, payload, headers=_HEADERS)
        self.channels[model.type] = _channel(_address(model), [model.type], _summary(model), **{"x-stream": stream})
        # What is due is published by the server itself, for whoever may set its clock.
        published = re.sub(r"^due\.", "sch.", model.subject_filter())
        for service in senders(published):
            self.operations[f"{service}.send.{model.type}"] = _operation("send", model.type, model.type, service)

    def durables(self) -> None:
        for entry in DURABLES:
            name = entry.contract.type if issubclass(entry.contract, Message) else "dead_letter"
            details = {"stream": entry.stream, "durable": entry.name, "concurrency": entry.concurrency}
            self.operations[f"{entry.service}.receive.{entry.name}"] = _operation(
                "receive", name, name, entry.service, **{"x-durable": details | {"ack_wait_seconds": entry.ack_wait}}
            )

    def frames(self) -> None:
        self.message("frame", chat.Frame, _ref("schemas", "Frame"))
        live = {"x-stream": TOKENS, "x-republished-to": "live.tok.{workspace_id}.{answer_id}"}
        self.channels["frame"] = _channel("tok.{workspace_id}.{answer_id}", ["frame"], _summary(chat.Frame), **live)
        for service in senders("tok.*.*"):
            self.operations[f"{service}.send.frame"] = _operation("send", "frame", "frame", service)
        for service in SERVICES:
            if any(matches(pattern, "live.tok.*.*") for pattern in rights(service).subscribe):
                self.operations[f"{service}.receive.frame"] = _operation("receive", "frame", "frame", service)

    def dead_letters(self) -> None:
        model = dead_letters.DeadLetter
        self.message("dead_letter", model, _ref("schemas", "DeadLetter"))
        address = "dlq.{service}.{durable}.{workspace_id}.{document_id}"
        self.channels["dead_letter"] = _channel(address, ["dead_letter"], _summary(model), **{"x-stream": DEAD_LETTERS})
        for service in SERVICES:
            self.operations[f"{service}.send.dead_letter"] = _operation("send", "dead_letter", "dead_letter", service)

    def requests(self) -> None:
        for request in REQUESTS:
            asked, answered = f"{request.subject}.request", f"{request.subject}.response"
            self.message(asked, request.request, _ref("schemas", request.request.__name__), headers=_REQUEST_HEADERS)
            ok = {"type": "object", "properties": {"ok": _ref("schemas", request.response.__name__)}, "required": ["ok"]}
            error = {"type": "object", "properties": {"error": _ref("schemas", "ReplyError")}, "required": ["error"]}
            self.message(answered, request.response, {"oneOf": [ok, error]})
            details = {"idempotent": request.idempotent, "concurrency": request.concurrency}
            self.channels[request.subject] = _channel(
                request.subject, [asked], _summary(request.request), **{"x-request": details}
            )
            reply_channel = f"{request.subject}.reply"
            self.channels[reply_channel] = {"address": None, "messages": {answered: _ref("messages", answered)}}
            reply = {
                "reply": {
                    "address": {"location": "$message.header#/reply", "description": "The asker's inbox."},
                    "channel": {"$ref": f"#/channels/{reply_channel}"},
                    "messages": [{"$ref": f"#/channels/{reply_channel}/messages/{answered}"}],
                }
            }
            for asker in request.askers:
                name = f"{asker}.ask.{request.subject}"
                self.operations[name] = _operation("send", request.subject, asked, asker, **reply)
            name = f"{request.service}.answer.{request.subject}"
            self.operations[name] = _operation("receive", request.subject, asked, request.service, **reply)

    def schemas(self) -> Json:
        _, found = models_json_schema(
            [(model, "validation") for _, model in sorted(self._models.items())], ref_template=REF, title="schemas"
        )
        definitions: Json = found["$defs"]
        return dict(sorted(definitions.items()))


_HEADERS: Json = {
    "type": "object",
    "properties": {
        "Nats-Msg-Id": {"type": "string", "format": "uuid", "description": "The envelope's id; the server drops repetitions."},
        "traceparent": {"type": "string", "description": "W3C trace context."},
    },
    "required": ["Nats-Msg-Id"],
}
_REQUEST_HEADERS: Json = {
    "type": "object",
    "properties": {
        "Docutalk-Deadline": {"type": "string", "description": "Unix seconds after which the asker no longer waits."},
        "Docutalk-Correlation": {"type": "string", "format": "uuid"},
        "Docutalk-Actor": {"type": "string"},
        "traceparent": {"type": "string", "description": "W3C trace context."},
    },
}


def document() -> Json:
    """The AsyncAPI document."""
    made = _Document()
    for model in all_messages():
        made.event_or_work(model)
    made.dead_letters()
    made.frames()
    made.durables()
    made.requests()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "DocuTalk",
            "version": metadata.version("docutalk-common"),
            "description": "What the services say to one another over NATS. Events and work are JSON envelopes with CloudEvents "
            "attribute names; requests are answered with `ok` or `error`.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"nats": {"host": "localhost:4222", "protocol": "nats", "description": "NATS with JetStream"}},
        "channels": dict(sorted(made.channels.items())),
        "operations": dict(sorted(made.operations.items())),
        "components": {"messages": dict(sorted(made.messages.items())), "schemas": made.schemas()},
        "x-streams": {stream.name: _stream(stream) for stream in STREAMS},
    }


def _stream(stream: StreamConfig) -> Json:
    kept = {key: value for key, value in stream.as_dict().items() if key != "name" and value is not None}
    return json.loads(json.dumps(kept, default=str))  # type: ignore[no-any-return]


def breaking_changes(old: Json, new: Json) -> list[str]:
    """What a service that still runs the old contracts could not cope with."""
    found = [f"the channel {name} was removed" for name in old["channels"] if name not in new["channels"]]
    found += [
        f"the channel {name} moved from {channel['address']} to {new['channels'][name]['address']}"
        for name, channel in old["channels"].items()
        if name in new["channels"] and new["channels"][name]["address"] != channel["address"]
    ]
    schemas = new["components"]["schemas"]
    for name, schema in old["components"]["schemas"].items():
        if name in schemas:
            found += _changes(name, schema, schemas[name])
        else:
            found.append(f"{name} was removed")
    return found


def _changes(name: str, old: Json, new: Json) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for field in before:
        if field not in after:
            yield f"{name}.{field} was removed"
        elif _kind(before[field]) != _kind(after[field]):
            yield f"{name}.{field} has another type"
    for field in set(new.get("required", [])) - set(old.get("required", [])):
        yield f"{name}.{field} is {'now' if field in before else 'new and'} required"
    if set(old.get("enum", [])) != set(new.get("enum", [])):
        yield f"{name} has other values"


def _kind(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        told = {"title", "description", "default", "examples"}
        return {key: _kind(value) for key, value in schema.items() if key not in told}
    return [_kind(item) for item in schema] if isinstance(schema, list) else schema


def page() -> str:
    """The same as tables in Markdown."""
    lines = [
        "# Events, work and requests",
        "",
        "Made by `python -m docutalk_common.asyncapi` from `messaging/streams.py` and the contracts; `asyncapi.json` beside it",
        "has every field. Data flows forward: gateway → ingest → embed → chat.",
        "",
        "## Messages",
        "",
        "| message | subject | sent by | taken by (durable) | meaning |",
        "|---|---|---|---|---|",
    ]
    for model in all_messages():
        takers = [f"`{entry.name}`" for entry in DURABLES if entry.contract is model]
        sent = ", ".join(senders(model.subject_filter()))
        lines.append(f"| `{model.type}` | `{_address(model)}` | {sent} | {', '.join(takers) or '–'} | {_first(model)} |")
    lines += ["", "Token frames go from chat to `tok.{workspace_id}.{answer_id}` and are republished, with their sequence, to"]
    lines += ["`live.tok.…`, where the gateway listens. Every service may write to `dlq.<service>.…`.", ""]
    lines += ["## Requests", "", "| subject | request → answer | asked by | asked twice | meaning |", "|---|---|---|---|---|"]
    for request in REQUESTS:
        names = f"`{request.request.__name__}` → `{request.response.__name__}`"
        twice = "yes" if request.idempotent else "no"
        lines.append(f"| `{request.subject}` | {names} | {', '.join(request.askers)} | {twice} | {_first(request.response)} |")
    lines += ["", "## Durables", "", "| durable | stream | takes | at once |", "|---|---|---|---|"]
    lines += [f"| `{entry.name}` | {entry.stream} | `{entry.filter_subject}` | {entry.concurrency} |" for entry in DURABLES]
    lines += ["", "## Streams", "", "| stream | subjects | retention | kept | limits |", "|---|---|---|---|---|"]
    lines += [_row(stream) for stream in STREAMS]
    return "\n".join(lines) + "\n"


def _first(model: type[Contract]) -> str:
    sentence = _summary(model).split(". ")[0].rstrip(".")
    return f"{sentence}.".replace("|", "\\|")


def _row(stream: StreamConfig) -> str:
    subjects = ", ".join(f"`{subject}`" for subject in stream.subjects or [])
    age = stream.max_age or 0
    kept = f"{age / 86400:g} days" if age >= 86400 else f"{age / 60:g} min"
    if not age:
        kept = "until taken" if stream.retention == RetentionPolicy.WORK_QUEUE else "until full"
    limits = [f"{(stream.max_bytes or 0) >> 20} MiB"]
    if stream.max_msgs_per_subject and stream.max_msgs_per_subject > 0:
        limits.append(f"{stream.max_msgs_per_subject} for each subject")
    retention = ", ".join(choice.value for choice in (stream.retention, stream.storage) if choice is not None)
    return f"| {stream.name} | {subjects} | {retention} | {kept} | {', '.join(limits)} |"


def rendered() -> dict[str, str]:
    """File name → content."""
    return {JSON_FILE: json.dumps(document(), indent=2, ensure_ascii=False) + "\n", PAGE_FILE: page()}


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns 1 on drift with `--check`, and on a breaking change unless it is allowed."""
    parser = argparse.ArgumentParser(prog="python -m docutalk_common.asyncapi", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs"))
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the files are not up to date")
    parser.add_argument("--allow-breaking", action="store_true", help="for what no running service depends on yet")
    options = parser.parse_args(arguments)
    committed = options.folder / JSON_FILE
    breaking = breaking_changes(json.loads(committed.read_text("utf-8")), document()) if committed.exists() else []
    if breaking and not options.allow_breaking:
        sys.stderr.write("Breaking changes against the committed contracts:\n  " + "\n  ".join(breaking) + "\n")
        sys.stderr.write("Make it a new version beside the old one, or say --allow-breaking before a release.\n")
        return 1
    stale = [name for name, text in rendered().items() if _read(options.folder / name) != text]
    if options.check:
        if stale:
            sys.stderr.write(f"{', '.join(stale)} differ from the code; run `python -m docutalk_common.asyncapi`\n")
        return 1 if stale else 0
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (options.folder / name).write_text(rendered()[name], encoding="utf-8")
    return 0


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
