"""Rewrites two operators that TensorRT lacks into others that give the same numbers.

An antialiased Resize of a constant, such as position embeddings brought to the input's size, is computed here. A Col2Im
becomes a transposed convolution that puts every patch where it belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnxscript.optimizer import remove_unused_nodes

from littlebig_export.weight_files import keep_folder, open_graph


def rewrite_for_tensorrt(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace constant antialiased Resizes and Col2Ims of static shape; what else there is stays as it is.

    Args:
        model: a backbone with its weights; changed in place.
    """
    resizes = [node for node in model.graph.node if node.op_type == "Resize" and _attribute(node, "antialias", 0)]
    if resizes:
        _fold(model, resizes)
    col2ims = any(node.op_type == "Col2Im" for node in model.graph.node)
    if col2ims:
        _replace_col2im(model)
    if resizes or col2ims:
        remove_unused_nodes(model)
    return model


def _fold(model: onnx.ModelProto, candidates: Sequence[onnx.NodeProto]) -> None:
    """Compute those of the nodes that depend on weights alone."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    constant, makers = {"", *weights}, {}
    for node in graph.node:
        if constant.issuperset(node.input) and not node.op_type.startswith("Random"):
            constant.update(node.output)
            makers.update(dict.fromkeys(node.output, node))
    names = [node.output[0] for node in candidates if node.output[0] in constant]
    if not names:
        return
    needed, waiting = set[str](), list(names)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += makers[name].input if name in makers else []
    probe = helper.make_graph(
        [node for node in graph.node if needed.intersection(node.output) and constant.issuperset(node.input)],
        "constants",
        [],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names],
        [tensor for name, tensor in weights.items() if name in needed],
    )
    whole = helper.make_model(probe, opset_imports=model.opset_import, ir_version=model.ir_version)
    values = open_graph(keep_folder(whole, model), cpu_only=True).run(names, {})
    kept = [node for node in graph.node if node.output[0] not in names]
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in zip(names, values, strict=True))


def _replace_col2im(model: onnx.ModelProto) -> None:
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*inferred.value_info, *inferred.input)}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        dims = list(shapes.get(node.input[0], ())) if node.op_type == "Col2Im" else []
        if len(dims) != 3 or not dims[1].dim_value or not constants.keys() >= set(node.input[1:3]):
            nodes.append(node)
            continue
        image, block = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
        nodes += _as_convolution(graph, node, dims[1].dim_value, image, block)
    del graph.node[:]
    graph.node.extend(nodes)


def _as_convolution(
    graph: onnx.GraphProto, node: onnx.NodeProto, rows: int, image: npt.NDArray[np.int64], block: npt.NDArray[np.int64]
) -> list[onnx.NodeProto]:
    """The nodes instead of one Col2Im [N,C*K,L] -> [N,C,H,W], where K is the number of pixels of a block."""
    axes, name = len(block), node.output[0]
    strides, dilations = (_attribute(node, key, [1] * axes) for key in ("strides", "dilations"))
    pads = np.array(_attribute(node, "pads", [0] * 2 * axes))
    reach = image + pads[:axes] + pads[axes:] - np.array(dilations) * (block - 1) - 1
    places = reach // np.array(strides) + 1
    pixels = int(block.prod())
    kernel = np.tile(np.eye(pixels, dtype=np.float32).reshape(pixels, 1, *block), (rows // pixels, *[1] * (axes + 1)))
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([0, rows, *places], np.int64), f"{name}/grid"),
            numpy_helper.from_array(kernel, f"{name}/kernel"),
        ]
    )
    return [
        helper.make_node("Reshape", [node.input[0], f"{name}/grid"], [f"{name}/blocks"], name=f"{name}/reshape"),
        helper.make_node(
            "ConvTranspose",
            [f"{name}/blocks", f"{name}/kernel"],
            [name],
            name=f"{name}/place",
            group=rows // pixels,
            kernel_shape=block.tolist(),
            strides=strides,
            dilations=dilations,
            pads=pads.tolist(),
            output_padding=(reach % np.array(strides)).tolist(),
        ),
    ]


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)
