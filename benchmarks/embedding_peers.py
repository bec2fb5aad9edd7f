"""What others embed with, for `benchmarks/embedding.py --peers`: runs in an environment of its own (`requirements.txt`).

Reads lines of JSON and answers each with one. The first, `{"model": FOLDER, "work": FOLDER}`, loads both peers from the same
weights; each later one, `{"peer": NAME, "texts": [...]}`, embeds with one of them. Nothing is downloaded.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

MAX_TOKENS = 256
KNOWN_AS = "sentence-transformers/all-MiniLM-L6-v2"
WARM_UP = ["warm up " * 60] * 8

Peer = Callable[[Sequence[str]], Any]


def sentence_transformers(model: Path) -> Peer:
    """As its documentation says; it sorts by length itself, and takes 32 texts at a time."""
    encoder = importlib.import_module("sentence_transformers").SentenceTransformer(str(model), device="cpu")
    encoder.max_seq_length = MAX_TOKENS
    return lambda texts: encoder.encode(list(texts), show_progress_bar=False)


def export(model: Path, folder: Path) -> None:
    """The same weights as the ONNX file that fastembed wants."""
    torch: Any = importlib.import_module("torch")
    network = importlib.import_module("transformers").AutoModel.from_pretrained(str(model), attn_implementation="eager").eval()
    names = ("input_ids", "attention_mask", "token_type_ids")
    ids = torch.ones(2, 16, dtype=torch.long)
    axes = {0: torch.export.Dim("texts", min=1, max=512), 1: torch.export.Dim("tokens", min=2, max=MAX_TOKENS)}
    torch.onnx.export(
        network,
        (),
        str(folder / "model.onnx"),
        kwargs={"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)},
        input_names=list(names),
        output_names=["last_hidden_state"],
        dynamic_shapes=dict.fromkeys(names, axes),
        dynamo=True,
        external_data=False,
    )


def fastembed(model: Path, work: Path) -> Peer:
    """As its documentation says; it does not sort, and takes 256 texts at a time."""
    folder = work / "onnx"
    folder.mkdir()
    for name in ("tokenizer.json", "config.json", "special_tokens_map.json"):
        shutil.copyfile(model / name, folder / name)
    settings = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": MAX_TOKENS}), encoding="utf-8")
    export(model, folder)
    embedding = importlib.import_module("fastembed").TextEmbedding(KNOWN_AS, specific_model_path=str(folder))
    return lambda texts: list(embedding.embed(texts))


def main() -> None:
    """Answers until the input ends."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    # Libraries write to the standard output too.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    first = json.loads(sys.stdin.readline())
    model, work = Path(first["model"]), Path(first["work"])
    peers: dict[str, Peer] = {}
    for name, load in (("sentence-transformers", sentence_transformers), ("fastembed", lambda model: fastembed(model, work))):
        peers[f"{name} {version(name)}"] = load(model)
    for peer in peers.values():
        peer(WARM_UP)
    print(json.dumps({"peers": list(peers)}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        started = time.perf_counter()
        vectors = peers[asked["peer"]](asked["texts"])
        seconds = time.perf_counter() - started
        sample = [[round(float(value), 6) for value in vector] for vector in vectors[: asked.get("vectors", 0)]]
        print(json.dumps({"seconds": seconds, "vectors": sample}), file=answers, flush=True)


if __name__ == "__main__":
    main()
