"""Computes on a CPU what a half-precision graph computes on a GPU: products in FP32, every result rounded to half.

ONNX Runtime's CPU provider has no FP16 kernels for most operators. It runs whole chains of them in FP32 and rounds at
the ends, which would hide both the rounding and an overflow. So a graph's halves become FP32 with the rounding written
out, which is what tensor cores do. An engine that fuses operators rounds less often, so this errs on the safe side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper
from onnx.external_data_helper import uses_external_data

from littlebig_export.precision import float_tensors
from littlebig_export.weight_files import keep_folder, open_graph, store, values, weights_folder

_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
# What only moves or picks numbers that were rounded already.
_EXACT = frozenset(
    {"Concat", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Relu", "Reshape", "Slice", "Split"}
    | {"Squeeze", "Tile", "Transpose", "Unsqueeze"}
)


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The FP32 graph that gives a half-precision graph's numbers.

    Args:
        model: from `to_precision`, whose value_info names every tensor's type.
    """
    halves = {
        value.name: value.type.tensor_type.elem_type
        for value in model.graph.value_info
        if value.type.tensor_type.elem_type in _HALVES
    }
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        nodes += _rounded_node(node, halves)
    graph = helper.make_graph(
        nodes,
        model.graph.name,
        list(model.graph.input),
        list(model.graph.output),
        [_as_float(tensor, weights_folder(model)) for tensor in model.graph.initializer],
    )
    float_model = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return keep_folder(float_model, model)


def largest_values(model: onnx.ModelProto, images: npt.NDArray[np.float32]) -> dict[str, float]:
    """How far each tensor of a backbone reaches.

    Args:
        model: a backbone in FP32.
        images: normalised float32 [N,3,S,S], taken one by one.

    Returns:
        Tensor name -> largest absolute value, of every FP32 tensor that a node produces.
    """
    floats = float_tensors(model)
    names = [name for node in model.graph.node for name in node.output if name in floats]
    nodes, outputs = list(model.graph.node), []
    for name in names:
        nodes.append(helper.make_node("Abs", [name], [f"{name}/abs"]))
        # Without axes: over everything, whatever the tensor's rank.
        nodes.append(helper.make_node("ReduceMax", [f"{name}/abs"], [f"{name}/largest"], keepdims=0))
        outputs.append(helper.make_tensor_value_info(f"{name}/largest", TensorProto.FLOAT, []))
    graph = helper.make_graph(nodes, "largest", list(model.graph.input), outputs, list(model.graph.initializer))
    probe = keep_folder(helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version), model)
    session = open_graph(probe, cpu_only=True)
    source = model.graph.input[0].name
    seen = [session.run(None, {source: image[None]}) for image in images]
    return dict(zip(names, np.max(np.asarray(seen, np.float32), axis=0).tolist(), strict=True))


def _rounded_node(node: onnx.NodeProto, halves: Mapping[str, int]) -> Sequence[onnx.NodeProto]:
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    for attribute in changed.attribute:
        if attribute.name == "to" and attribute.i in _HALVES:
            attribute.i = TensorProto.FLOAT
        elif attribute.name == "value" and attribute.t.data_type in _HALVES:
            attribute.t.CopyFrom(_as_float(attribute.t, None))
    if node.op_type in _EXACT:
        return [changed]
    roundings = []
    for index, name in enumerate(node.output):
        if name in halves:
            exact, half = f"{name}/exact", f"{name}/half"
            changed.output[index] = exact
            roundings += [
                helper.make_node("Cast", [exact], [half], name=half, to=halves[name]),
                helper.make_node("Cast", [half], [name], name=f"{name}/rounded", to=TensorProto.FLOAT),
            ]
    return [changed, *roundings]


def _as_float(tensor: onnx.TensorProto, folder: Path | None) -> onnx.TensorProto:
    if tensor.data_type not in _HALVES:
        return tensor
    stored = values(tensor, folder) if uses_external_data(tensor) else np.frombuffer(tensor.raw_data, np.uint16)
    bits = stored.view(np.uint16).reshape(-1)
    if tensor.data_type == TensorProto.FLOAT16:
        floats = bits.view(np.float16).astype(np.float32)
    else:
        floats = (bits.astype(np.uint32) << 16).view(np.float32)
    return store(tensor.name, TensorProto.FLOAT, tuple(tensor.dims), floats, folder)
