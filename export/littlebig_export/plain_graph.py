"""Brings a user's ONNX graph to a plain form: one opset, no functions, no sparse weights, nodes in order."""

from __future__ import annotations

import graphlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import inliner, numpy_helper, version_converter

from littlebig_export.errors import GraphError
from littlebig_export.skeleton import put_weights_back, without_weights
from littlebig_export.stage_graph import IR_VERSION, OPSET
from littlebig_export.weight_files import keep_folder


def plain_graph(graph: onnx.ModelProto, source: str, output: str, classes: int, path: Path) -> onnx.ModelProto:
    """The graph with the image as its only input and the scores as its only output, at opset 18 or later.

    Args:
        graph: as it is in the file; changed in place.
        source: name of the image.
        output: name of the scores.
        classes: their number.
        path: the file, for messages.

    Raises:
        GraphError: if functions cannot be inlined, or operators not be converted.
    """
    if graph.functions:
        try:
            graph = keep_folder(inliner.inline_local_functions(graph, convert_version=True), graph)
        except Exception as reason:
            raise GraphError(f"the local functions of '{path}' cannot be inlined: {first_line(reason)}") from reason
    for named in (*graph.opset_import, *graph.graph.node):
        if named.domain == "ai.onnx":
            named.domain = ""  # two names of one domain
    inputs = [value for value in graph.graph.input if value.name == source]
    del graph.graph.input[:]
    graph.graph.input.extend(inputs)  # up to IR version 3 initializers are inputs too
    graph.ir_version = max(graph.ir_version, IR_VERSION)
    _sort(graph.graph)
    _fill(graph.graph)
    version = next((opset.version for opset in graph.opset_import if not opset.domain), OPSET)
    if version < OPSET:
        try:
            light, weights = without_weights(graph)
            graph = keep_folder(version_converter.convert_version(light, OPSET), graph)
            put_weights_back(graph, weights)
        except Exception as reason:  # the converter raises RuntimeError for unknown operators
            raise GraphError(
                f"'{path}' cannot be brought from opset {version} to {OPSET}: {first_line(reason)}"
            ) from reason
    scores = onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["batch", classes])
    del graph.graph.output[:]
    graph.graph.output.append(scores)
    return graph


def _sort(graph: onnx.GraphProto) -> None:
    """Put every node behind those whose results it takes: ONNX Runtime needs no such order, ONNX does."""
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output}
    needs = {index: [makers[name] for name in _reads(node) if name in makers] for index, node in enumerate(graph.node)}
    if any(maker >= index for index, needed in needs.items() for maker in needed):
        order = graphlib.TopologicalSorter(needs).static_order()
        nodes = [onnx.NodeProto.FromString(graph.node[index].SerializeToString()) for index in order]
        del graph.node[:]
        graph.node.extend(nodes)


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _reads(inner)


def _fill(graph: onnx.GraphProto) -> None:
    """Write sparse weights out, zeros and all."""
    for sparse in graph.sparse_initializer:
        dense = np.zeros(tuple(sparse.dims), onnx.helper.tensor_dtype_to_np_dtype(sparse.values.data_type))
        places = numpy_helper.to_array(sparse.indices)
        where = places if places.ndim == 1 else np.ravel_multi_index(tuple(places.T), dense.shape)
        dense.reshape(-1)[where] = numpy_helper.to_array(sparse.values)
        graph.initializer.append(numpy_helper.from_array(dense, sparse.values.name))
    del graph.sparse_initializer[:]


def first_line(reason: Exception) -> str:
    """What an exception says, without ONNX Runtime's error code."""
    line = next((line for line in str(reason).splitlines() if line.strip()), type(reason).__name__)
    return line.rsplit("] : ", 1)[-1].split(" : ", 2)[-1] if line.startswith("[ONNXRuntimeError]") else line
