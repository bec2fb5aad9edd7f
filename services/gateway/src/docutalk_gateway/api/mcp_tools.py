"""What an assistant can do by MCP, the Model Context Protocol: find documents, search them, read them, ask them.

Loads the protocol's SDK: only `mcp_endpoint` imports this, when somebody comes who speaks MCP.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar
from uuid import UUID

from docutalk_common.contracts import embed
from docutalk_common.contracts.ingest import DocumentStatus
from docutalk_common.errors import DocuTalkError, NotFound, RequestFailed
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations
from pydantic import AfterValidator, BaseModel, Field, StringConstraints
from starlette.requests import Request

from docutalk_gateway.adapters import repository
from docutalk_gateway.api import answers, chat_shapes
from docutalk_gateway.api.abandoned_answers import stopped_when_left
from docutalk_gateway.api.context import CALLER, Access, Caller
from docutalk_gateway.api.permissions import TOOLS
from docutalk_gateway.api.problems import Problem, problem_of
from docutalk_gateway.api.search import SEARCH_SECONDS
from docutalk_gateway.api.workspace_choice import choose_workspace, default_workspace
from docutalk_gateway.domain import is_text
from docutalk_gateway.use_cases.post_message import NewMessage
from docutalk_gateway.use_cases.read_documents import Wanted, get_document, list_documents
from docutalk_gateway.use_cases.read_text import Place, read_text

INSTRUCTIONS = """\
Documents that people uploaded to DocuTalk, each in a workspace. `search` finds passages, `fetch` reads what stands around them, \
`ask` gives an answer with checked quotes. Cite what you use: its title, page and url."""
DOCUMENTS_PER_PAGE = 50
_ID = re.compile(r"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?:/([0-9]{1,9})(?:/([0-9]{1,9}))?(-)?)?")

P = ParamSpec("P")
R = TypeVar("R")


def _plain(value: str) -> str:
    if not is_text(value):
        raise ValueError("it holds a character that is not allowed")
    return value


Plain = AfterValidator(_plain)
Workspace = Annotated[
    str | None, Field(description="A workspace's id or name; your default workspace without it", max_length=1000), Plain
]
DocumentIds = Annotated[list[UUID], Field(description="Only these documents; all of the workspace without any", max_length=1000)]


# What the tools answer -------------------------------------------------------------------------------------------


class ListedDocument(BaseModel):
    """A document; only one that is `ready` can be searched and read."""

    id: str
    title: str
    status: DocumentStatus
    content_type: str
    page_count: int | None
    created_at: datetime
    updated_at: datetime
    url: str


class DocumentPage(BaseModel):
    """A page of documents, newest first; `total` is how many there are."""

    documents: list[ListedDocument]
    total: int
    page: int
    per_page: int
    workspace: str


class SearchHit(BaseModel):
    """A passage. `fetch` takes its `id`; `text` is `start` to `end` of that page's text; `score` is 0…1."""

    id: str
    title: str
    url: str
    text: str
    page: int
    document_id: str
    start: int
    end: int
    score: float


class SearchHits(BaseModel):
    """Best first."""

    results: list[SearchHit]


class TextMetadata(BaseModel):
    """What `text` is of. `next` is the id to fetch what follows, null at the document's end."""

    document_id: str
    content_type: str
    version: int
    pages: list[int]
    page_count: int | None
    next: str | None


class FetchedText(BaseModel):
    """A document's text, or a part of it."""

    id: str
    title: str
    text: str
    url: str
    metadata: TextMetadata


class CitedSource(chat_shapes.Citation):
    """A quote that was checked against its page. `[marker]` stands in the answer."""

    url: str


class Answered(BaseModel):
    """`supported` is false when nothing in the documents supports an answer, which then says so."""

    answer: str
    supported: bool
    citations: list[CitedSource]
    workspace: str
    model: str


# The tools -------------------------------------------------------------------------------------------------------


def _request_of(context: Context[Any, Any]) -> Request:
    request = context.request_context.request
    assert isinstance(request, Request)
    return request


async def _access(context: Context[Any, Any], workspace: str | None, tool: str) -> Access:
    caller: Caller = _request_of(context).scope[CALLER]
    rule = TOOLS[tool]
    return await default_workspace(caller, rule) if workspace is None else await choose_workspace(caller, workspace, rule)


def _with_our_errors(tool: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Tells errors as everywhere; the SDK would say of them only that there was one."""

    @wraps(tool)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await tool(*args, **kwargs)
        except DocuTalkError as error:
            context = kwargs["context"]
            assert isinstance(context, Context)
            told = Problem.model_validate_json(bytes(problem_of(_request_of(context), error).body))
            raise ToolError(told.detail) from error

    return call


@_with_our_errors
async def find_documents(
    *,
    workspace: Workspace = None,
    query: Annotated[str | None, Field(description="A part of the filename", max_length=200), Plain] = None,
    page: Annotated[int, Field(description="Of the list, from 1", ge=1, le=100_000)] = 1,
    context: Context[Any, Any],
) -> DocumentPage:
    """Lists the documents of a workspace, newest first, 50 at a time, with their ids and whether they are ready."""
    access = await _access(context, workspace, "list_documents")
    gateway = access.gateway
    found, total = await list_documents(
        gateway.db,
        gateway.broker.requests,
        access.cause,
        access.workspace_id,
        Wanted(q=query),
        page=page,
        per_page=DOCUMENTS_PER_PAGE,
    )
    documents = [
        ListedDocument(
            id=str(document.document_id),
            title=document.filename,
            status=document.status,
            content_type=document.content_type,
            page_count=document.page_count,
            created_at=document.created_at,
            updated_at=document.updated_at,
            url=_url(context, access, document.document_id),
        )
        for document in found
    ]
    return DocumentPage(
        documents=documents, total=total, page=page, per_page=DOCUMENTS_PER_PAGE, workspace=await _name_of(access)
    )


@_with_our_errors
async def search_passages(
    *,
    query: Annotated[
        str,
        Field(description='What to find: words, a question, or "an exact phrase"'),
        StringConstraints(strip_whitespace=True, min_length=1, max_length=4000),
        Plain,
    ],
    workspace: Workspace = None,
    limit: Annotated[int, Field(description="How many passages at most", ge=1, le=50)] = 10,
    document_ids: DocumentIds = [],  # noqa: B006  it is a schema's default, and only read
    context: Context[Any, Any],
) -> SearchHits:
    """Searches the documents of a workspace by meaning and by words. Gives the passages that fit best, each with its document,
    page and address. `fetch` with a result's id reads the whole page."""
    access = await _access(context, workspace, "search")
    question = embed.SearchPassages(
        workspace_id=access.workspace_id,
        query=query,
        limit=limit,
        filters=embed.SearchFilters(document_ids=document_ids),
    )
    found = await access.gateway.broker.requests.ask(
        "rpc.embed.v1.passage.search", question, embed.PassagesFound, cause=access.cause, timeout=SEARCH_SECONDS
    )
    results = [
        SearchHit(
            id=f"{passage.document_id}/{passage.page}",
            title=passage.filename,
            url=_url(context, access, passage.document_id, passage.page),
            text=passage.text,
            page=passage.page,
            document_id=str(passage.document_id),
            start=passage.start,
            end=passage.end,
            score=passage.score,
        )
        for passage in found.passages
    ]
    return SearchHits(results=results)


@_with_our_errors
async def fetch_text(
    *,
    id: Annotated[
        str, Field(description="A result's id (`<document>/<page>`), or a document's id for its pages from the first on"), Plain
    ],
    workspace: Workspace = None,
    context: Context[Any, Any],
) -> FetchedText:
    """Reads a page, or a document from its first page on, up to 100,000 characters. `metadata.next` is the id to fetch what
    follows. Give the workspace that the id was found in."""
    wanted = _Wanted.read(id)
    access = await _access(context, workspace, "fetch")
    gateway = access.gateway
    document_id = wanted.document_id
    document = await get_document(gateway.db, gateway.broker.requests, access.cause, access.workspace_id, document_id)
    read = await read_text(
        gateway.broker.requests,
        access.cause,
        access.workspace_id,
        document_id,
        wanted.place,
        one_page=not wanted.and_on,
    )
    if read is None:
        if wanted.place.page == 1:
            raise NotFound(f"{document.filename} has no text to read: it is {document.status.value}.")
        raise NotFound(f"{document.filename} has no page {wanted.place.page}.")
    return FetchedText(
        id=id,
        title=document.filename,
        text=read.text,
        url=_url(context, access, document_id, read.pages[0]),
        metadata=TextMetadata(
            document_id=str(document_id),
            content_type=document.content_type,
            version=read.version,
            pages=read.pages,
            page_count=document.page_count,
            next=None if read.next is None else _Wanted(document_id, read.next, wanted.and_on).id,
        ),
    )


@_with_our_errors
async def ask_documents(
    *,
    question: Annotated[
        str,
        Field(description="In whole words; it stands for itself"),
        StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000),
        Plain,
    ],
    workspace: Workspace = None,
    document_ids: DocumentIds = [],  # noqa: B006  it is a schema's default, and only read
    context: Context[Any, Any],
) -> Answered:
    """Answers a question from the documents of a workspace, with quotes that were checked against the pages they come from.
    Takes some seconds or, with a large model, minutes. For several questions about one passage, `fetch` it instead."""
    access = await _access(context, workspace, "ask")
    # The conversation is the assistant's: here it leaves no session.
    posted = await answers.post(access, NewMessage(text=question, document_ids=document_ids, turns=()))
    with stopped_when_left(access, posted):
        answer = await answers.whole_answer(access, posted)
    citations = [
        CitedSource(
            **chat_shapes.Citation.of(citation).model_dump(),
            url=_url(context, access, citation.document_id, citation.page),
        )
        for citation in answer.citations
    ]
    return Answered(
        answer=answer.response,
        supported=answer.supported,
        citations=citations,
        workspace=await _name_of(access),
        model=answer.model,
    )


@dataclass(frozen=True)
class _Wanted:
    """What an id means: `<document>`, `<document>/<page>`, or that with `/<start>` in the page, and with `-` for "and on"."""

    document_id: UUID
    place: Place
    and_on: bool

    @classmethod
    def read(cls, wanted: str) -> _Wanted:
        match = _ID.fullmatch(wanted.strip())
        if match is None or match[2] == "0":
            raise RequestFailed("invalid", "An id is a document's id, or that with a page from 1: `<document>/<page>`.")
        return cls(UUID(match[1]), Place(int(match[2] or 1), int(match[3] or 0)), match[2] is None or match[4] is not None)

    @property
    def id(self) -> str:
        start = f"/{self.place.start}" if self.place.start else ""
        return f"{self.document_id}/{self.place.page}{start}{'-' if self.and_on else ''}"


def _url(context: Context[Any, Any], access: Access, document_id: UUID, page: int | None = None) -> str:
    """The address at the gateway, as the client reached it."""
    document = f"{_request_of(context).base_url}api/v1/workspaces/{access.workspace_id}/documents/{document_id}"
    return document if page is None else f"{document}/pages/{page}"


async def _name_of(access: Access) -> str:
    async with access.gateway.db.read() as session:
        found = await repository.workspace_of(session, access.workspace_id, access.user_id)
    return found[0].name if found else str(access.workspace_id)


def mcp_sessions(version: str) -> StreamableHTTPSessionManager:
    """Serves the tools to one request after the other; to be run once."""
    server: MCPServer[Any] = MCPServer(
        "docutalk",
        title="DocuTalk",
        instructions=INSTRUCTIONS,
        version=version,
        # Nothing here changes that somebody could listen to, and a stream without an end holds up a stop of the process.
        subscriptions=False,
    )
    for tool, name, title, same_again in (
        (find_documents, "list_documents", "List documents", True),
        (search_passages, "search", "Search documents", True),
        (fetch_text, "fetch", "Read a document", True),
        (ask_documents, "ask", "Ask documents", False),
    ):
        server.add_tool(
            tool,
            name,
            title,
            inspect.getdoc(tool),
            annotations=ToolAnnotations(
                read_only_hint=True, destructive_hint=False, idempotent_hint=same_again, open_world_hint=False
            ),
        )
    # The SDK's protection against DNS rebinding compares the Host header with names that a gateway does not know of itself.
    # It is for servers that trust whoever reaches them: this one wants a token in a header, which no strange page can send.
    server.streamable_http_app(
        stateless_http=True, transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False)
    )
    return server.session_manager
