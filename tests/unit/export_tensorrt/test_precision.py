import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from littlebig_export.errors import GraphError
from littlebig_export.precision import keep_reasons, to_precision, with_node_names
from littlebig_export.rounding import largest_values, rounded

from .conftest import backbone, types_of

FP16, FP32 = TensorProto.FLOAT16, TensorProto.FLOAT


def run(model, image):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"pixels": image})[0]


def pixels(value, batch=1):
    return np.full((batch, 3, 8, 8), value, np.float32)


def test_input_and_output_stay_fp32_and_all_between_is_half(chain):
    types = types_of(to_precision(chain, "fp16", {}))
    assert types["pixels"] == types["logits"] == FP32
    assert types["large"] == types["huge"] == FP16


def test_fp32_changes_nothing(chain):
    assert to_precision(chain, "fp32", {}) is chain
    assert keep_reasons(chain, "fp32", ["no such node"]) == {}


def test_a_kept_node_computes_in_fp32_between_two_casts(chain):
    types = types_of(to_precision(chain, "fp16", {"second": "because"}))
    assert types["large"] == FP16
    assert types["huge"] == FP32


def test_a_constant_that_both_need_exists_in_both_types(chain):
    low = to_precision(chain, "fp16", {"second": "because"})
    assert {tensor.name: tensor.data_type for tensor in low.graph.initializer} == {
        "up": FP32,
        "up/low": FP16,
        "down/low": FP16,
    }


def test_an_overflow_shows_on_a_cpu(chain):
    assert np.isinf(run(rounded(to_precision(chain, "fp16", {})), pixels(1.0))).all()
    assert run(rounded(to_precision(chain, "bf16", {})), pixels(1.0)) == pytest.approx(1.0, rel=0.02)


def test_what_reaches_far_on_photographs_is_kept_and_then_nothing_overflows(chain):
    largest = largest_values(chain, np.concatenate([pixels(0.5), pixels(-1.0)]))
    assert largest == pytest.approx({"large": 300.0, "huge": 90000.0, "logits": 1.0})
    kept = keep_reasons(chain, "fp16", largest=largest)
    assert kept == dict.fromkeys(["second", "third"], "a value reached 9e+04 on photographs")
    assert run(rounded(to_precision(chain, "fp16", kept)), pixels(1.0)) == pytest.approx(1.0, rel=0.01)


def test_a_value_that_is_no_number_on_photographs_is_kept(chain):
    assert list(keep_reasons(chain, "fp16", largest={"logits": float("nan")})) == ["third"]


@pytest.mark.parametrize(
    ("op", "constant", "reason"),
    [
        ("Mul", 1e5, "constant 1e+05 is beyond FP16"),
        ("Add", 1e-15, "constant 1e-15 is zero in FP16"),
        ("Add", [1e-15, 1.0, 0.0], None),  # one small weight among others is nothing
        ("Mul", [1.0, -1e5, 0.0], "constant 1e+05 is beyond FP16"),
    ],
)
def test_constants_that_do_not_fit_keep_their_node(op, constant, reason):
    values = np.asarray(constant, np.float32).reshape(-1, 1, 1)
    model = backbone([helper.make_node(op, ["pixels", "constant"], ["logits"], name="node")], {"constant": values})
    assert keep_reasons(model, "fp16") == ({"node": reason} if reason else {})
    assert keep_reasons(model, "bf16") == {}


def test_the_bounds_of_a_clip_saturate():
    nodes = [helper.make_node("Clip", ["pixels", "low", "high"], ["logits"], name="clip")]
    model = backbone(nodes, {"low": np.float32(0), "high": np.float32(3.4e38)})
    assert keep_reasons(model, "fp16") == {}
    assert run(rounded(to_precision(model, "fp16", {})), pixels(7.0)) == pytest.approx(7.0)


@pytest.mark.parametrize("pattern", ["second", "sec*", "Attention", "stages.1.attn"])
def test_the_pair_names_nodes_operators_modules_and_their_classes(chain, pattern):
    chain.graph.node[1].metadata_props.add(
        key="pkg.torch.onnx.class_hierarchy", value="['timm.Net', 'timm.layers.Attention', 'aten.matmul.default']"
    )
    chain.graph.node[1].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'stages.1.attn', 'matmul']")
    assert keep_reasons(chain, "fp16", [pattern]) == {"second": f"the pair's fp32 names '{pattern}'"}


def test_an_operator_names_all_its_nodes(chain):
    assert list(keep_reasons(chain, "fp16", ["Mul"])) == ["first", "second", "third"]


def test_an_empty_constant_keeps_nothing():
    nodes = [helper.make_node("Concat", ["pixels", "nothing"], ["logits"], name="concat", axis=1)]
    assert keep_reasons(backbone(nodes, {"nothing": np.zeros((1, 0, 8, 8), np.float32)}), "fp16") == {}


def test_unreadable_metadata_names_nothing(chain):
    chain.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="[not a list")
    assert list(keep_reasons(chain, "fp16", ["second"])) == ["second"]


def test_a_pattern_that_matches_nothing_is_refused(chain):
    with pytest.raises(GraphError) as error:
        keep_reasons(chain, "fp16", ["LiteMLA"])
    assert str(error.value) == "the pair's fp32 pattern 'LiteMLA' matches no node; name a node, operator or module"


def test_inputs_that_onnx_wants_in_fp32_stay_so():
    nodes = [helper.make_node("Resize", ["pixels", "", "scales"], ["logits"], name="resize", mode="nearest")]
    model = backbone(nodes, {"scales": np.array([1, 1, 2, 2], np.float32)})
    low = to_precision(model, "fp16", {})
    onnx.checker.check_model(low, full_check=True)
    assert [tensor.data_type for tensor in low.graph.initializer] == [FP32]
    assert run(rounded(low), pixels(0.25)).shape == (1, 3, 16, 16)


def test_types_in_attributes_come_along():
    value = helper.make_tensor("value", FP32, [1], [0.5])
    nodes = [
        helper.make_node("Shape", ["pixels"], ["shape"], name="shape"),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"], name="zeros"),
        helper.make_node("ConstantOfShape", ["shape"], ["halves"], name="halves", value=value),
        helper.make_node("Constant", [], ["one"], name="one", value_float=1.0),
        helper.make_node("Constant", [], ["some"], name="some", value_floats=[1.0]),
        helper.make_node("Cast", ["shape"], ["sizes"], name="sizes", to=FP32),
        helper.make_node("ReduceMax", ["sizes"], ["size"], name="size", keepdims=0),
        helper.make_node("Sum", ["pixels", "zeros", "halves", "one", "some", "size"], ["logits"], name="sum"),
    ]
    model = backbone(nodes, {})
    low = to_precision(model, "fp16", {})
    onnx.checker.check_model(low, full_check=True)
    types = types_of(low)
    assert {types[name] for name in ("zeros", "halves", "one", "some", "sizes", "size")} == {FP16}
    assert run(rounded(low), pixels(0.25)) == pytest.approx(0.25 + 0.5 + 1.0 + 1.0 + 8.0)


def test_operators_that_write_types_and_foreign_ones_stay_fp32():
    nodes = [
        helper.make_node("RandomUniformLike", ["pixels"], ["noise"], name="noise", dtype=FP32),
        helper.make_node("Mul", ["noise", "pixels"], ["logits"], name="mul"),
    ]
    model = backbone(nodes, {})
    kept = keep_reasons(model, "fp16")
    assert kept == {"noise": "its types are written into it"}
    onnx.checker.check_model(to_precision(model, "fp16", kept), full_check=True)


def test_a_foreign_operator_stays_fp32():
    nodes = [
        helper.make_node("Unknown", ["pixels"], ["mystery"], name="mystery", domain="elsewhere"),
        helper.make_node("Relu", ["pixels"], ["logits"], name="relu"),
    ]
    model = backbone(nodes, {})
    model.opset_import.append(helper.make_opsetid("elsewhere", 1))
    low = to_precision(model, "fp16", {})
    assert low.graph.node[0].input == ["pixels"]


def test_an_output_that_is_read_inside_too_is_cast_once(chain):
    chain.graph.output.append(helper.make_tensor_value_info("large", FP32, ["n", "c", "h", "w"]))
    low = to_precision(chain, "fp16", {})
    onnx.checker.check_model(low, full_check=True)
    types = types_of(low)
    assert types["large"] == types["logits"] == FP32
    assert types["large/inner"] == FP16


def test_nodes_without_a_name_get_one(chain):
    chain.graph.node[0].name = ""
    chain.graph.node[2].name = "second"
    assert [node.name for node in with_node_names(chain).graph.node] == ["Mul_0", "second", "Mul_2"]


def test_bf16_rounds_to_the_nearest_even():
    nodes = [helper.make_node("Mul", ["pixels", "weights"], ["logits"], name="mul")]
    weights = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-7], np.float32).reshape(3, 1, 1)
    low = rounded(to_precision(backbone(nodes, {"weights": weights}), "bf16", {}))
    assert run(low, pixels(1.0))[0, :, 0, 0].tolist() == [1.0, 1 + 2**-6, 1 + 2**-7]


def test_types_that_cannot_be_inferred_are_reported(chain):
    chain.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(GraphError) as error:
        to_precision(chain, "fp16", {})
    assert str(error.value).startswith("the graph's types cannot be inferred: ")
    assert "\n" not in str(error.value)
