"""Makes the servers agree with the table in `streams.py`, says where they do not, and writes the server's configuration.

`python -m docutalk_common.messaging.topology [--update]` is the one command that creates streams and durables.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamConfig
from nats.js.errors import NotFoundError

from docutalk_common.errors import DocuTalkError
from docutalk_common.messaging.streams import (
    DEAD_LETTERS,
    DURABLES,
    EVENTS,
    REQUESTS,
    SCHEDULES,
    SERVICES,
    STREAMS,
    TOKENS,
    WORK,
    Durable,
    ServiceName,
)

OPERATOR = "operator"


class TopologyDrift(DocuTalkError):
    """The server's streams or durables differ from the table. Services would run on settings nobody chose."""

    code = "topology_drift"

    def __init__(self, differences: list[str]) -> None:
        super().__init__("NATS differs from the table of streams:\n  " + "\n  ".join(differences))
        self.differences = differences


def consumer_config(durable: Durable) -> ConsumerConfig:
    """What the server shall know of a durable. The middleware counts deliveries: `max_deliver` would strand work."""
    return ConsumerConfig(
        name=durable.name,
        durable_name=durable.name,
        ack_policy=AckPolicy.EXPLICIT,
        deliver_policy=DeliverPolicy.ALL,
        ack_wait=durable.ack_wait,
        max_deliver=-1,
        max_ack_pending=1000,
        filter_subject=durable.filter_subject,
    )


def _differences(kind: str, name: str, wanted: Any, found: Any) -> list[str]:
    differences = []
    for item in fields(wanted):
        want, have = getattr(wanted, item.name), getattr(found, item.name)
        # None leaves a setting to the server; the server echoes an unset limit as -1 or 0.
        if want is None or want == have:
            continue
        if want in (-1, 0, False) and have in (-1, 0, None, False):
            continue
        differences.append(f"{kind} {name}: {item.name} is {have!r}, should be {want!r}")
    return differences


async def apply(nc: Client, *, update: bool = False) -> list[str]:
    """Creates what is missing and returns what it did. Raises `TopologyDrift` on differences unless `update` mends them."""
    js = nc.jetstream(timeout=10)
    done: list[str] = []
    drift: list[str] = []
    for stream in STREAMS:
        await _apply_stream(js, stream, update, done, drift)
    for durable in DURABLES:
        await _apply_durable(js, durable, update, done, drift)
    drift += await _strangers(js)
    if drift:
        raise TopologyDrift(drift)
    return done


async def _apply_stream(js: JetStreamContext, wanted: StreamConfig, update: bool, done: list[str], drift: list[str]) -> None:
    name = wanted.name or ""
    try:
        found = (await js.stream_info(name)).config
    except NotFoundError:
        await js.add_stream(wanted)
        done.append(f"created stream {name}")
        return
    differences = _differences("stream", name, wanted, found)
    if differences and update:
        await js.update_stream(wanted)
        done.append(f"updated stream {name}")
    else:
        drift += differences


async def _apply_durable(js: JetStreamContext, durable: Durable, update: bool, done: list[str], drift: list[str]) -> None:
    wanted = consumer_config(durable)
    try:
        found = (await js.consumer_info(durable.stream, durable.name)).config
    except NotFoundError:
        await js.add_consumer(durable.stream, wanted)
        done.append(f"created durable {durable.name}")
        return
    differences = _differences("durable", durable.name, wanted, found)
    if differences and update:
        await js.add_consumer(durable.stream, wanted)
        done.append(f"updated durable {durable.name}")
    else:
        drift += differences


async def _strangers(js: JetStreamContext) -> list[str]:
    """Durables on the server that the table does not have: they hold work back, or take it from nobody."""
    known = {durable.name for durable in DURABLES}
    found = []
    for stream in STREAMS:
        found += [
            f"durable {info.name} on {stream.name} is not in the table; delete it or add it"
            for info in await js.consumers_info(stream.name or "")
            if info.config.durable_name and info.name not in known
        ]
    return found


@dataclass(frozen=True)
class Rights:
    """The subjects a NATS user may publish to and subscribe to; everything else is refused."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


_EXTRA: Mapping[ServiceName, Rights] = {
    "gateway": Rights(
        publish=(
            f"$JS.API.DIRECT.GET.{EVENTS}",
            f"$JS.API.DIRECT.GET.{TOKENS}",
            f"$JS.API.DIRECT.GET.{DEAD_LETTERS}",
            # What was said of a deleted workspace is erased from the log, too.
            *(f"$JS.API.STREAM.PURGE.{stream}" for stream in (EVENTS, WORK, SCHEDULES, TOKENS, DEAD_LETTERS)),
        ),
        subscribe=("live.evt.>", "live.tok.>"),
    ),
    # `sch.ingest.>`: when sources are due. The server itself publishes what a schedule is set to.
    "ingest": Rights(publish=("work.ingest.>", "work.embed.>", "sch.ingest.>"), subscribe=()),
    "embed": Rights(publish=(), subscribe=()),
    "chat": Rights(publish=("tok.>", f"$JS.API.DIRECT.GET.{TOKENS}", f"$JS.API.DIRECT.GET.{TOKENS}.>"), subscribe=()),
}


def inbox_prefix(service: str) -> str:
    """Where replies to a service arrive; nobody else may listen there."""
    return f"_INBOX_{service}"


def rights(service: ServiceName) -> Rights:
    """A service may emit its own events, take from its own durables, ask what it may ask, and answer its own requests."""
    publish = [f"evt.{service}.>", f"dlq.{service}.>"]
    for durable in DURABLES:
        if durable.service == service:
            publish += [
                f"$JS.API.CONSUMER.MSG.NEXT.{durable.stream}.{durable.name}",
                f"$JS.API.CONSUMER.INFO.{durable.stream}.{durable.name}",
                f"$JS.ACK.{durable.stream}.{durable.name}.>",
            ]
    publish += [request.subject for request in REQUESTS if service in request.askers]
    subscribe = [f"{inbox_prefix(service)}.>"]
    subscribe += [request.subject for request in REQUESTS if request.service == service]
    extra = _EXTRA[service]
    return Rights(tuple(publish) + extra.publish, tuple(subscribe) + extra.subscribe)


def server_config(
    users: Mapping[str, str],
    *,
    port: int,
    store_dir: str,
    host: str = "127.0.0.1",
    http_port: int | None = None,
    sync_always: bool = True,
) -> str:
    """The server's configuration file. `users` maps each service's name and `operator` to a password.

    `sync_always` writes through to the disk before a publish is acknowledged (the server's default is two minutes).
    """
    entries: list[dict[str, Any]] = [{"user": OPERATOR, "password": users[OPERATOR]}]
    for service in SERVICES:
        granted = rights(service)
        entries.append(
            {
                "user": service,
                "password": users[service],
                "permissions": {
                    "publish": {"allow": list(granted.publish)},
                    "subscribe": {"allow": list(granted.subscribe)},
                    # Replying to the asker's inbox, whoever asks.
                    "allow_responses": {"max": 1, "expires": "1m"},
                },
            }
        )
    config: dict[str, Any] = {
        "host": host,
        "port": port,
        "max_payload": 2 << 20,
        # A client whose queue is full is cut; the default is 64 MiB for each.
        "max_pending": 64 << 20,
        "jetstream": {
            "store_dir": store_dir,
            **({"sync_interval": "always"} if sync_always else {}),
        },
        "authorization": {"users": entries},
    }
    if http_port is not None:
        config["http"] = f"{host}:{http_port}"
    # The server's own format is a superset of JSON.
    return json.dumps(config, indent=2) + "\n"


async def _main(update: bool) -> int:
    nc = await nats.connect(
        os.environ.get("DOCUTALK_NATS_URL", "nats://127.0.0.1:4222"),
        user=os.environ.get("DOCUTALK_NATS_USER", OPERATOR),
        password=os.environ.get("DOCUTALK_NATS_PASSWORD", ""),
        allow_reconnect=False,
    )
    try:
        for line in await apply(nc, update=update):
            sys.stdout.write(line + "\n")
    except TopologyDrift as drift:
        sys.stderr.write(f"{drift}\nRun it with --update to change the server.\n")
        return 1
    finally:
        await nc.close()
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="change streams and durables that differ")
    sys.exit(asyncio.run(_main(parser.parse_args().update)))
