"""Small backbones with known weights, and the default pair."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.default_pair import exported_default_pair


def backbone(nodes, constants, outputs=("logits",), shape=(3, 8, 8), opset=18):
    image = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", *shape])
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "c", "h", "w"]) for name in outputs]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "backbone", [image], results, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


@pytest.fixture(scope="session")
def default_pair():
    """The default pair's repository for target cpu, whose graphs are FP32; not to be changed."""
    return exported_default_pair()


@pytest.fixture
def chain():
    """pixels -> Mul 300 -> Mul 300 -> Mul 1/90000: the identity, unless an intermediate half overflows."""
    nodes = [
        helper.make_node("Mul", ["pixels", "up"], ["large"], name="first"),
        helper.make_node("Mul", ["large", "up"], ["huge"], name="second"),
        helper.make_node("Mul", ["huge", "down"], ["logits"], name="third"),
    ]
    return backbone(nodes, {"up": np.float32(300), "down": np.float32(1 / 90000)})


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}
