"""What a user's ONNX file takes and answers, and how a stage's images become that: for its own run, and as nodes.

A stage's images are normalised float32 [N,3,S,S] with any N. A file may want channels last, halves, doubles, whole
pixels or a fixed number of images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from littlebig_export.errors import GraphError
from littlebig_export.pair import OnnxModel
from littlebig_export.preprocessing import Preprocessing

Floats = npt.NDArray[np.float32]
ELEMENTS = {
    "tensor(float)": TensorProto.FLOAT,
    "tensor(float16)": TensorProto.FLOAT16,
    "tensor(double)": TensorProto.DOUBLE,
    "tensor(uint8)": TensorProto.UINT8,
}
# What hands on pixels as they are.
_MOVES = frozenset({"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather"})


@dataclass(frozen=True)
class GivenInput:
    """The input of a user's file.

    Attributes:
        name: its name.
        element: its ONNX type: FLOAT, FLOAT16, DOUBLE or UINT8.
        channels_last: [N,S,S,3] instead of [N,3,S,S].
        batch: the only N that the file takes; None if it takes any.
    """

    name: str
    element: int = TensorProto.FLOAT
    channels_last: bool = False
    batch: int | None = None

    def batches(self, images: Floats) -> Iterator[tuple[npt.NDArray[Any], int]]:
        """A stage's images as the file takes them, and how many of each batch are images and not filling."""
        given = images.transpose(0, 2, 3, 1) if self.channels_last else images
        if self.element == TensorProto.UINT8:
            given = np.rint(given).clip(0, 255)
        given = np.ascontiguousarray(given, helper.tensor_dtype_to_np_dtype(self.element))
        size = self.batch or len(given)
        for start in range(0, len(given), size):
            part = given[start : start + size]
            filling = np.repeat(part[-1:], size - len(part), axis=0)
            yield np.concatenate([part, filling]), len(part)

    def preprocessing(self, model: OnnxModel) -> Preprocessing:
        """The transform of its images: a file that takes whole pixels normalises them itself.

        Raises:
            GraphError: if the pair's file would normalise them too.
        """
        if self.element != TensorProto.UINT8:
            return model.preprocessing
        if model.normalises:
            raise GraphError(
                f"'{model.path}' takes uint8 pixels, so it normalises them itself: take mean and std out of the pair's "
                "file"
            )
        return replace(model.preprocessing, mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255))


def read_input(session: Any, model: OnnxModel) -> GivenInput:
    """The input of a file.

    Args:
        session: of the file.
        model: what the pair's file says of it.

    Raises:
        GraphError: if it does not take images as a stage can make them.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(f"'{each.name}'" for each in inputs) or "none"
        raise GraphError(f"'{model.path}' has {len(inputs)} inputs, {names}; a classifier has one, the image")
    size = model.preprocessing.size
    batch, *shape = inputs[0].shape or [None]
    takes = f"'{model.path}' takes {inputs[0].type} {inputs[0].shape}"
    if inputs[0].type in ELEMENTS and len(shape) == 3:
        for last, wanted in ((False, (3, size, size)), (True, (size, size, 3))):
            if all(have == want or not isinstance(have, int) for have, want in zip(shape, wanted, strict=True)):
                return GivenInput(
                    inputs[0].name, ELEMENTS[inputs[0].type], last, batch if isinstance(batch, int) else None
                )
        for channels, (height, width) in ((shape[0], shape[1:]), (shape[2], shape[:2])):
            if channels == 3 and height == width:
                raise GraphError(f"{takes}: set size = {height} in the pair's file, which says {size}")
            if channels == 1 and height == width:
                raise GraphError(f"{takes}, grey images; a stage's images are RGB: put the conversion into the model")
    raise GraphError(
        f"{takes}; it must take images [batch, 3, {size}, {size}] or [batch, {size}, {size}, 3] in float, float16, "
        "double or uint8"
    )


def take_images(model: onnx.ModelProto, given: GivenInput, size: int) -> None:
    """Let a graph take a stage's images instead of what its file takes, in place.

    Args:
        model: a graph with one input, at an opset where types and shapes can be inferred anew.
        given: what it takes.
        size: height and width of its images, in pixels.
    """
    if given == GivenInput(given.name):
        return
    graph = model.graph
    del graph.value_info[:]  # it holds the types and the batch that change
    if given.batch is not None:
        _free_batch(model, given.batch)
    steps = []
    if given.element == TensorProto.UINT8:
        steps.append(helper.make_node("Round", [""], [""]))
    # TensorRT has no doubles, and uint8 at its ends alone. Most graphs cast these to floats at once; halves would lose
    # their rounding.
    floats_do = given.element == TensorProto.FLOAT or _only_moves_pixels(graph, given.name)
    if given.element == TensorProto.FLOAT16 or not floats_do:
        steps.append(helper.make_node("Cast", [""], [""], to=given.element))
    if given.channels_last:
        steps.append(helper.make_node("Transpose", [""], [""], perm=[0, 2, 3, 1]))
    source = f"{given.name}/images" if steps else given.name
    names = [source, *(f"{given.name}/step{index}" for index in range(1, len(steps))), given.name]
    for node, before, after in zip(steps, names, names[1:], strict=False):
        node.input[0], node.output[0], node.name = before, after, f"{after}/given"
    nodes = [*steps, *graph.node]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    graph.input[0].CopyFrom(helper.make_tensor_value_info(source, TensorProto.FLOAT, ["batch", 3, size, size]))


def _only_moves_pixels(graph: onnx.GraphProto, source: str) -> bool:
    """Whether all that a graph does with its pixels, before it casts them, holds for floats too."""
    pixels = {source}
    for node in graph.node:
        if any(attribute.g.node for attribute in node.attribute):
            return False  # a branch may read any tensor
        if pixels.intersection(node.input) and node.op_type != "Cast":
            if node.op_type not in _MOVES or node.input[0] not in pixels:
                return False
            pixels.update(node.output)
    return True


def _free_batch(model: onnx.ModelProto, batch: int) -> None:
    """Let every Reshape to a fixed batch take its batch from what it reshapes."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: node.attribute[0].t
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            shape = numpy_helper.to_array(constants[node.input[1]]).copy()
            if shape.size and shape[0] == batch:
                shape[0] = 0 if -1 in shape else -1
                node.input[1] = f"{node.output[0]}/any_batch"
                graph.initializer.append(numpy_helper.from_array(shape, node.input[1]))
