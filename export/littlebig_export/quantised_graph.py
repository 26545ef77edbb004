"""Graphs that come quantised: their Q/DQ nodes stay as they are, because they say where their maker wants INT8."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from littlebig_export.weight_files import values, weights_folder

_DQ = "DequantizeLinear"


def is_quantised(model: onnx.ModelProto) -> bool:
    """Whether a graph has Q/DQ nodes."""
    return any(node.op_type == _DQ for node in model.graph.node)


def with_float_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """A quantised graph whose INT32 biases, which TensorRT does not take, are FP32; the numbers are the same.

    Args:
        model: changed in place.
    """
    folder = weights_folder(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        parts = [constants.get(name) for name in node.input]
        if node.op_type != _DQ or parts[0] is None or parts[1] is None or parts[0].data_type != TensorProto.INT32:
            nodes.append(node)
            continue
        # INT32 has no zero point, and a bias one axis.
        bias = values(parts[0], folder).astype(np.float64) * values(parts[1], folder).astype(np.float64)
        model.graph.initializer.append(numpy_helper.from_array(bias.astype(np.float32), node.output[0]))
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    left = [tensor for tensor in model.graph.initializer if tensor.name in used]
    kept_tensors = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in left]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept_tensors)
    return model
