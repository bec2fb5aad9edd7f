"""Well-known models: what each needs to be asked rightly, so that its name alone registers it.

Figures are those of the models' own cards. What runs here is named as fastembed names it, and so is its folder; names at an
endpoint are OpenAI's, and Ollama's for what people run themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from docutalk_common.contracts.embed import Distance, ModelProvider

_RETRIEVAL = "Represent this sentence for searching relevant passages: "
_NOMIC = ("search_query: ", "search_document: ")
_E5 = ("query: ", "passage: ")
_GEMMA = ("task: search result | query: ", "title: none | text: ")


@dataclass(frozen=True)
class KnownModel:
    """A model as `RegisterModel` would describe it. `prefixes`: of queries and of passages."""

    name: str
    provider: ModelProvider
    provider_model: str
    dimension: int
    max_tokens: int
    prefixes: tuple[str, str] = ("", "")
    distance: Distance = Distance.COSINE


def _local(provider_model: str, dimension: int, max_tokens: int, prefixes: tuple[str, str] = ("", "")) -> KnownModel:
    name = provider_model.rpartition("/")[2]
    return KnownModel(name, ModelProvider.FASTEMBED, provider_model, dimension, max_tokens, prefixes)


def _remote(name: str, dimension: int, max_tokens: int, prefixes: tuple[str, str] = ("", "")) -> KnownModel:
    return KnownModel(name, ModelProvider.OPENAI, name, dimension, max_tokens, prefixes)


_MODELS = (
    _local("BAAI/bge-small-en-v1.5", 384, 512, (_RETRIEVAL, "")),
    _local("BAAI/bge-base-en-v1.5", 768, 512, (_RETRIEVAL, "")),
    _local("BAAI/bge-large-en-v1.5", 1024, 512, (_RETRIEVAL, "")),
    _local("snowflake/snowflake-arctic-embed-xs", 384, 512, (_RETRIEVAL, "")),
    _local("snowflake/snowflake-arctic-embed-s", 384, 512, (_RETRIEVAL, "")),
    _local("snowflake/snowflake-arctic-embed-m", 768, 512, (_RETRIEVAL, "")),
    _local("snowflake/snowflake-arctic-embed-l", 1024, 512, (_RETRIEVAL, "")),
    _local("mixedbread-ai/mxbai-embed-large-v1", 1024, 512, (_RETRIEVAL, "")),
    _local("nomic-ai/nomic-embed-text-v1.5", 768, 8192, _NOMIC),
    _local("intfloat/multilingual-e5-large", 1024, 512, _E5),
    _local("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", 384, 128),
    _local("jinaai/jina-embeddings-v2-base-en", 768, 8192),
    _local("jinaai/jina-embeddings-v2-base-de", 768, 8192),
    _local("google/embeddinggemma-300m", 768, 2048, _GEMMA),
    _remote("text-embedding-3-small", 1536, 8191),
    _remote("text-embedding-3-large", 3072, 8191),
    _remote("text-embedding-ada-002", 1536, 8191),
    # Ollama asks this model for 2,048 tokens unless it is told otherwise.
    _remote("nomic-embed-text", 768, 2048, _NOMIC),
    _remote("mxbai-embed-large", 1024, 512, (_RETRIEVAL, "")),
    _remote("snowflake-arctic-embed", 1024, 512, (_RETRIEVAL, "")),
    _remote("snowflake-arctic-embed2", 1024, 8192, ("query: ", "")),
    _remote("bge-m3", 1024, 8192),
    _remote("all-minilm", 384, 256),
)

KNOWN_MODELS = {model.name: model for model in _MODELS}
"""By name."""
