"""Small ONNX models in folders as fastembed wants them, whose vectors can be computed by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from docutalk_embed.adapters.minilm import model_folder
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

_FILES = ("tokenizer.json", "tokenizer_config.json", "config.json", "special_tokens_map.json")
_VOCABULARY = 30_522


class LocalModel:
    """A table of vectors, one for each token of the built-in model's tokenizer; a text's vector is made of its tokens'."""

    def __init__(self, root: Path, name: str, *, dimension: int = 12, pooling: str = "mean", weights: str = "model.onnx") -> None:
        """Writes the folder `root/name`. `pooling`: `mean`, `cls`, or `none` for a network that pools by itself."""
        self.folder = root / name
        self.dimension = dimension
        self._pooling = pooling
        self._table = np.random.default_rng(3).standard_normal((_VOCABULARY, dimension)).astype(np.float32)
        (self.folder / weights).parent.mkdir(parents=True, exist_ok=True)
        for file in _FILES:
            shutil.copyfile(model_folder() / file, self.folder / file)
        if pooling != "none":
            (self.folder / "1_Pooling").mkdir()
            modes = {"pooling_mode_cls_token": pooling == "cls", "pooling_mode_mean_tokens": pooling == "mean"}
            (self.folder / "1_Pooling" / "config.json").write_text(json.dumps(modes), encoding="utf-8")
        onnx.save(self._network(), str(self.folder / weights))

    def vector(self, text: str, tokens: int = 256) -> npt.NDArray[np.float32]:
        """What the model must give for a text, cut to so many tokens."""
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(tokens)
        rows: npt.NDArray[np.float32] = self._table[tokenizer.encode(text).ids]
        return np.asarray(rows[0] if self._pooling == "cls" else rows.mean(axis=0), np.float32)

    def _network(self) -> onnx.ModelProto:
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"]) for name in ("input_ids", "attention_mask")
        ]
        constants = [numpy_helper.from_array(self._table, "table")]
        nodes = [helper.make_node("Gather", ["table", "input_ids"], ["tokens"])]
        output = helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["n", "length", self.dimension])
        if self._pooling == "none":
            # The sum over the mask, divided by its length.
            constants.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
            nodes += [
                helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
                helper.make_node("ReduceSum", ["mask", "axis"], ["count"], keepdims=1),
                helper.make_node("Unsqueeze", ["mask", "axis"], ["row"]),
                helper.make_node("MatMul", ["row", "tokens"], ["summed"]),
                helper.make_node("Squeeze", ["summed", "axis"], ["sum"]),
                helper.make_node("Div", ["sum", "count"], ["sentence"]),
            ]
            output = helper.make_tensor_value_info("sentence", TensorProto.FLOAT, ["n", self.dimension])
        graph = helper.make_graph(nodes, "tokens", inputs, [output], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
