"""Graphs that users bring along, of every kind, each made from the same tiny classifier; and torchvision's models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from littlebig_export.pair import OnnxModel
from littlebig_export.preprocessing import Preprocessing
from tests.tiny_pair import tiny_classifier

SIZE = 64
Change = Callable[[onnx.ModelProto], onnx.ModelProto]
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def from_torchvision(name: str, folder: Path) -> OnnxModel:
    """A torchvision model with random weights as a pair's ONNX file."""
    # Slow to import, and the graphs of other kinds do not need them.
    import torch  # noqa: PLC0415
    import torchvision  # noqa: PLC0415

    torch.manual_seed(0)
    weights = {"init_weights": True} if name == "googlenet" else {}
    network = torchvision.models.get_model(name, weights=None, **weights).eval()
    path = folder / f"{name}.onnx"
    images = torch.zeros(2, 3, 224, 224)
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    torch.onnx.export(network, (images,), path, dynamo=True, dynamic_shapes=shapes, verbose=False)
    return _given(path, 224)


def from_kind(kind: str, folder: Path) -> OnnxModel:
    """The tiny classifier as a graph of a kind that `KINDS` names."""
    path = folder / "model.onnx"
    tiny_classifier(path, SIZE)
    model = KINDS[kind](onnx.load(path))
    onnx.save(model, path, save_as_external_data=kind == "external data", location="weights.bin", size_threshold=0)
    return _given(path, SIZE)


def _given(path: Path, size: int) -> OnnxModel:
    return OnnxModel(path, Preprocessing(size, 0.875, "center", "bicubic", _MEAN, _STD), "logits")


def _opset(version: int) -> Change:
    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        model.opset_import[0].version = version  # the tiny classifier's operators are the same in all of these
        return model

    return change


def _several_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 8]))
    return model


def _fixed_batch(batch: int) -> Change:
    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = batch
        return model

    return change


def _batch_in_a_reshape(batch: int, features: int) -> Change:
    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        flatten = next(node for node in model.graph.node if node.op_type == "Flatten")
        flatten.op_type = "Reshape"
        flatten.input.append("shape")
        _add(model, shape=np.array([batch, features]))
        return _fixed_batch(batch)(model)

    return change


def _batch_in_a_concat(model: onnx.ModelProto) -> onnx.ModelProto:
    _add(model, zeros=np.zeros((1, 3), np.float32))
    _then(model, "Concat", "zeros", axis=1)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 8
    return _fixed_batch(1)(model)


def _batch_of_one_image_among_others(model: onnx.ModelProto) -> onnx.ModelProto:
    """Its answers to an image depend on the others of the batch."""
    features = next(node for node in model.graph.node if node.op_type == "Flatten").output[0]
    model.graph.node.insert(-1, helper.make_node("ReduceMean", [features], ["mean"], axes=[0], keepdims=1))
    model.graph.node.insert(-1, helper.make_node("Sub", [features, "mean"], ["centred"]))
    model.graph.node[-1].input[0] = "centred"
    return _fixed_batch(1)(model)


def _takes(kind: int, *shape: object) -> Change:
    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        graph, last = model.graph, shape[-1] == 3
        graph.node.insert(0, helper.make_node("Cast", ["given"], ["float"], to=TensorProto.FLOAT))
        perm = [0, 3, 1, 2] if last else [0, 1, 2, 3]
        graph.node.insert(1, helper.make_node("Transpose", ["float"], ["pixels"], perm=perm))
        graph.input[0].CopyFrom(helper.make_tensor_value_info("given", kind, list(shape)))
        return model

    return change


def _pixels(model: onnx.ModelProto) -> onnx.ModelProto:
    """Takes uint8 pixels, channels last, and normalises them itself."""
    _takes(TensorProto.UINT8, "n", SIZE, SIZE, 3)(model)
    _add(model, scale=np.float32(1 / 64))
    model.graph.node[1].input[0] = "scaled"
    model.graph.node.insert(1, helper.make_node("Mul", ["float", "scale"], ["scaled"]))
    return model


def _in(element: int, kind: type) -> Change:
    """All of it in another floating-point type."""

    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        for tensor in model.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(kind), tensor.name))
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.elem_type = element
        return model

    return change


def _in_bfloat16(model: onnx.ModelProto) -> onnx.ModelProto:
    model.opset_import[0].version, model.ir_version = 22, 10
    for tensor in model.graph.initializer:
        halves = (numpy_helper.to_array(tensor).view(np.uint32) >> 16).astype(np.uint16)
        tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.BFLOAT16, tensor.dims, halves.tobytes(), raw=True))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    return model


def _weights_as_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    model.ir_version, model.opset_import[0].version = 3, 8
    _add(model, bias=np.zeros(5, np.float32))
    model.graph.node[-1].input.append("bias")
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return model


def _scores_as_maps(model: onnx.ModelProto) -> onnx.ModelProto:
    _add(model, one_pixel=np.array([0, 5, 1, 1]))
    _then(model, "Reshape", "one_pixel")
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 5, 1, 1]))
    return model


def _sequence(model: onnx.ModelProto) -> onnx.ModelProto:
    _then(model, "SequenceConstruct")
    model.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("logits", TensorProto.FLOAT, None))
    return model


def _unsorted(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node.append(model.graph.node.pop(0))
    return model


def _dims(*dims: object) -> Change:
    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, list(dims)))
        return model

    return change


def _reshaped(*dims: object) -> Change:
    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        _add(model, image=np.array([-1, 3, SIZE, SIZE]))
        model.graph.node.insert(0, helper.make_node("Reshape", ["given", "image"], ["pixels"]))
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("given", TensorProto.FLOAT, list(dims)))
        return model

    return change


def _grey(model: onnx.ModelProto) -> onnx.ModelProto:
    kernel = model.graph.initializer[0]
    kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel)[:, :1], kernel.name))
    return _dims("n", 1, SIZE, SIZE)(model)


def _add(model: onnx.ModelProto, **constants: npt.NDArray[Any]) -> None:
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())


def _then(model: onnx.ModelProto, operator: str, *others: str, **attributes: Any) -> None:
    """Let an operator follow the scores and give the output."""
    model.graph.node[-1].output[0] = "scores"
    model.graph.node.append(helper.make_node(operator, ["scores", *others], ["logits"], **attributes))


KINDS: dict[str, Change] = {
    **{f"opset {version}": _opset(version) for version in range(11, 23)},
    "several outputs": _several_outputs,
    "external data": lambda model: model,
    "weights as inputs": _weights_as_inputs,
    "unsorted nodes": _unsorted,
    "fixed batch": _fixed_batch(1),
    "fixed batch in a Reshape": _batch_in_a_reshape(1, -1),
    "fixed batch of 4 in a Reshape": _batch_in_a_reshape(4, 8),
    "fixed batch in a Concat": _batch_in_a_concat,
    "fixed batch that is averaged": _batch_of_one_image_among_others,
    "NHWC input": _takes(TensorProto.FLOAT, "n", SIZE, SIZE, 3),
    "NHWC input, fixed batch": _takes(TensorProto.FLOAT, 1, SIZE, SIZE, 3),
    "FP16": _in(TensorProto.FLOAT16, np.float16),
    "FP16 input": _takes(TensorProto.FLOAT16, "n", 3, SIZE, SIZE),
    "float64": _in(TensorProto.DOUBLE, np.float64),
    "float64 input": _takes(TensorProto.DOUBLE, "n", 3, SIZE, SIZE),
    "bfloat16": _in_bfloat16,
    "uint8 input": _pixels,
    "dynamic height and width": _dims("n", 3, "height", "width"),
    "another size": _dims("n", 3, 96, 96),
    "grey input": _grey,
    "input of rank 2": _reshaped("n", 3 * SIZE * SIZE),
    "input of rank 5": _reshaped("n", 1, 3, SIZE, SIZE),
    "scores as maps of one pixel": _scores_as_maps,
    "sequence output": _sequence,
}

# The end of the line that refuses a kind.
REFUSED = {
    "fixed batch in a Concat": "has a fixed batch of 1; export it with a dynamic batch",
    "fixed batch that is averaged": "has a fixed batch of 1; export it with a dynamic batch",
    "float64": "Could not find an implementation for Conv(11) node with name ''; export it in float32 or float16",
    "bfloat16": "Could not find an implementation for Conv(22) node with name ''; export it in float32 or float16",
    "another size": "takes tensor(float) ['n', 3, 96, 96]: set size = 96 in the pair's file, which says 64",
    "grey input": "['n', 1, 64, 64], grey images; a stage's images are RGB: put the conversion into the model",
    "input of rank 2": "[batch, 3, 64, 64] or [batch, 64, 64, 3] in float, float16, double or uint8",
    "input of rank 5": "[batch, 3, 64, 64] or [batch, 64, 64, 3] in float, float16, double or uint8",
    "sequence output": "not the scores, float [batch, classes]: a classifier has such an output",
}
