"""A service's side of NATS: its connection, its consumers behind the middleware, its answers, its relay, its watch."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from docutalk_common import telemetry
from docutalk_common.contracts.envelope import Contract
from docutalk_common.db import Cause, Database
from docutalk_common.errors import DependencyUnavailable, DocuTalkError
from docutalk_common.messaging.consumer import RETRY_DELAYS, ConsumerMiddleware, Delivery
from docutalk_common.messaging.outbox import OutboxRelay
from docutalk_common.messaging.requests import Answerer, RequestClient
from docutalk_common.messaging.streams import Durable, ServiceName, durable, request_for
from docutalk_common.messaging.topology import inbox_prefix
from docutalk_common.process import cancel_all
from docutalk_common.settings import ServiceSettings

log = telemetry.get_logger(__name__)

WATCH_SECONDS = 30.0
FETCH_SECONDS = 5.0
RETRY_FETCH_SECONDS = 0.5
# An idle puller asks the server every five seconds; hundreds of them would keep both busy with nothing.
MOST_PULLERS = 16

M = TypeVar("M", bound=Contract)
Q = TypeVar("Q", bound=Contract)


class Puller:
    """Fetches one message at a time from a durable, only while one of the durable's `slots` is free, and hands it to the
    middleware. Pullers of one durable share its slots: a message is never fetched before something can begin with it."""

    def __init__(self, middleware: ConsumerMiddleware, slots: asyncio.Semaphore, on_fatal: Callable[[str], None]) -> None:
        self.middleware = middleware
        self._slots = slots
        self._on_fatal = on_fatal
        self._handling: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self, js: JetStreamContext, inbox: str) -> None:
        """Begins to fetch. `inbox` is the prefix of the replies."""
        self._task = asyncio.create_task(self._run(js, f"{inbox}.".encode()), name=self.middleware.durable.name)
        self._task.add_done_callback(self._ended)

    async def stop(self, grace: float) -> None:
        """Fetches no more, lets handlers finish for `grace` seconds, then cancels them; returns when they have ended."""
        self._stopping = True
        if self._task is None:
            return
        await cancel_all([self._task])
        if self._handling:
            await asyncio.wait(self._handling, timeout=grace)
        await cancel_all(self._handling)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A puller that dies would leave its durable unserved, with everything else looking well."""
        if not self._stopping and not task.cancelled():
            self._on_fatal(f"fetching from {self.middleware.durable.name} ended: {task.exception()!r}")

    async def _run(self, js: JetStreamContext, inbox: bytes) -> None:
        entry = self.middleware.durable
        subscription = await js.pull_subscribe_bind(durable=entry.name, stream=entry.stream, inbox_prefix=inbox)
        try:
            while not self._stopping:
                await self._slots.acquire()
                handled = False
                try:
                    handled = await self._pull(subscription)
                finally:
                    if not handled:
                        self._slots.release()
        finally:
            # A fetch takes messages without telling the queue, and draining the connection would wait for the queue for ever.
            await subscription.unsubscribe()

    async def _pull(self, subscription: JetStreamContext.PullSubscription) -> bool:
        """Whether a message came and is being handled; its slot is given back at its end."""
        entry = self.middleware.durable
        try:
            [message] = await subscription.fetch(1, timeout=FETCH_SECONDS)
        except NatsTimeout:
            return False
        except Exception as error:
            # The connection is away, or the durable is gone, which the watch tells. Neither mends faster when pressed;
            # and a puller that ended with an error would leave its durable unread, with nobody the wiser.
            log.info("fetching failed", consumer=entry.name, reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(RETRY_FETCH_SECONDS)
            return False
        if self._stopping:
            # The cancellation came together with the message and was swallowed (see `cancel_all`).
            await message.nak()
            return False
        task = asyncio.create_task(self.middleware(message))
        self._handling.add(task)
        task.add_done_callback(self._done)
        return True

    def _done(self, task: asyncio.Task[None]) -> None:
        self._handling.discard(task)
        self._slots.release()


class Responder:
    """Subscribes to one request and answers at most `concurrency` of them at once; the others wait in the client's queue."""

    def __init__(self, answerer: Answerer) -> None:
        self.answerer = answerer
        self._free = asyncio.Semaphore(answerer.request.concurrency)
        self._answering: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None

    async def start(self, nc: Client, queue: str) -> None:
        """Begins to answer. Processes of one service share the questions by the name of their queue group."""
        self._subscription = await nc.subscribe(self.answerer.request.subject, queue=queue, cb=self._take)

    async def stop(self, grace: float) -> None:
        """Takes no more questions and lets the answers in the making finish for `grace` seconds."""
        if self._subscription is not None:
            with contextlib.suppress(NatsError, OSError):
                await self._subscription.unsubscribe()
        if self._answering:
            await asyncio.wait(self._answering, timeout=grace)
        await cancel_all(self._answering)

    async def _take(self, message: Msg) -> None:
        await self._free.acquire()
        task = asyncio.create_task(self.answerer(message))
        self._answering.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        self._free.release()


class MessageBroker:
    """Register with `consume` and `answer`, then `start`. `on_fatal` is told what only a new process can mend."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        service: ServiceName,
        db: Database | None,
        dependencies: Mapping[str, Callable[[], Awaitable[None]]] | None = None,
        on_fatal: Callable[[str], None] | None = None,
        watch_seconds: float = WATCH_SECONDS,
    ) -> None:
        self.service = service
        self._db = db
        self._dependencies = dict(dependencies or {})
        if db is not None:
            self._dependencies.setdefault("postgres", db.ping)
        self._on_fatal = on_fatal or log.error
        self._watch_seconds = watch_seconds
        self._stopping = asyncio.Event()
        self._durables: dict[str, Durable] = {}
        self.pullers: list[Puller] = []
        self.responders: list[Responder] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._nc: Client | None = None
        self._js: JetStreamContext | None = None
        self._settings = settings
        self.requests = RequestClient(lambda: self.nc)

    @property
    def nc(self) -> Client:
        """The connection. Raises `DependencyUnavailable` before `start`."""
        if self._nc is None:
            raise DependencyUnavailable("nats", "not connected yet")
        return self._nc

    @property
    def js(self) -> JetStreamContext:
        """JetStream. Raises `DependencyUnavailable` before `start`."""
        if self._js is None:
            raise DependencyUnavailable("nats", "not connected yet")
        return self._js

    def consume(
        self,
        name: str | Durable,
        handler: Callable[[M, Delivery], Awaitable[None]],
        *,
        concurrency: int | None = None,
        retry_delays: Sequence[float] = RETRY_DELAYS,
    ) -> None:
        """Handles the messages of a durable, `concurrency` at once, each fetched alone: nothing is prefetched beyond what runs,
        so a slow handler's neighbours are not delivered twice."""
        entry = durable(name) if isinstance(name, str) else name
        assert entry.service == self.service, f"{entry.name} belongs to {entry.service}"
        self._durables[entry.name] = entry
        middleware = ConsumerMiddleware(
            entry,
            handler,
            db=self._db,
            js=lambda: self.js,
            dependencies=self._dependencies,
            stopping=self._stopping,
            retry_delays=retry_delays,
        )
        at_once = concurrency or entry.concurrency
        slots = asyncio.Semaphore(at_once)
        self.pullers += [Puller(middleware, slots, self._on_fatal) for _ in range(min(at_once, MOST_PULLERS))]

    def answer(self, subject: str, handler: Callable[[Q, Cause], Awaitable[Contract]]) -> None:
        """Answers a request. Processes of one service share the questions (queue group)."""
        entry = request_for(subject)
        assert entry.service == self.service, f"{subject} is answered by {entry.service}"
        self.responders.append(Responder(Answerer(subject, handler)))

    async def start(self) -> None:
        """Connects, checks that every durable is there, and starts taking messages and relaying the outbox."""
        self._nc = await self._connect()
        self._js = self._nc.jetstream(timeout=5)
        for entry in self._durables.values():
            await self._check(entry)
        for responder in self.responders:
            await responder.start(self._nc, self.service)
        for _ in range(2):
            # Ready means that the server knows the subscriptions; one PING can overtake a SUB in the client's buffer.
            await self._nc.flush()
        for puller in self.pullers:
            puller.start(self.js, inbox_prefix(self.service))
        if self._db is not None:
            self._tasks.append(asyncio.create_task(OutboxRelay(self._db, lambda: self.js).run(), name="outbox relay"))
        if self._durables:
            self._tasks.append(asyncio.create_task(self._watch(), name="consumer watch"))

    async def stop(self, grace: float = 25.0) -> None:
        """Takes no more, lets handlers finish for `grace` seconds, gives back the rest, closes."""
        self._stopping.set()
        # Cancelled handlers roll back and give their messages back, for which the connection must still be open.
        await asyncio.gather(
            *(puller.stop(grace) for puller in self.pullers), *(responder.stop(grace) for responder in self.responders)
        )
        # Before the connection goes: a relay in the middle of a batch would wait for every acknowledgement to time out.
        await cancel_all(self._tasks)
        if self._nc is not None:
            # The last acknowledgements go out first. Not drained: nats-py would wait for messages that a fetch took
            # without telling its queue.
            with contextlib.suppress(TimeoutError, NatsError, OSError):
                await self._nc.flush(timeout=2)
            # A connection that is lost in this moment fails to send what is pending; there is nobody to send it to.
            with contextlib.suppress(NatsError, OSError):
                await self._nc.close()

    async def _connect(self) -> Client:
        return await nats.connect(
            self._settings.nats_url,
            user=self._settings.nats_user,
            password=self._settings.nats_password.get_secret_value(),
            name=f"docutalk-{self.service}",
            inbox_prefix=inbox_prefix(self.service),
            # It never gives up: a connection that is closed for good leaves every pull loop failing at once, for ever.
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            connect_timeout=5,
            ping_interval=10,
            max_outstanding_pings=2,
            closed_cb=self._closed,
            disconnected_cb=self._disconnected,
            reconnected_cb=self._reconnected,
            error_cb=self._error,
        )

    async def ping(self) -> None:
        """Raises `DependencyUnavailable` unless the server answers."""
        if self._nc is None or not self._nc.is_connected:
            raise DependencyUnavailable("nats", "not connected")
        try:
            await self._nc.flush(timeout=2)
        except (TimeoutError, NatsError, OSError) as error:
            raise DependencyUnavailable("nats", str(error)) from error

    async def _check(self, entry: Durable) -> None:
        """Fetching from a durable that is not there only ever times out."""
        try:
            await self.js.consumer_info(entry.stream, entry.name)
        except NotFoundError:
            raise DocuTalkError(f"the durable {entry.name} is not on the server; run the topology command") from None

    async def _watch(self) -> None:
        """A durable deleted on the server leaves its subscriber asking for ever, with a healthy connection: look for it."""
        while True:
            for entry in self._durables.values():
                try:
                    info = await self.js.consumer_info(entry.stream, entry.name)
                except NotFoundError:
                    self._on_fatal(f"the durable {entry.name} is gone from the server; run the topology command")
                    return
                except (TimeoutError, NatsError, OSError):
                    break  # the connection mends itself
                telemetry.QUEUE_PENDING.labels(entry.name).set(info.num_pending or 0)
                telemetry.QUEUE_IN_FLIGHT.labels(entry.name).set(info.num_ack_pending or 0)
            await asyncio.sleep(self._watch_seconds)

    async def _closed(self) -> None:
        if not self._stopping.is_set():
            self._on_fatal("the connection to NATS closed for good")

    async def _disconnected(self) -> None:
        if not self._stopping.is_set():
            log.warning("the connection to NATS was lost; reconnecting")

    async def _reconnected(self) -> None:
        log.info("connected to NATS again")

    async def _error(self, error: Exception) -> None:
        log.warning("NATS reports an error", error=f"{type(error).__name__}: {error}")
