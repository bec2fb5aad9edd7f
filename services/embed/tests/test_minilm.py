"""The model computes what the paper's network computes, whatever the processor and whatever the company of a text."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from docutalk_embed.adapters.minilm import MiniLM
from docutalk_embed.adapters.processors import available_processors

# Computed once in double precision, straight from the weights, with nothing but numpy.
REFERENCE = json.loads((Path(__file__).parent / "data" / "reference_vectors.json").read_text(encoding="utf-8"))
TEXTS = [entry["text"] for entry in REFERENCE]
VECTORS = np.array([entry["vector"] for entry in REFERENCE])


@pytest.mark.parametrize(("precision", "closeness"), [("bf16", 0.999), ("f32", 0.99999)])
def test_vectors_match_the_reference_in_each_precision(precision: str, closeness: float) -> None:
    vectors = MiniLM(threads=2, precision=precision).embed(TEXTS)
    assert (vectors * VECTORS).sum(axis=1).min() >= closeness


def test_precision_is_bf16_exactly_where_the_processor_has_it(engine: MiniLM) -> None:
    capable = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert engine.precision == ("bf16" if capable else "f32")


def test_vectors_have_length_one(engine: MiniLM) -> None:
    assert np.linalg.norm(engine.embed(TEXTS), axis=1) == pytest.approx(1, abs=1e-3)


def test_a_text_has_the_same_vector_in_any_company_and_order(engine: MiniLM) -> None:
    texts = [f"{text} {number}" for number in range(4) for text in TEXTS]
    alone = np.concatenate([engine.embed([text]) for text in texts])
    order = random.Random(7).sample(range(len(texts)), len(texts))
    together = np.empty_like(alone)
    together[order] = engine.embed([texts[index] for index in order])
    assert (alone * together).sum(axis=1).min() >= 0.999


def test_at_most_256_tokens_count_and_the_files_limit_of_128_is_gone(engine: MiniLM) -> None:
    [short, long] = engine.tokenize(["word " * 200, "word " * 5000])
    assert (len(short), len(long)) == (202, 256)


def test_an_unbroken_run_of_characters_is_embedded(engine: MiniLM) -> None:
    [vector] = engine.embed(["x" * 100_000])
    assert math.isclose(float(np.linalg.norm(vector)), 1, abs_tol=1e-3)


def test_at_least_one_processor_is_available() -> None:
    assert available_processors() >= 1
