"""A pair of two tiny ONNX classifiers, whose export takes a fraction of a second."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def tiny_classifier(path: Path, size: int, classes: int = 5, batch: object = "n", seed: int = 0, maps: int = 8) -> None:
    """A convolution, global average pooling and a linear layer: enough to give pictures different labels."""
    random = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Conv", ["pixels", "kernel"], ["maps"], strides=[4, 4]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "weights"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(random.normal(size=(maps, 3, 4, 4)).astype(np.float32), "kernel"),
        numpy_helper.from_array(random.normal(size=(maps, classes)).astype(np.float32), "weights"),
    ]
    image = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, 3, size, size])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, classes])
    graph = helper.make_graph(nodes, "tiny", [image], [logits], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


def write_tiny_pair(folder: Path) -> Path:
    """Write a pair file with its two ONNX files beside it, and return the pair file's path."""
    tiny_classifier(folder / "little.onnx", 24, seed=1)
    tiny_classifier(folder / "big.onnx", 32, seed=2)
    path = folder / "tiny.toml"
    path.write_text(
        'name = "tiny"\nthreshold = 0.6\n'
        '[little]\nonnx = "little.onnx"\nsize = 24\ncrop_pct = 0.8\n'
        '[big]\nonnx = "big.onnx"\nsize = 32\ncrop_pct = 0.9\n'
    )
    return path
