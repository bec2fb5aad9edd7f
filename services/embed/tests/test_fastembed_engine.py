"""ONNX models from a local folder, without a network."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from docutalk_common.contracts.embed import Distance, ModelProvider
from docutalk_embed.adapters.batcher import Lane, MicroBatcher
from docutalk_embed.adapters.fastembed_engine import FastEmbedEngine
from docutalk_embed.adapters.model_registry import ModelRecord, ModelUnavailable

from .local_models import LocalModel

TEXTS = ["Pumps were replaced.", "short", "A much longer text about harbours, cranes and the weather there. " * 4, ""]


def record(provider_model: str, *, dimension: int = 12, max_tokens: int = 256) -> ModelRecord:
    return ModelRecord(2, "local", ModelProvider.FASTEMBED, provider_model, dimension, Distance.COSINE, "", "", max_tokens)


@pytest.mark.parametrize(
    ("name", "pooling", "weights"),
    [
        ("mine/mean", "mean", "model.onnx"),
        ("mine/first", "cls", "onnx/model.onnx"),
        ("mine/sentences", "none", "model_quantized.onnx"),
        # The library knows that this one takes the mean, and where it looks for the weights.
        ("sentence-transformers/all-MiniLM-L6-v2", "mean", "model.onnx"),
    ],
)
def test_vectors_are_those_that_the_network_and_its_pooling_make(tmp_path: Path, name: str, pooling: str, weights: str) -> None:
    model = LocalModel(tmp_path, name, pooling=pooling, weights=weights)
    engine = FastEmbedEngine(tmp_path, record(name), threads=1)
    assert engine.dimension == 12
    given = engine.infer(engine.tokenize(TEXTS))
    expected = np.array([model.vector(text) for text in TEXTS])
    # One that the library knows comes normalised.
    given, expected = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (given, expected))
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_texts_are_cut_at_the_registered_number_of_tokens(tmp_path: Path) -> None:
    model = LocalModel(tmp_path, "mine/short")
    engine = FastEmbedEngine(tmp_path, record("mine/short", max_tokens=6), threads=1)
    text = "one two three four five six seven eight nine"
    np.testing.assert_allclose(engine.infer([text])[0], model.vector(text, 6), atol=1e-5)


async def test_behind_the_queue_vectors_keep_the_order_of_their_texts(tmp_path: Path) -> None:
    model = LocalModel(tmp_path, "mine/queued")
    batcher = MicroBatcher(FastEmbedEngine(tmp_path, record("mine/queued"), threads=1))
    texts = [f"number {number} " + "of many " * (number % 7) for number in range(30)]
    async with batcher.running():
        parts = await asyncio.gather(*(batcher.embed(texts[start : start + 10], Lane.BULK) for start in (0, 10, 20)))
    np.testing.assert_allclose(np.concatenate(parts), [model.vector(text) for text in texts], atol=1e-5)


def test_what_is_missing_in_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="put its files into the folder mine/none below DOCUTALK_EMBED_MODELS_FOLDER"):
        FastEmbedEngine(tmp_path, record("mine/none"), threads=1)
    model = LocalModel(tmp_path, "mine/part")
    (model.folder / "model.onnx").rename(tmp_path / "kept")
    with pytest.raises(ModelUnavailable, match=r"there is no mine/part/model\.onnx"):
        FastEmbedEngine(tmp_path, record("mine/part"), threads=1)
    (model.folder / "tokenizer.json").unlink()
    with pytest.raises(ModelUnavailable, match=r"mine/part/tokenizer\.json is missing"):
        FastEmbedEngine(tmp_path, record("mine/part"), threads=1)


def test_a_known_model_without_its_weights_is_not_taken_for_another_one(tmp_path: Path) -> None:
    LocalModel(tmp_path, "BAAI/bge-small-en-v1.5", weights="onnx/model.onnx")
    with pytest.raises(ModelUnavailable, match=r"bge-small-en-v1\.5/model_optimized\.onnx is missing"):
        FastEmbedEngine(tmp_path, record("BAAI/bge-small-en-v1.5"), threads=1)


def test_weights_that_are_none_are_refused_with_the_models_name(tmp_path: Path) -> None:
    model = LocalModel(tmp_path, "mine/broken")
    (model.folder / "model.onnx").write_bytes(b"not a network")
    with pytest.raises(ModelUnavailable, match="The model local cannot be loaded from the folder mine/broken"):
        FastEmbedEngine(tmp_path, record("mine/broken"), threads=1)


@pytest.mark.parametrize("name", ["../outside", "..", ".", "/etc"])
def test_a_folder_outside_of_the_models_folder_is_not_looked_at(tmp_path: Path, name: str) -> None:
    LocalModel(tmp_path, "outside")
    (tmp_path / "models").mkdir()
    with pytest.raises(ModelUnavailable, match="is not here"):
        FastEmbedEngine(tmp_path / "models", record(name), threads=1)


OFFLINE = """
import sys
from pathlib import Path

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        print("network:", event, arguments)

sys.addaudithook(refuse)
from docutalk_common.contracts.embed import Distance, ModelProvider
from docutalk_embed.adapters.fastembed_engine import FastEmbedEngine
from docutalk_embed.adapters.model_registry import ModelRecord
for name in sys.argv[2:]:
    record = ModelRecord(2, "local", ModelProvider.FASTEMBED, name, 12, Distance.COSINE, "", "", 256)
    print("vectors:", FastEmbedEngine(Path(sys.argv[1]), record, threads=1).infer(["text"]).shape)
"""


def test_nothing_is_asked_of_the_network_by_known_models_or_others(tmp_path: Path) -> None:
    names = ["sentence-transformers/all-MiniLM-L6-v2", "mine/offline"]
    for name in names:
        LocalModel(tmp_path, name)
    process = subprocess.run([sys.executable, "-c", OFFLINE, str(tmp_path), *names], capture_output=True, text=True, check=True)
    assert process.stdout.count("vectors: (1, 12)") == 2
    assert "network:" not in process.stdout
