import re

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper

from littlebig_cli.main import littlebig
from littlebig_export.costs import as_table, count_macs, count_parameters, pair_costs
from littlebig_export.errors import GraphError
from littlebig_export.pair import load_pair

from .conftest import backbone


def zeros(*shape):
    return np.zeros(shape, np.float32)


def test_convolutions_products_and_batch_norms_count():
    nodes = [
        helper.make_node("Conv", ["pixels", "kernel"], ["maps"], name="conv", group=1, strides=[2, 2]),
        helper.make_node("Conv", ["maps", "depth"], ["deep"], name="depth", group=4),
        helper.make_node("BatchNormalization", ["deep", "s", "s", "s", "s"], ["norm"], name="norm"),
        helper.make_node("GlobalAveragePool", ["norm"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flat"),
        helper.make_node("MatMul", ["flat", "product"], ["middle"], name="matmul"),
        helper.make_node("Gemm", ["middle", "last"], ["logits"], name="gemm"),
    ]
    constants = {
        "kernel": zeros(4, 3, 2, 2),
        "depth": zeros(4, 1, 1, 1),
        "s": np.ones(4, np.float32),
        "product": zeros(4, 6),
        "last": zeros(6, 5),
    }
    model = backbone(nodes, constants)
    assert count_macs(model) == {
        "maps": 4 * 4 * 4 * 12,  # [4, 4, 4] numbers of 3 x 2 x 2 products
        "deep": 4 * 4 * 4 * 1,
        "norm": 4 * 4 * 4 * 2,
        "middle": 6 * 4,
        "logits": 5 * 6,
    }
    assert count_parameters(model) == 48 + 4 + 4 + 24 + 30
    model.graph.node[0].metadata_props.add(key="class", value="['Net', 'aten._native_batch_norm.default']")
    assert count_macs(model)["maps"] == 4 * 4 * 4 * (12 + 2)


def test_a_bilinear_sample_counts_four():
    nodes = [helper.make_node("GridSample", ["pixels", "grid"], ["logits"], name="sample", mode="bilinear")]
    assert count_macs(backbone(nodes, {"grid": zeros(1, 5, 2, 2)})) == {"logits": 3 * 5 * 2 * 4}


def test_a_transposed_gemm_counts_the_other_side():
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["weights", "flat"], ["logits"], name="gemm", transA=1, transB=1),
    ]
    assert count_macs(backbone(nodes, {"weights": zeros(192, 7)})) == {"logits": 7 * 192}


def test_shapes_that_are_not_known_are_reported():
    nodes = [
        helper.make_node("NonZero", ["pixels"], ["indices"], name="nonzero"),
        helper.make_node("Cast", ["indices"], ["floats"], name="cast", to=1),
        helper.make_node("MatMul", ["floats", "weights"], ["logits"], name="product"),
    ]
    with pytest.raises(GraphError) as error:
        count_macs(backbone(nodes, {"weights": zeros(192, 7)}))
    assert str(error.value) == "the cost of node 'product' (MatMul) is unknown: its shapes are dynamic"


def test_the_graphs_of_the_default_pair_cost_what_timm_publishes(default_pair):
    for stage, gmacs in (("little", 0.40), ("big", 0.89)):
        macs = count_macs(onnx.load(default_pair / stage / "1/model.onnx"))
        backbone = sum(count for tensor, count in macs.items() if tensor.startswith("backbone/"))
        assert backbone / 1e9 == pytest.approx(gmacs, rel=0.02)


@pytest.mark.slow
def test_the_costs_of_the_default_pair_are_those_that_timm_publishes():
    (little, big), canonical = pair_costs(load_pair("efficientnet-lite"))
    assert little.macs / 1e9 == pytest.approx(0.40, rel=0.02)
    assert big.macs / 1e9 == pytest.approx(0.89, rel=0.02)
    assert little.parameters / 1e6 == pytest.approx(4.65, rel=0.02)
    assert big.parameters / 1e6 == pytest.approx(6.09, rel=0.02)
    # Columns first: 3 planes of 260 rows of 224 numbers of 260 products, then rows.
    assert little.resampling_macs == 3 * 224 * 260 * (260 + 224)
    assert (big.resampling_macs, canonical) == (0, 260)


def test_the_command_measures_here(tiny_pair):
    result = CliRunner().invoke(littlebig, ["costs", "--pair", str(tiny_pair), "--measure"])
    assert result.exit_code == 0, result.output
    header, little, big, cascade, where = result.stdout.splitlines()
    assert header.split() == ["stage", "model", "input", "parameters", "GMACs", "resampling", "ms/image"]
    assert little.split()[:4] == ["little", "little", "24x24", "0.00"]
    assert re.fullmatch(r"\d+\.\d", big.split()[-1])
    assert re.fullmatch(
        r"canonical image 32x32; a cascade costs [\d.]+% of big alone plus its escalation rate", cascade
    )
    assert where.startswith("measured one image at a time, FP32, ONNX Runtime's ")


def test_the_table_has_no_times_that_nobody_measured(tiny_pair):
    costs, canonical = pair_costs(load_pair(str(tiny_pair)))
    assert "ms/image" not in "\n".join(as_table(costs, canonical))
