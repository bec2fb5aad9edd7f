"""Ollama, which serves OpenAI's chat completions and tells what it has and how much that takes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, Field

from docutalk_common.llm.model import Endpoint

SECONDS = 0.5
"""In which Ollama says what it has; one that does not is taken as absent."""

DEFAULT_CONTEXT = 4096
"""What Ollama gives a model when nothing else is set, however much the model could take."""

_EMBEDS = re.compile(r"embed|minilm|rerank|(^|[/_-])(bge|e5|gte)[-_:]", re.IGNORECASE)


def is_embedding_model(name: str) -> bool:
    """Whether a model's name says that it makes vectors and no text. Lists of models mostly say nothing else about it."""
    return _EMBEDS.search(name) is not None


class _Details(BaseModel):
    family: str = ""


class _Listed(BaseModel):
    name: str
    modified_at: datetime = datetime.min.replace(tzinfo=UTC)
    details: _Details = Field(default_factory=_Details)
    capabilities: list[str] | None = None

    @property
    def writes(self) -> bool:
        if self.capabilities is not None:
            return "completion" in self.capabilities
        return not is_embedding_model(self.name) and "bert" not in self.details.family.lower()


class _Tags(BaseModel):
    models: list[_Listed]


class _Running(BaseModel):
    name: str
    context_length: int | None = None


class _Processes(BaseModel):
    models: list[_Running]


class _Shown(BaseModel):
    parameters: str = ""
    model_info: dict[str, object] = Field(default_factory=dict)


async def detect_ollama(host: str | None) -> Endpoint | None:
    """The endpoint of a running Ollama with its newest model that writes text, or None. `host` is as in `OLLAMA_HOST`.

    Waits half a second at most for its answer, and raises nothing.
    """
    try:
        root = _root(host)
        # No proxy: the one that an environment sets is for other machines. The time begins with the question: what the client
        # reads from the disk first is no sign of an absent server.
        async with httpx2.AsyncClient(trust_env=False) as http, asyncio.timeout(SECONDS):
            answer = await http.get(f"{root}/api/tags")
            answer.raise_for_status()
        listed = [model for model in _Tags.model_validate_json(answer.content).models if model.writes]
    except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, ValueError):
        return None
    if not listed:
        return None
    newest = max(listed, key=lambda model: model.modified_at.timestamp())
    return Endpoint(f"{root}/v1", newest.name, provider="ollama")


def _root(host: str | None) -> str:
    """`http://host:port` of what `OLLAMA_HOST` says, with Ollama's rules for what is left out."""
    host = (host or "").strip().rstrip("/")
    scheme, given, rest = host.rpartition("://")
    parts = urlsplit(f"{scheme or 'http'}://{rest}")
    name = parts.hostname or "127.0.0.1"
    # What a server listens at everywhere, nobody can connect to everywhere.
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)  # noqa: S104, nothing listens here
    usual = {"http": 80, "https": 443}.get(scheme, 11434) if given else 11434
    return f"{parts.scheme}://{f'[{name}]' if ':' in name else name}:{parts.port or usual}{parts.path}"


async def context_length(ask: Callable[[str, dict[str, str] | None], Awaitable[object]], model: str) -> int:
    """Tokens that Ollama gives the model: those of the running one, else those of its Modelfile, else the default.

    `ask` gets a path (and posts a body, when there is one) and returns the JSON of the answer.
    """
    full = model if ":" in model.rpartition("/")[2] else f"{model}:latest"
    running = _Processes.model_validate(await ask("/api/ps", None)).models
    told = next((process.context_length for process in running if process.name == full), None)
    if told:
        return told
    shown = _Shown.model_validate(await ask("/api/show", {"model": model}))
    # What the model could take says nothing of what Ollama gives it, but is never exceeded.
    longest = next((value for key, value in shown.model_info.items() if key.endswith(".context_length")), None)
    set_to = re.search(r"^num_ctx\s+(\d+)", shown.parameters, re.MULTILINE)
    given = int(set_to[1]) if set_to else DEFAULT_CONTEXT
    return min(given, longest) if isinstance(longest, int) and longest > 0 else given
