"""A graph without its weights: types and shapes do not depend on them, and inference on the rest is small and quick."""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx
from onnx import helper

from littlebig_export.errors import GraphError

# Larger constants are weights; smaller ones may be the shapes that a Reshape takes.
_LARGEST_SHAPE = 1024


def inferred(model: onnx.ModelProto, batch: int | None = None) -> Iterator[onnx.ValueInfoProto]:
    """Type and, where it can be told, shape of every tensor but the constants.

    Args:
        model: any ONNX model.
        batch: fixes the first dimension of every input that has a dynamic one.

    Raises:
        GraphError: if types or shapes contradict each other.
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    skeleton = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    skeleton.graph.name = graph.name
    skeleton.graph.node.extend(graph.node)
    skeleton.graph.input.extend(value for value in graph.input if value.name not in constants)
    skeleton.graph.output.extend(graph.output)
    for value in skeleton.graph.input:
        first = value.type.tensor_type.shape.dim[:1]
        if batch is not None and first and not first[0].HasField("dim_value"):
            first[0].dim_value = batch
    for tensor in graph.initializer:
        if math.prod(tensor.dims) <= _LARGEST_SHAPE:
            skeleton.graph.initializer.append(tensor)
        else:
            skeleton.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    for value in skeleton.graph.output if batch is not None else ():
        value.type.tensor_type.ClearField("shape")
    try:
        result = onnx.shape_inference.infer_shapes(skeleton, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError as reason:
        raise GraphError(f"the graph's types cannot be inferred: {str(reason).splitlines()[0]}") from reason
    for value in (*result.input, *result.value_info, *result.output):
        if value.name not in constants:
            yield value
