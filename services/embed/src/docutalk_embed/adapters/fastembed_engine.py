"""ONNX models of fastembed, from a local folder: nothing is ever downloaded.

A model that fastembed knows by name brings its pooling with it. Another one is described by the files beside its weights,
as sentence-transformers writes them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from docutalk_common.telemetry import get_logger

from docutalk_embed.adapters.batcher import Vectors
from docutalk_embed.adapters.model_registry import ModelRecord, ModelUnavailable

log = get_logger(__name__)

_WEIGHTS = tuple(
    folder + name for name in ("model.onnx", "model_optimized.onnx", "model_quantized.onnx") for folder in ("", "onnx/")
)
_NEEDED = ("tokenizer.json", "tokenizer_config.json")
_LARGEST_BATCH = 8
_BATCH_SECONDS = 0.2
"""A search may have to wait for a whole batch: a model that takes long for one text gets batches of fewer."""


class FastEmbedEngine:
    """Texts to vectors, as the model gives them. `infer` is for one thread at a time."""

    def __init__(self, models_folder: Path, record: ModelRecord, *, threads: int) -> None:
        """Loads the model from the folder of its name; takes seconds. Raises `ModelUnavailable` with what is missing."""
        folder = local_folder(models_folder, record)
        try:
            self._model = _load(folder, record, threads)
            _truncate(self._model, record.max_tokens)
            [first] = self.infer(["warm up"])
            started = time.perf_counter()
            self.infer(["seconds of a long text " * (record.max_tokens // 4)])
            seconds = time.perf_counter() - started
        except ModelUnavailable:
            raise
        except Exception as error:
            # Each of the libraries underneath has errors of its own, and none says which model it is.
            log.warning("a model cannot be loaded", model=record.name, error=f"{type(error).__name__}: {error}")
            raise ModelUnavailable(
                f"The model {record.name} cannot be loaded from the folder {record.provider_model}: {_sentence(error)}"
            ) from error
        self.name = record.name
        self.dimension = len(first)
        self.batch = max(1, min(_LARGEST_BATCH, int(_BATCH_SECONDS / max(seconds, 1e-6))))
        log.info("the model is loaded", model=record.name, threads=threads, batch=self.batch, dimension=self.dimension)

    def tokenize(self, texts: Sequence[str]) -> Sequence[str]:
        """The texts: the library makes tokens of them itself, and characters tell as well which are alike in length."""
        return texts

    def infer(self, tokens: Sequence[str]) -> Vectors:
        """Vectors [n, dimension] of n texts, computed as one batch."""
        return np.asarray(list(self._model.embed(list(tokens), batch_size=len(tokens))), np.float32)


def local_folder(models_folder: Path, record: ModelRecord) -> Path:
    """Where the model's files lie. Raises `ModelUnavailable` when they do not."""
    root = models_folder.resolve()
    folder = (root / record.provider_model).resolve()
    if not folder.is_relative_to(root) or folder == root or not folder.is_dir():
        raise ModelUnavailable(
            f"The model {record.name} is not here: put its files into the folder {record.provider_model} below"
            " DOCUTALK_EMBED_MODELS_FOLDER. Nothing is downloaded."
        )
    for name in _NEEDED:
        if not (folder / name).is_file():
            raise ModelUnavailable(
                f"The model {record.name} is not complete: the file {record.provider_model}/{name} is missing."
            )
    return folder


def _load(folder: Path, record: ModelRecord, threads: int) -> Any:
    # A second, and 80 MB: only who uses such a model pays for them.
    from fastembed import TextEmbedding  # noqa: PLC0415

    known = next(
        (known for known in TextEmbedding.list_supported_models() if known["model"].lower() == record.provider_model.lower()),
        None,
    )
    if known is not None:
        for name in (known["model_file"], *known["additional_files"]):
            if not (folder / name).is_file():
                raise ModelUnavailable(
                    f"The model {record.name} is not complete: the file {record.provider_model}/{name} is missing."
                )
        name = known["model"]
    else:
        name = _described(folder, record)
    return TextEmbedding(
        name,
        specific_model_path=str(folder),
        local_files_only=True,
        # Its default would be made, and it is made for downloads.
        cache_dir=str(folder),
        threads=threads,
        providers=["CPUExecutionProvider"],
    )


def _described(folder: Path, record: ModelRecord) -> str:
    """Tells the library of a model that it does not know; returns the name under which it does then."""
    from fastembed import TextEmbedding  # noqa: PLC0415
    from fastembed.common.model_description import ModelSource, PoolingType  # noqa: PLC0415

    weights = next((name for name in _WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise ModelUnavailable(f"The model {record.name} is not complete: there is no {record.provider_model}/model.onnx.")
    pooling = _pooling(folder) or ("DISABLED" if _gives_sentences(folder / weights) else "MEAN")
    name = f"local:{record.provider_model}:{weights}:{pooling}:{record.dimension}"
    if all(known["model"] != name for known in TextEmbedding.list_supported_models()):
        TextEmbedding.add_custom_model(
            model=name,
            pooling=PoolingType(pooling),
            normalization=False,
            # It must have one; with a path of its own it is not looked at.
            sources=ModelSource(hf=record.provider_model),
            dim=record.dimension,
            model_file=weights,
        )
    return name


def _pooling(folder: Path) -> str | None:
    """How vectors of tokens become one, as sentence-transformers writes it down; None when it does not."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return None
    settings = json.loads(path.read_text(encoding="utf-8"))
    mode = settings.get("pooling_mode")
    for pooling, flag, word in (
        ("CLS", "pooling_mode_cls_token", "cls"),
        ("LAST_TOKEN", "pooling_mode_lasttoken", "lasttoken"),
        ("MEAN", "pooling_mode_mean_tokens", "mean"),
    ):
        if settings.get(flag) or mode == word:
            return pooling
    raise ValueError(f"its pooling is none of mean, cls and lasttoken: {path.name}")


def _gives_sentences(weights: Path) -> bool:
    """Whether the network's first output is one vector for a text, and not one for each token."""
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415

    return len(onnxruntime.InferenceSession(str(weights), providers=["CPUExecutionProvider"]).get_outputs()[0].shape) == 2


def _truncate(model: Any, tokens: int) -> None:
    """Makes the registered number of tokens the limit, where it is lower than the one in the model's files."""
    tokenizer = model.model.tokenizer
    limit = tokenizer.truncation
    if limit is not None and limit["max_length"] > tokens:
        tokenizer.enable_truncation(tokens, direction=limit["direction"])


def _sentence(error: Exception) -> str:
    """The first line of an error, not more than people read."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
