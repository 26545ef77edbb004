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
from onnx import TensorProto, helper
from onnx.external_data_helper import ExternalDataInfo, uses_external_data
from onnxscript.optimizer import remove_unused_nodes

from littlebig_contract.onnx_runtime import open_session
from littlebig_export.engine_key import hash_file
from littlebig_export.errors import GraphError, PairError
from littlebig_export.given_input import ELEMENTS, GivenInput, read_input, take_images
from littlebig_export.pair import OnnxModel
from littlebig_export.plain_graph import first_line, plain_graph
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.rewriting import rewrite_for_tensorrt
from littlebig_export.weight_files import lighten, load_light, open_graph, weights_folder

Floats = npt.NDArray[np.float32]
# Answers of a batch and of its images one by one may differ by the order of their sums.
_ROUNDING = 1e-2


@dataclass(frozen=True)
class OnnxClassifier:
    """A user's ONNX classifier.

    Attributes:
        graph: one float32 input [N,3,S,S] and one float32 output [N,C], without local functions, opset 18 or later.
        preprocessing: how its input is made from a picture.
        sha256: of all its files, a hex string.
        classes: number of classes.
        session: runs the files as they are; of a large model, the path to open when it is needed.
        given: what the files take.
        output: name of the scores.
    """

    graph: onnx.ModelProto
    preprocessing: Preprocessing
    sha256: str
    classes: int
    session: Any
    given: GivenInput
    output: str

    def scores(self, images: Floats) -> Floats:
        """What the model answers, float32 [N,C], for normalised float32 images [N,3,S,S]."""
        large = isinstance(self.session, Path)
        session = open_session(self.session, cpu_only=True, lean=True) if large else self.session
        return _rows(_run(session, self.given, self.output, images))


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
    except FileNotFoundError as reason:
        raise GraphError(f"'{path}' has weights in '{reason.filename}', which is missing: put it there") from reason
    except Exception as reason:  # protobuf and onnx each raise their own
        if "symbolic link" in str(reason):
            raise GraphError(f"the weights of '{path}' are a link, which ONNX refuses: copy both (cp -L)") from reason
        raise GraphError(f"'{path}' is not a readable ONNX model: {first_line(reason)}") from reason
    try:
        session = open_session(path, cpu_only=True, lean=weights_folder(graph) is not None)
    except Exception as reason:  # ONNX Runtime's own classes, all derived from Exception
        kinds = {tensor.data_type for tensor in graph.graph.initializer}
        remedy = "; export it in float32 or float16" if kinds & {TensorProto.BFLOAT16, TensorProto.DOUBLE} else ""
        raise GraphError(f"ONNX Runtime cannot open '{path}': {first_line(reason)}{remedy}") from reason
    given = read_input(session, model)
    preprocessing = given.preprocessing(model)
    output = _scores_output(session, model)
    images = np.random.default_rng(0).normal(size=(3, 3, preprocessing.size, preprocessing.size)).astype(np.float32)
    if given.element == TensorProto.UINT8:
        images = (100 + 50 * images).round().clip(0, 255)
    answers = _check_batches(session, given, output, images, path)
    classes = int(answers.shape[1])
    backbone = plain_graph(graph, given.name, output, classes, path)
    take_images(backbone, given, preprocessing.size)
    _answer_floats(backbone, session, output)
    remove_unused_nodes(backbone)  # those of other outputs
    backbone = lighten(rewrite_for_tensorrt(backbone))
    if given.batch is not None:
        _check_freed_batch(backbone, given.batch, images, answers, path)
    # Weights that a session has mapped count as its memory.
    kept = path if weights_folder(backbone) else session
    return OnnxClassifier(backbone, preprocessing, sha256, classes, kept, given, output)


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


def _scores_output(session: Any, model: OnnxModel) -> str:
    """Name of the output that holds the scores: the pair's, or the first one."""
    outputs = {output.name: output for output in session.get_outputs()}
    name = model.output or next(iter(outputs), "")
    if name not in outputs:
        known = ", ".join(f"'{output}'" for output in outputs) or "none"
        raise GraphError(f"'{model.path}' has no output '{name}'; it has {known}")
    scores = [each for each in outputs.values() if _may_be_scores(each)]
    if not model.output:
        scores = [each for each in scores if len(each.shape) == 2] or scores  # maps of one pixel are no answer
    if outputs[name] in scores:
        return name
    found = [f'"{each.name}"' for each in scores]
    which = "first output" if not model.output else "output"
    remedy = f"set output = {' or '.join(found)} in the pair's file" if found else "a classifier has such an output"
    raise GraphError(
        f"'{model.path}': its {which} '{name}' is {outputs[name].type} {outputs[name].shape}, not the scores, float "
        f"[batch, classes]: {remedy}"
    )


def _may_be_scores(output: Any) -> bool:
    """Whether an output is [batch, classes], or that with dimensions of 1 behind."""
    shape = output.shape or []
    floats = output.type in ELEMENTS and ELEMENTS[output.type] != TensorProto.UINT8
    return floats and len(shape) >= 2 and shape[1] != 1 and all(size == 1 for size in shape[2:])


def _run(session: Any, given: GivenInput, output: str, images: Floats) -> npt.NDArray[Any]:
    quiet = onnxruntime.RunOptions()
    quiet.log_severity_level = 4
    parts = [session.run([output], {given.name: batch}, quiet)[0][:count] for batch, count in given.batches(images)]
    return np.concatenate(parts)


def _rows(answers: npt.NDArray[Any]) -> Floats:
    return answers.reshape(len(answers), -1).astype(np.float32)


def _check_batches(session: Any, given: GivenInput, output: str, images: Floats, path: Path) -> Floats:
    """The answers to three images, after running two batches: a declared dynamic batch may be baked into a node."""
    baked = (
        f"'{path}' declares a dynamic batch and {{}}: a node such as Reshape holds the batch of its export, so "
        "export it again with that dimension dynamic"
    )
    try:
        single = _run(session, given, output, images[:1])
    except Exception as reason:  # ONNX Runtime's own classes, all derived from Exception
        single, problem = None, reason
    try:
        batch = _run(session, given, output, images)
    except Exception as reason:
        if single is None:
            raise GraphError(f"'{path}' cannot be run: {first_line(reason)}") from reason
        raise GraphError(baked.format("fails with a batch of 3")) from reason
    if single is None:
        raise GraphError(baked.format("fails with a batch of 1")) from problem
    if len(single) != 1 or len(batch) != len(images):
        shape = list(single.shape if len(single) != 1 else batch.shape)
        raise GraphError(baked.format(f"answers {1 if len(single) != 1 else 3} images with {shape}"))
    if batch.ndim < 2 or batch.shape[1] < 2 or batch[0].size != batch.shape[1]:
        raise GraphError(f"'{path}' answers {list(batch.shape)}; its scores must be [batch, classes]")
    single, batch = _rows(single), _rows(batch)
    if not _same(batch[:1], single):
        raise GraphError(baked.format("answers an image differently in a batch of 3 than alone"))
    return batch


def _check_freed_batch(backbone: onnx.ModelProto, fixed: int, images: Floats, answers: Floats, path: Path) -> None:
    """Compare the answers of a graph whose batch was fixed with those of its file, for two batches."""
    name = backbone.graph.output[0].name
    given = GivenInput(backbone.graph.input[0].name)
    try:
        session = open_graph(backbone, cpu_only=True)
        fits = all(_same(_run(session, given, name, images[:size]), answers[:size]) for size in (1, len(images)))
    except Exception:  # ONNX Runtime's own classes, all derived from Exception
        fits = False
    if not fits:
        raise GraphError(f"'{path}' has a fixed batch of {fixed}; export it with a dynamic batch")


def _same(answers: Floats, expected: Floats) -> bool:
    tolerance = _ROUNDING * float(np.abs(expected).max(initial=0.0, where=np.isfinite(expected)))
    return answers.shape == expected.shape and bool(
        np.allclose(answers, expected, rtol=_ROUNDING, atol=tolerance, equal_nan=True)
    )


def _answer_floats(model: onnx.ModelProto, session: Any, output: str) -> None:
    """Let a graph answer float32 [N,C] where its file answers another type, or with dimensions of 1 behind."""
    answer = next(each for each in session.get_outputs() if each.name == output)
    name = output
    if answer.type != "tensor(float)":
        model.graph.node.append(helper.make_node("Cast", [name], [f"{output}/float"], to=TensorProto.FLOAT))
        name = f"{output}/float"
    if len(answer.shape) > 2:
        model.graph.node.append(helper.make_node("Flatten", [name], [f"{output}/rows"], axis=1))
        name = f"{output}/rows"
    model.graph.output[0].name = name
