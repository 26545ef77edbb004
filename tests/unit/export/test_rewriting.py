"""Operators that TensorRT lacks are rewritten without a change of the numbers."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from littlebig_contract.onnx_runtime import open_session
from littlebig_export.rewriting import rewrite_for_tensorrt


def model_of(nodes, constants, shape):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", "c", "h", "w"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def answers(model, shape):
    image = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    return open_session(model.SerializeToString(), cpu_only=True).run(None, {"pixels": image})[0]


def operators(model):
    return [node.op_type for node in model.graph.node]


def resize(source, **attributes):
    return helper.make_node("Resize", [source, "", "scales"], ["resized"], mode="cubic", **attributes)


POSITIONS = {
    "positions": np.random.default_rng(1).normal(size=(16, 2)).astype(np.float32),
    "grid": np.array([1, 4, 4, 2], np.int64),
    "scales": np.array([1, 1, 0.5, 0.5], np.float32),
}


def resized_positions(**attributes):
    nodes = [
        helper.make_node("Reshape", ["positions", "grid"], ["square"]),
        helper.make_node("Transpose", ["square"], ["planes"], perm=[0, 3, 1, 2]),
        resize("planes", **attributes),
        helper.make_node("Add", ["pixels", "resized"], ["logits"]),
    ]
    return model_of(nodes, POSITIONS, (2, 2, 2))


def test_an_antialiased_resize_of_weights_is_computed():
    model = resized_positions(antialias=1)
    before = answers(model, (2, 2, 2))
    rewrite_for_tensorrt(model)
    onnx.checker.check_model(model, full_check=True)
    assert operators(model) == ["Add"]
    assert [tensor.name for tensor in model.graph.initializer] == ["resized"]
    assert np.array_equal(answers(model, (2, 2, 2)), before)


def test_other_resizes_stay():
    model = resized_positions(antialias=0)
    of_pixels = model_of(
        [resize("pixels", antialias=1), helper.make_node("Relu", ["resized"], ["logits"])],
        {"scales": POSITIONS["scales"]},
        (2, 4, 4),
    )
    for each in (model, of_pixels):
        before = operators(each)
        rewrite_for_tensorrt(each)
        assert operators(each) == before


@pytest.mark.parametrize(
    ("image", "block", "attributes"),
    [
        ((4, 4), (2, 2), {"strides": [2, 2]}),
        ((5, 6), (3, 3), {"pads": [1, 1, 1, 1]}),
        ((8, 6), (3, 2), {"strides": [2, 3], "pads": [1, 0, 1, 0]}),
        ((9, 9), (3, 3), {"dilations": [2, 2], "strides": [2, 2]}),
        ((6, 6), (3, 3), {"strides": [2, 2]}),
    ],
)
def test_col2im_is_a_transposed_convolution(image, block, attributes):
    zero, one = [0, 0], [1, 1]
    pads, strides, dilations = (
        attributes.get(key, default) for key, default in (("pads", zero * 2), ("strides", one), ("dilations", one))
    )
    places = [
        (image[axis] + pads[axis] + pads[axis + 2] - dilations[axis] * (block[axis] - 1) - 1) // strides[axis] + 1
        for axis in (0, 1)
    ]
    shape = (5 * block[0] * block[1], places[0] * places[1])
    nodes = [helper.make_node("Col2Im", ["pixels", "image", "block"], ["logits"], **attributes)]
    model = model_of(nodes, {"image": np.array(image, np.int64), "block": np.array(block, np.int64)}, shape)
    before = answers(model, shape)
    rewrite_for_tensorrt(model)
    assert operators(model) == ["Reshape", "ConvTranspose"]
    after = answers(model, shape)
    assert after.shape == before.shape == (3, 5, *image)
    assert after == pytest.approx(before, abs=1e-5)
