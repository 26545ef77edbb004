"""A graph without its weights: types and shapes do not depend on them, and every copy of them costs memory and time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx
from onnx import helper

from littlebig_export.errors import GraphError
from littlebig_export.weight_files import LARGEST_SHAPE, keep_folder


def without_weights(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[onnx.TensorProto]]:
    """A valid model that takes its weights as inputs instead of holding them.

    Args:
        model: left as it is.

    Returns:
        The light copy, and the weights that it lacks (the model's own, not copies).
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.name = graph.name
    light.graph.node.extend(graph.node)
    light.graph.input.extend(value for value in graph.input if value.name not in constants)
    light.graph.output.extend(graph.output)
    light.graph.value_info.extend(graph.value_info)
    weights = []
    for tensor in graph.initializer:
        if math.prod(tensor.dims) <= LARGEST_SHAPE:
            light.graph.initializer.append(tensor)
        else:
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
            weights.append(tensor)
    return keep_folder(light, model), weights


def put_weights_back(light: onnx.ModelProto, weights: list[onnx.TensorProto], prefix: str = "") -> None:
    """Give a light model its weights again, in place.

    Args:
        light: from `without_weights`, whatever has been added to it since.
        weights: what it lacks.
        prefix: that the light model's names have got since.
    """
    names = {f"{prefix}{tensor.name}" for tensor in weights}
    inputs = [value for value in light.graph.input if value.name not in names]
    del light.graph.input[:]
    light.graph.input.extend(inputs)
    for tensor in weights:
        added = light.graph.initializer.add()
        added.CopyFrom(tensor)
        added.name = f"{prefix}{tensor.name}"


def inferred(model: onnx.ModelProto, batch: int | None = None) -> Iterator[onnx.ValueInfoProto]:
    """Type and, where it is known, shape of every tensor but the constants.

    Args:
        model: any ONNX model.
        batch: fixes the first dimension of every input that has a dynamic one.

    Raises:
        GraphError: if types or shapes contradict each other.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    light, _ = without_weights(model)
    if batch is not None:
        for value in light.graph.input:
            first = value.type.tensor_type.shape.dim[:1]
            if first and not first[0].HasField("dim_value"):
                first[0].dim_value = batch
        # What was known of a dynamic batch would contradict a fixed one.
        del light.graph.value_info[:]
        for value in light.graph.output:
            value.type.tensor_type.ClearField("shape")
    try:
        result = onnx.shape_inference.infer_shapes(light, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError as reason:
        raise GraphError(f"the graph's types cannot be inferred: {str(reason).splitlines()[0]}") from reason
    for value in (*result.input, *result.value_info, *result.output):
        if value.name not in constants:
            yield value
