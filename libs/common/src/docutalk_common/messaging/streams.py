"""The one table of streams, durables and requests. Servers' rights, the topology command and AsyncAPI are derived from it.

Reading it from top to bottom is reading the event flow. Nothing else names a stream or a durable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nats.js.api import (
    DiscardPolicy,
    PersistMode,
    RePublish,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from docutalk_common.contracts import chat, embed, gateway, ingest
from docutalk_common.contracts.dead_letters import DeadLetter
from docutalk_common.contracts.envelope import Contract, Message

ServiceName = Literal["gateway", "ingest", "embed", "chat"]
SERVICES: tuple[ServiceName, ...] = ("gateway", "ingest", "embed", "chat")

DAY = 24 * 3600.0
GIB = 1 << 30

EVENTS = "EVENTS"
WORK = "WORK"
SCHEDULES = "SCHEDULES"
TOKENS = "TOKENS"
DEAD_LETTERS = "DEAD_LETTERS"
ADVISORIES = "ADVISORIES"

STREAMS: tuple[StreamConfig, ...] = (
    # The log: timelines, replay. Republished with its sequence, so that a live feed can be resumed by number.
    StreamConfig(
        name=EVENTS,
        subjects=["evt.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        max_age=30 * DAY,
        max_bytes=8 * GIB,
        discard=DiscardPolicy.OLD,
        duplicate_window=600.0,
        allow_direct=True,
        republish=RePublish(src="evt.>", dest="live.evt.>"),
    ),
    # One workspace may hold this many pieces of each kind of work; the rest wait in the outbox and delay nobody else.
    StreamConfig(
        name=WORK,
        subjects=["work.>"],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_msgs_per_subject=1000,
        discard_new_per_subject=True,
        max_bytes=8 * GIB,
        duplicate_window=600.0,
    ),
    StreamConfig(
        name=SCHEDULES,
        subjects=["sch.>", "due.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        max_bytes=1 * GIB,
        duplicate_window=120.0,
        allow_msg_schedules=True,
        allow_rollup_hdrs=True,  # the server sets it with schedules
    ),
    # Answers in flight; the finished answer is in PostgreSQL before `done` is sent. Not kept in memory: a restarted server
    # has lost such a stream itself, and no service may make it again. Written asynchronously, a frame costs no more
    # (0.2 ms against 0.3 ms in memory and 0.5 ms with the file synced), and the stream outlives a kill of the server; the
    # last frames may not.
    StreamConfig(
        name=TOKENS,
        subjects=["tok.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        persist_mode=PersistMode.ASYNC,
        max_age=15 * 60.0,
        max_bytes=256 << 20,
        duplicate_window=60.0,
        allow_direct=True,
        republish=RePublish(src="tok.>", dest="live.tok.>"),
    ),
    StreamConfig(
        name=DEAD_LETTERS,
        subjects=["dlq.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        max_age=90 * DAY,
        max_bytes=2 * GIB,
        duplicate_window=600.0,
        allow_direct=True,
    ),
    StreamConfig(
        name=ADVISORIES,
        subjects=[
            "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>",
            "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>",
        ],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        max_age=7 * DAY,
        max_bytes=1 * GIB,
        duplicate_window=120.0,
    ),
)


@dataclass(frozen=True)
class Durable:
    """One consumer on the server. Its name starts with the service that owns it."""

    name: str
    service: ServiceName
    stream: str
    contract: type[Contract]
    """What the messages carry; for everything but dead letters a `Message` inside an `Envelope`."""
    concurrency: int = 1
    """How many messages one process handles at once."""
    ack_wait: float = 30.0
    """Seconds after which a message comes again whose process gave no sign of life; it gives one each third of that."""

    @property
    def filter_subject(self) -> str:
        """The one subject filter of this consumer."""
        if issubclass(self.contract, Message):
            return self.contract.subject_filter()
        return "dlq.>"


DURABLES: tuple[Durable, ...] = (
    Durable("ingest-document-uploaded", "ingest", EVENTS, gateway.DocumentUploaded, concurrency=64),
    Durable("ingest-document-extract", "ingest", WORK, ingest.ExtractDocument, concurrency=4),
    Durable("embed-chunks-index", "embed", WORK, ingest.IndexChunks, concurrency=4),
    Durable("embed-chunks-express", "embed", WORK, ingest.IndexChunksExpress, concurrency=2),
    Durable("ingest-chunks-indexed", "ingest", EVENTS, embed.ChunksIndexed),
    Durable("ingest-document-indexed", "ingest", EVENTS, embed.DocumentIndexed),
    Durable("ingest-dead-letter", "ingest", DEAD_LETTERS, DeadLetter),
    Durable("ingest-document-deleted", "ingest", EVENTS, ingest.DocumentDeleted),
    Durable("ingest-document-pruned", "ingest", EVENTS, ingest.DocumentPruned),
    Durable("embed-document-deleted", "embed", EVENTS, ingest.DocumentDeleted),
    Durable("embed-document-cancelled", "embed", EVENTS, ingest.DocumentCancelled),
    Durable("embed-document-renamed", "embed", EVENTS, ingest.DocumentRenamed),
    Durable("chat-document-deleted", "chat", EVENTS, ingest.DocumentDeleted),
    Durable("chat-document-ready", "chat", EVENTS, ingest.DocumentReady),
    Durable("ingest-source-due", "ingest", SCHEDULES, ingest.SourceDue),
    Durable("ingest-source-collect", "ingest", WORK, ingest.CollectSource, concurrency=4),
    Durable("gateway-document-deleted", "gateway", EVENTS, ingest.DocumentDeleted),
    Durable("chat-dead-letter", "chat", DEAD_LETTERS, DeadLetter),
    # An answer mostly waits for the model; the server lets a thousand be unacknowledged. Somebody looks at an answer whose
    # process was killed, and it begins again only when the message does.
    Durable("chat-message-posted", "chat", EVENTS, gateway.MessagePosted, concurrency=512, ack_wait=12.0),
    # Erasure: each service removes what it holds and says so.
    Durable("ingest-workspace-deleted", "ingest", EVENTS, gateway.WorkspaceDeleted),
    Durable("embed-workspace-deleted", "embed", EVENTS, gateway.WorkspaceDeleted),
    Durable("chat-workspace-deleted", "chat", EVENTS, gateway.WorkspaceDeleted),
    Durable("ingest-user-deleted", "ingest", EVENTS, gateway.UserDeleted),
    Durable("embed-user-deleted", "embed", EVENTS, gateway.UserDeleted),
    Durable("chat-user-deleted", "chat", EVENTS, gateway.UserDeleted),
    Durable("gateway-ingest-erased", "gateway", EVENTS, ingest.DataErased),
    Durable("gateway-embed-erased", "gateway", EVENTS, embed.DataErased),
    Durable("gateway-chat-erased", "gateway", EVENTS, chat.DataErased),
)


@dataclass(frozen=True)
class Request:
    """A question that one service answers now. Subject `rpc.<service>.v<N>.<entity>.<verb>`."""

    subject: str
    request: type[Contract]
    response: type[Contract]
    askers: tuple[ServiceName, ...]
    concurrency: int = 16
    idempotent: bool = True
    """Whether asking once more after no answer does no harm."""

    @property
    def service(self) -> str:
        """Who answers."""
        return self.subject.split(".")[1]


REQUESTS: tuple[Request, ...] = (
    Request("rpc.ingest.v1.document.list", ingest.ListDocuments, ingest.DocumentList, ("gateway",)),
    Request("rpc.ingest.v1.document.get", ingest.GetDocument, ingest.Document, ("gateway",)),
    Request("rpc.ingest.v1.document.delete", ingest.DeleteDocument, ingest.DocumentRemoved, ("gateway",), idempotent=False),
    Request("rpc.ingest.v1.document.cancel", ingest.CancelDocument, ingest.Document, ("gateway",), idempotent=False),
    Request("rpc.ingest.v1.document.retry", ingest.RetryDocument, ingest.Document, ("gateway",), idempotent=False),
    Request("rpc.ingest.v1.document.rename", ingest.RenameDocument, ingest.Document, ("gateway",)),
    Request("rpc.ingest.v1.document.change", ingest.ChangeDocuments, ingest.DocumentsChanged, ("gateway",), idempotent=False),
    Request("rpc.ingest.v1.version.list", ingest.ListVersions, ingest.VersionList, ("gateway",)),
    Request("rpc.ingest.v1.progress.get", ingest.GetProgress, ingest.WorkspaceProgress, ("gateway",)),
    Request("rpc.ingest.v1.object.known", ingest.KnownObjects, ingest.ObjectsKnown, ("gateway",)),
    Request("rpc.ingest.v1.page.get", ingest.GetPages, ingest.Pages, ("gateway", "chat")),
    Request("rpc.ingest.v1.page.boxes", ingest.GetBoxes, ingest.Boxes, ("gateway",)),
    Request("rpc.ingest.v1.page.render", ingest.RenderPage, ingest.RenderedPage, ("gateway",)),
    Request("rpc.ingest.v1.unit.list", ingest.ListUnits, ingest.Units, ("gateway",)),
    Request("rpc.ingest.v1.source.create", ingest.CreateSource, ingest.Source, ("gateway",), idempotent=False),
    Request("rpc.ingest.v1.source.list", ingest.ListSources, ingest.SourceList, ("gateway",)),
    Request("rpc.ingest.v1.source.get", ingest.GetSource, ingest.Source, ("gateway",)),
    Request("rpc.ingest.v1.source.change", ingest.ChangeSource, ingest.Source, ("gateway",)),
    Request("rpc.ingest.v1.source.delete", ingest.DeleteSource, ingest.SourceRemoved, ("gateway",), idempotent=False),
    Request("rpc.ingest.v1.source.run", ingest.RunSource, ingest.SourceRun, ("gateway",), idempotent=False),
    Request("rpc.ingest.v1.source.runs", ingest.ListRuns, ingest.RunList, ("gateway",)),
    Request("rpc.ingest.v1.workspace.usage", ingest.GetUsage, ingest.WorkspaceUsage, ("gateway",)),
    Request("rpc.ingest.v1.workspace.export", ingest.ExportRecords, ingest.ExportedRecords, ("gateway",), concurrency=4),
    Request("rpc.ingest.v1.workspace.import", ingest.ImportRecords, ingest.RecordsImported, ("gateway",), concurrency=4),
    Request("rpc.ingest.v1.record.known", ingest.KnownRecords, ingest.RecordsKnown, ("gateway",), concurrency=4),
    Request("rpc.embed.v1.passage.search", embed.SearchPassages, embed.PassagesFound, ("gateway", "chat")),
    Request("rpc.embed.v1.passage.compare", embed.ComparePassages, embed.Comparison, ("gateway",), concurrency=2),
    Request("rpc.embed.v1.text.embed", embed.EmbedTexts, embed.Embeddings, ("gateway", "chat")),
    Request("rpc.embed.v1.document.similar", embed.FindSimilar, embed.SimilarDocuments, ("gateway",)),
    Request("rpc.embed.v1.place.list", embed.ListPlaces, embed.Places, ("gateway",)),
    Request("rpc.embed.v1.settings.get", embed.GetSearchSettings, embed.SearchSettings, ("gateway",)),
    Request("rpc.embed.v1.settings.change", embed.ChangeSearchSettings, embed.SearchSettings, ("gateway",)),
    Request("rpc.embed.v1.model.list", embed.ListModels, embed.Models, ("gateway",)),
    Request("rpc.embed.v1.model.register", embed.RegisterModel, embed.EmbeddingModel, ("gateway",), idempotent=False),
    Request("rpc.embed.v1.model.remove", embed.RemoveModel, embed.ModelRemoved, ("gateway",), idempotent=False),
    Request("rpc.embed.v1.change.start", embed.StartChange, embed.ModelChange, ("gateway",), idempotent=False),
    Request("rpc.embed.v1.change.list", embed.ListChanges, embed.ModelChanges, ("gateway",)),
    Request("rpc.embed.v1.change.step", embed.StepChange, embed.ModelChange, ("gateway",), idempotent=False),
    Request("rpc.chat.v1.session.open", chat.OpenSession, chat.SessionOpened, ("gateway",), idempotent=False),
    Request("rpc.chat.v1.session.list", chat.ListSessions, chat.SessionList, ("gateway",)),
    Request("rpc.chat.v1.session.get", chat.GetSession, chat.Session, ("gateway",)),
    Request("rpc.chat.v1.session.rename", chat.RenameSession, chat.Session, ("gateway",)),
    Request("rpc.chat.v1.session.delete", chat.DeleteSession, chat.SessionDeleted, ("gateway",), idempotent=False),
    Request("rpc.chat.v1.message.list", chat.ListMessages, chat.MessageList, ("gateway",)),
    Request("rpc.chat.v1.question.get", chat.GetQuestion, chat.Question, ("gateway",)),
    Request("rpc.chat.v1.answer.get", chat.GetAnswer, chat.AnswerState, ("gateway",)),
    Request("rpc.chat.v1.answer.stop", chat.StopAnswer, chat.AnswerState, ("gateway",)),
    Request("rpc.chat.v1.answer.rate", chat.RateAnswer, chat.AnswerRated, ("gateway",)),
    Request("rpc.chat.v1.settings.get", chat.GetChatSettings, chat.ChatSettings, ("gateway",)),
    Request("rpc.chat.v1.settings.change", chat.ChangeChatSettings, chat.ChatSettings, ("gateway",)),
    Request("rpc.chat.v1.model.list", chat.ListChatModels, chat.ChatModels, ("gateway",)),
    Request("rpc.chat.v1.session.export", chat.ExportSessions, chat.ExportedSessions, ("gateway",), concurrency=4),
    Request("rpc.chat.v1.session.import", chat.ImportSessions, chat.SessionsImported, ("gateway",), concurrency=4),
    Request("rpc.chat.v1.session.known", chat.KnownSessions, chat.SessionsKnown, ("gateway",), concurrency=4),
    Request("rpc.gateway.v1.workspace.get", gateway.GetWorkspace, gateway.WorkspaceState, ("ingest",)),
)


def durable(name: str) -> Durable:
    """The durable of that name; `KeyError` when the table has none."""
    return {d.name: d for d in DURABLES}[name]


def request_for(subject: str) -> Request:
    """The request of that subject; `KeyError` when the table has none."""
    return {r.subject: r for r in REQUESTS}[subject]
