"""Reads a classifier that the user brings as an ONNX file: its identity, its graph, and whether it can be a stage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import inliner, version_converter
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from littlebig_contract.onnx_runtime import open_session
from littlebig_export.engine_key import hash_file
from littlebig_export.errors import GraphError, PairError
from littlebig_export.pair import OnnxModel
from littlebig_export.skeleton import put_weights_back, without_weights
from littlebig_export.stage_graph import IR_VERSION, OPSET
from littlebig_export.weight_files import keep_folder, lighten, load_light, weights_folder

Floats = npt.NDArray[np.float32]
# Answers of a batch and of its images one by one may differ by the order of their sums.
_ROUNDING = 1e-2


@dataclass(frozen=True)
class OnnxClassifier:
    """A user's ONNX classifier.

    Attributes:
        graph: one float32 input [N,3,S,S] and one float32 output [N,C], without local functions, opset 18 or later.
        sha256: of all its files, a hex string.
        classes: number of classes.
        session: runs the files as they are; of a large model, the path to open when it is needed.
        source: name of the input.
        output: name of the scores.
    """

    graph: onnx.ModelProto
    sha256: str
    classes: int
    session: Any
    source: str
    output: str

    def scores(self, images: Floats) -> Floats:
        """What the model answers, float32 [N,C], for normalised float32 images [N,3,S,S]."""
        large = isinstance(self.session, Path)
        session = open_session(self.session, cpu_only=True, lean=True) if large else self.session
        answer: Floats = session.run([self.output], {self.source: images})[0]
        return answer


def read_classifier(model: OnnxModel) -> OnnxClassifier:
    """Read and check an ONNX classifier.

    Raises:
        PairError: if there is no such file.
        GraphError: if it is not a classifier that can become a stage.
    """
    path = model.path
    if not path.is_file():
        raise PairError(f"no ONNX file '{path}'")
    try:
        sha256 = hash_files(path)
        graph = load_light(path)
        session = open_session(path, cpu_only=True, lean=weights_folder(graph) is not None)
    except Exception as reason:  # protobuf, onnx and ONNX Runtime each raise their own
        raise GraphError(f"'{path}' is not a readable ONNX model: {_first_line(reason)}") from reason
    source = _check_input(session, model)
    output = _scores_output(session, model)
    classes = _check_batches(session, source, output, model)
    backbone = lighten(_as_backbone(graph, source, output, classes, path))
    # Weights that a session has mapped count as its memory.
    return OnnxClassifier(backbone, sha256, classes, path if weights_folder(backbone) else session, source, output)


def hash_files(path: Path) -> str:
    """Identity of an ONNX model: SHA-256 of its file, or of that and every file with its weights, a hex string."""
    model = onnx.load(str(path), load_external_data=False)
    beside = {ExternalDataInfo(tensor).location for tensor in _tensors(model) if uses_external_data(tensor)}
    digests = [hash_file(file) for file in (path, *(path.parent / name for name in sorted(beside)))]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from _tensors_of_graph(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(function.node)


def _tensors_of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for graph in (attribute.g, *attribute.graphs):
                yield from _tensors_of_graph(graph)


def _check_input(session: Any, model: OnnxModel) -> str:
    """Name of the input, after refusing one that takes no batch of images."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise GraphError(f"'{model.path}' has {len(inputs)} inputs; a classifier has one, the image")
    size = model.preprocessing.size
    batch, *shape = inputs[0].shape or [None]
    wanted = [3, size, size]
    fits = len(shape) == 3 and all(
        have in (want, None) or isinstance(have, str) for have, want in zip(shape, wanted, strict=True)
    )
    if inputs[0].type != "tensor(float)" or not fits:
        raise GraphError(
            f"'{model.path}' takes {inputs[0].type} {inputs[0].shape}; "
            f"it must take float images [batch, {', '.join(map(str, wanted))}]"
        )
    if isinstance(batch, int):
        raise GraphError(f"'{model.path}' has a fixed batch of {batch}; export it with a dynamic batch")
    return str(inputs[0].name)


def _scores_output(session: Any, model: OnnxModel) -> str:
    """Name of the output that holds the scores: the pair's, or the first one."""
    outputs = {output.name: output for output in session.get_outputs()}
    name = model.output or next(iter(outputs), "")
    if name not in outputs:
        known = ", ".join(f"'{output}'" for output in outputs) or "none"
        raise GraphError(f"'{model.path}' has no output '{name}'; it has {known}")
    if _may_be_scores(outputs[name]):
        return name
    found = [f'"{output.name}"' for output in outputs.values() if _may_be_scores(output)]
    which = "first output" if not model.output else "output"
    remedy = f"set output = {' or '.join(found)} in the pair's file" if found else "a classifier has such an output"
    raise GraphError(
        f"'{model.path}': its {which} '{name}' is {outputs[name].type} {outputs[name].shape}, not the scores, float "
        f"[batch, classes]: {remedy}"
    )


def _may_be_scores(output: Any) -> bool:
    shape = output.shape or []
    return output.type == "tensor(float)" and len(shape) == 2 and (not isinstance(shape[1], int) or shape[1] > 1)


def _check_batches(session: Any, source: str, output: str, model: OnnxModel) -> int:
    """The number of classes, after running two batches: a declared dynamic batch may be baked into a node."""
    size = model.preprocessing.size
    images = np.random.default_rng(0).normal(size=(3, 3, size, size)).astype(np.float32)
    baked = (
        f"'{model.path}' declares a dynamic batch and {{}}: a node such as Reshape holds the batch of its export, so "
        "export it again with that dimension dynamic"
    )
    quiet = onnxruntime.RunOptions()
    quiet.log_severity_level = 4
    try:
        single = session.run([output], {source: images[:1]}, quiet)[0]
    except Exception as reason:  # ONNX Runtime's own classes, all derived from Exception
        single, problem = None, reason
    try:
        batch = session.run([output], {source: images}, quiet)[0]
    except Exception as reason:
        if single is None:
            raise GraphError(f"'{model.path}' cannot be run: {_first_line(reason)}") from reason
        raise GraphError(baked.format("fails with a batch of 3")) from reason
    if single is None:
        raise GraphError(baked.format("fails with a batch of 1")) from problem
    if len(single) != 1 or len(batch) != len(images):
        shape = list(single.shape if len(single) != 1 else batch.shape)
        raise GraphError(baked.format(f"answers {1 if len(single) != 1 else 3} images with {shape}"))
    if batch.ndim != 2 or batch.shape[1] < 2:
        raise GraphError(f"'{model.path}' answers {list(batch.shape)}; its scores must be [batch, classes]")
    if not np.allclose(batch[:1], single, rtol=_ROUNDING, atol=_ROUNDING * float(np.abs(single).max())):
        raise GraphError(baked.format("answers an image differently in a batch of 3 than alone"))
    return int(batch.shape[1])


def _as_backbone(graph: onnx.ModelProto, source: str, output: str, classes: int, path: Path) -> onnx.ModelProto:
    """The graph with the scores as its only output, at opset 18 or later, without local functions."""
    if graph.functions:
        try:
            graph = keep_folder(inliner.inline_local_functions(graph, convert_version=True), graph)
        except Exception as reason:
            raise GraphError(f"the local functions of '{path}' cannot be inlined: {_first_line(reason)}") from reason
    for named in (*graph.opset_import, *graph.graph.node):
        if named.domain == "ai.onnx":
            named.domain = ""  # two names of one domain
    version = next((opset.version for opset in graph.opset_import if not opset.domain), OPSET)
    if version < OPSET:
        try:
            light, weights = without_weights(graph)
            graph = keep_folder(version_converter.convert_version(light, OPSET), graph)
            put_weights_back(graph, weights)
        except Exception as reason:  # the converter raises RuntimeError for unknown operators
            raise GraphError(
                f"'{path}' cannot be brought from opset {version} to {OPSET}: {_first_line(reason)}"
            ) from reason
    graph.ir_version = max(graph.ir_version, IR_VERSION)
    scores = onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["batch", classes])
    del graph.graph.output[:]
    graph.graph.output.append(scores)
    inputs = [value for value in graph.graph.input if value.name == source]
    del graph.graph.input[:]
    graph.graph.input.extend(inputs)  # up to IR version 3 initializers are inputs too
    return graph


def _first_line(reason: Exception) -> str:
    return next((line for line in str(reason).splitlines() if line.strip()), type(reason).__name__)
