"""Builds a stage: a backbone between the canonical image and the four outputs, as one ONNX graph.

    image UINT8 [N,H,W,3] -> Cast -> NCHW -> resample -> (x - mean) / std -> backbone -> softmax -> top 2
        -> label INT32 [N,1], confidence FP32 [N,1], margin FP32 [N,1], probabilities FP32 [N,C]

The Cast must be the very first node: TensorRT takes a UINT8 network input only into a Cast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from littlebig_export.errors import GraphError
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.skeleton import put_weights_back, without_weights
from littlebig_export.view import bands, view_matrix

OPSET = 18
IR_VERSION = 10


@dataclass(frozen=True)
class Backbone:
    """A classifier as ONNX: normalised float NCHW in, one row of scores per image out.

    Attributes:
        model: one float32 input [N,3,S,S] and one float32 output [N,C], dynamic in N.
        preprocessing: what its input is made of.
        scores: `logits` or `probabilities`, what its output is.
    """

    model: onnx.ModelProto
    preprocessing: Preprocessing
    scores: str = "logits"


def stage_graph(backbone: Backbone, canonical: Preprocessing, *, banded: bool = False) -> onnx.ModelProto:
    """Put a backbone between the canonical image and the stage's outputs.

    Args:
        backbone: the classifier.
        canonical: the big model's preprocessing; its size is the canonical image's.
        banded: resample in bands, for a CPU: a third of the multiplications in several times the operators.

    Returns:
        A checked ONNX model with input `image` and outputs `label`, `confidence`, `margin`, `probabilities`.

    Raises:
        GraphError: if the parts do not make one valid graph.
    """
    source, scores = backbone.model.graph.input[0].name, backbone.model.graph.output[0].name
    classes = backbone.model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    # Parts can be joined only if they have the same opset.
    opset = next((each.version for each in backbone.model.opset_import if not each.domain), OPSET)
    head = view_of_image(backbone.preprocessing, canonical, banded=banded)
    tail = _answer_of_scores(classes, softmax=backbone.scores == "logits")
    for part in (head, tail):
        part.opset_import[0].version, part.ir_version = opset, backbone.model.ir_version
    try:
        # Joining and checking copy a model many times over, and a large one's weights are over a gigabyte.
        light, weights = without_weights(backbone.model)
        body = compose.add_prefix(light, "backbone/")
        graph = compose.merge_models(head, body, [("view", f"backbone/{source}")])
        graph = compose.merge_models(graph, tail, [(f"backbone/{scores}", "scores")])
        onnx.checker.check_model(graph)
    except (ValueError, onnx.checker.ValidationError) as reason:
        words = " ".join(str(reason).split())
        raise GraphError(f"the graph cannot be joined to its preprocessing: {words}") from reason
    keep_each_domain_once(graph)
    put_weights_back(graph, weights, "backbone/")
    graph.producer_name = "littlebig"
    return graph


def keep_each_domain_once(graph: onnx.ModelProto) -> None:
    """Merging lists the opsets of every part; ONNX Runtime's quantiser, among others, refuses a repeated domain."""
    versions = {opset.domain: opset.version for opset in graph.opset_import}
    del graph.opset_import[:]
    graph.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in versions.items())


def view_of_image(model: Preprocessing, canonical: Preprocessing, *, banded: bool = False) -> onnx.ModelProto:
    """`image` UINT8 [N,H,W,3] -> `view` FP32 [N,3,S,S], normalised as the model wants it."""
    nodes = [
        helper.make_node("Cast", ["image"], ["image_float"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["image_float"], ["planes"], name="to_planes", perm=[0, 3, 1, 2]),
    ]
    constants = []
    pixels = "planes"
    matrix = view_matrix(canonical, model)
    if matrix is not None:
        resampling, weights = _banded_resampling(matrix) if banded else _resampling(matrix)
        nodes += [
            *resampling,
            helper.make_node("Clip", ["resampled", "black", "white"], ["resized"], name="resample_clip"),
        ]
        constants += [
            *weights,
            numpy_helper.from_array(np.float32(0.0), "black"),
            numpy_helper.from_array(np.float32(255.0), "white"),
        ]
        pixels = "resized"
    mean, std = (np.array(triple, np.float64).reshape(1, 3, 1, 1) for triple in (model.mean, model.std))
    constants += [
        numpy_helper.from_array((1.0 / (255.0 * std)).astype(np.float32), "scale"),
        numpy_helper.from_array((-mean / std).astype(np.float32), "shift"),
    ]
    nodes += [
        helper.make_node("Mul", [pixels, "scale"], ["scaled"], name="scale"),
        helper.make_node("Add", ["scaled", "shift"], ["view"], name="shift"),
    ]
    return _model(
        "view_of_image",
        nodes,
        inputs=[_tensor("image", TensorProto.UINT8, canonical.size, canonical.size, 3)],
        outputs=[_tensor("view", TensorProto.FLOAT, 3, model.size, model.size)],
        constants=constants,
    )


def _resampling(matrix: npt.NDArray[np.float32]) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """`planes` -> `resampled`, in two products: nodes and constants."""
    nodes = [
        helper.make_node("MatMul", ["planes", "resample_columns"], ["narrow"], name="resample_columns"),
        helper.make_node("MatMul", ["resample_rows", "narrow"], ["resampled"], name="resample_rows"),
    ]
    constants = [
        numpy_helper.from_array(np.ascontiguousarray(matrix.T), "resample_columns"),
        numpy_helper.from_array(matrix, "resample_rows"),
    ]
    return nodes, constants


def _banded_resampling(matrix: npt.NDArray[np.float32]) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """`planes` -> `resampled` as `_resampling` does it, without the zeros of the matrix."""
    nodes, constants = [], []
    for source, result, axis in (("planes", "narrow", 3), ("narrow", "resampled", 2)):
        parts = []
        for number, (first, band) in enumerate(bands(matrix)):
            part, weights = f"{result}_{number}", band if axis == 2 else np.ascontiguousarray(band.T)
            bounds = {"start": first, "end": first + band.shape[1], "axis": axis}
            constants += [numpy_helper.from_array(np.array([at]), f"{part}_{name}") for name, at in bounds.items()]
            constants.append(numpy_helper.from_array(weights, f"{part}_weights"))
            pixels = f"{part}_pixels"
            nodes += [
                helper.make_node("Slice", [source, *(f"{part}_{name}" for name in bounds)], [pixels], name=pixels),
                helper.make_node(
                    "MatMul",
                    [f"{part}_weights", pixels] if axis == 2 else [pixels, f"{part}_weights"],
                    [part],
                    name=part,
                ),
            ]
            parts.append(part)
        nodes.append(helper.make_node("Concat", parts, [result], name=result, axis=axis))
    return nodes, constants


def _answer_of_scores(classes: int, *, softmax: bool) -> onnx.ModelProto:
    """`scores` FP32 [N,C] -> the four outputs of a stage."""
    nodes = [
        helper.make_node("Softmax", ["scores"], ["probabilities"], name="softmax", axis=-1)
        if softmax
        else helper.make_node("Identity", ["scores"], ["probabilities"], name="probabilities"),
        helper.make_node("TopK", ["probabilities", "two"], ["top", "top_labels"], name="top_two", axis=-1),
        helper.make_node("Split", ["top"], ["confidence", "runner_up"], name="split", axis=-1, num_outputs=2),
        helper.make_node("Sub", ["confidence", "runner_up"], ["margin"], name="margin"),
        helper.make_node("Split", ["top_labels"], ["first", "second"], name="split_labels", axis=-1, num_outputs=2),
        helper.make_node("Cast", ["first"], ["label"], name="label", to=TensorProto.INT32),
    ]
    return _model(
        "answer_of_scores",
        nodes,
        inputs=[_tensor("scores", TensorProto.FLOAT, classes)],
        outputs=[
            _tensor("label", TensorProto.INT32, 1),
            _tensor("confidence", TensorProto.FLOAT, 1),
            _tensor("margin", TensorProto.FLOAT, 1),
            _tensor("probabilities", TensorProto.FLOAT, classes),
        ],
        constants=[numpy_helper.from_array(np.array([2], np.int64), "two")],
    )


def _tensor(name: str, element: int, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, ["batch", *shape])


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
