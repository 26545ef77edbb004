"""Graphs that users bring along, of every kind, each made from the same tiny classifier; and torchvision's models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import torch
import torchvision
from onnx import TensorProto, helper

from littlebig_export.pair import OnnxModel
from littlebig_export.preprocessing import Preprocessing
from tests.tiny_pair import tiny_classifier

SIZE = 64
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def from_torchvision(name: str, folder: Path) -> OnnxModel:
    """A torchvision model with random weights as a pair's ONNX file."""
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


def _opset(version: int) -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        model.opset_import[0].version = version  # the tiny classifier's operators are the same in all of these
        return model

    return change


def _several_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 8]))
    return model


def _fixed_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return model


def _takes(kind: int, *shape: object) -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        graph, last = model.graph, len(shape) == 4 and shape[3] == 3
        model.graph.node.insert(0, helper.make_node("Cast", ["given"], ["float"], to=TensorProto.FLOAT))
        perm = [0, 3, 1, 2] if last else [0, 1, 2, 3]
        graph.node.insert(1, helper.make_node("Transpose", ["float"], ["pixels"], perm=perm))
        graph.input[0].CopyFrom(helper.make_tensor_value_info("given", kind, list(shape)))
        return model

    return change


KINDS: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    **{f"opset {version}": _opset(version) for version in range(11, 23)},
    "several outputs": _several_outputs,
    "external data": lambda model: model,
    "fixed batch": _fixed_batch,
    "NHWC input": _takes(TensorProto.FLOAT, "n", SIZE, SIZE, 3),
    "FP16 input": _takes(TensorProto.FLOAT16, "n", 3, SIZE, SIZE),
    "uint8 input": _takes(TensorProto.UINT8, "n", 3, SIZE, SIZE),
}
