"""Operators that TensorRT lacks, in graphs that users bring: rewritten where that is exact, named where not."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from littlebig_export.checking import check_repository
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from littlebig_export.unsupported import OPERATORS, unsupported_by_tensorrt

trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for Linux on x86-64: pip install 'littlebig[check]'")


def edit(path, change):
    model = onnx.load(path)
    model.opset_import[0].version = 18
    change(model)
    onnx.save(model, path)


def add(model, **constants):
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )


def fold_and_resize(model):
    """Positions resized with antialiasing are added to the maps; a Col2Im makes half as many maps, twice as wide."""
    random = np.random.default_rng(3)
    add(
        model,
        positions=random.normal(size=(1, 8, 16, 16)).astype(np.float32),
        sizes=np.array([1, 8, 8, 8]),
        rows=np.array([0, 8, -1]),
        image=np.array([16, 8]),
        block=np.array([2, 1]),
        head=random.normal(size=(4, 5)).astype(np.float32),
    )
    body = list(model.graph.node)
    body[0].output[0], body[2].input[0], body[4].input[1] = "maps_of_pixels", "folded", "head"
    new = [
        body[0],
        helper.make_node(
            "Resize", ["positions", "", "", "sizes"], ["resized"], mode="linear", antialias=1, name="positions"
        ),
        helper.make_node("Add", ["maps_of_pixels", "resized"], ["maps"]),
        body[1],
        helper.make_node("Reshape", ["positive", "rows"], ["columns"]),
        helper.make_node("Col2Im", ["columns", "image", "block"], ["folded"], strides=[2, 1], name="fold"),
        *body[2:],
    ]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in new]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def test_col2im_and_antialiased_positions_of_a_users_graph_are_served_on_both_targets(tiny_pair, tmp_path):
    path = tiny_pair.with_name("big.onnx")
    edit(path, fold_and_resize)
    lines = []
    for target in ("cpu", "tensorrt"):
        exported = export_pair(load_pair(str(tiny_pair)), target, tmp_path / target, report=lines.append)
        assert exported.parity["big"].largest_difference < 1e-4
        operators = [node.op_type for node in onnx.load(tmp_path / target / "big/1/model.onnx").graph.node]
        assert "ConvTranspose" in operators
        assert not {"Col2Im", "Resize"} & set(operators)
    assert not any("TensorRT has no" in line for line in lines)
    assert [checked.stage for checked in check_repository(tmp_path / "tensorrt")] == ["little", "big"]


def test_an_export_for_tensorrt_names_what_cannot_be_built(tiny_pair, tmp_path):
    def determinant(model):
        add(model, matrices=np.array([0, 5, 1, 1]))
        model.graph.node[-1].output[0] = "plain"
        model.graph.node.append(helper.make_node("Reshape", ["plain", "matrices"], ["squares"]))
        model.graph.node.append(helper.make_node("Det", ["squares"], ["logits"]))

    edit(tiny_pair.with_name("big.onnx"), determinant)
    lines = []
    export_pair(load_pair(str(tiny_pair)), "tensorrt", tmp_path / "out", report=lines.append)
    assert (
        "big: TensorRT has no Det, so that no engine can be built: export the model without that, or serve it with "
        "--target cuda or cpu"
    ) in lines


def test_other_domains_antialiasing_and_bytes_are_named_once_and_in_branches_too():
    nodes = [
        helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft"),
        helper.make_node("Resize", ["x", "", "s"], ["z"], antialias=1),
        helper.make_node("Resize", ["x", "", "s"], ["w"]),
        helper.make_node("Cast", ["x"], ["b"], to=onnx.TensorProto.UINT8),
        helper.make_node("Cast", ["x"], ["f"], to=onnx.TensorProto.FLOAT),
    ]
    branch = helper.make_graph([helper.make_node("Unique", ["x"], ["u"]), *nodes[:1]], "branch", [], [])
    nodes.append(helper.make_node("If", ["c"], ["v"], then_branch=branch, else_branch=branch))
    model = helper.make_model(helper.make_graph(nodes, "graph", [], []))
    assert unsupported_by_tensorrt(model) == ["com.microsoft.Gelu", "antialiased Resize", "Cast to uint8", "Unique"]


def test_the_list_of_operators_is_what_the_parser_says():
    log = trt.Logger()
    builder = trt.Builder(log)
    parser = trt.OnnxParser(builder.create_network(0), log)
    known = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    assert {name for name in known if not parser.supports_operator(name)} == OPERATORS & known
