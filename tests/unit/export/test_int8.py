import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from littlebig_contract.onnx_runtime import SAME_INT8, open_session
from littlebig_export import quantising
from littlebig_export.applying import apply_calibration
from littlebig_export.errors import ExportError
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from littlebig_export.pictures import crops
from littlebig_export.stage_precisions import describe_precisions, stage_precisions
from tests.default_pair import exported_default_pair
from tests.shared_data import labelled_photographs


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    monkeypatch.setattr(quantising, "RANGED", 10)
    monkeypatch.setattr(quantising, "JUDGED", 10)


def int8_is(monkeypatch, *speedups):
    """Set how fast weights of 8 and 7 bits are: the tiny pair's networks are too small to be faster."""
    monkeypatch.setattr(quantising, "_speedups", lambda *_: list(speedups))


def export(pair_file, output, precision="int8", target="cpu", **options):
    lines = []
    export_pair(load_pair(str(pair_file)), target, output, precision=precision, report=lines.append, **options)
    return lines, json.loads((output / "littlebig.json").read_text())


def operators(repository, stage):
    graph = onnx.load(repository / stage / "1" / "model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    return [node.op_type for node in graph.graph.node]


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        (None, "cpu", {"little": "fp32", "big": "fp32"}),
        (None, "tensorrt", {"little": "fp16", "big": "fp16"}),
        ("int8", "cpu", {"little": "int8", "big": "fp32"}),
        ("little=int8", "tensorrt", {"little": "int8", "big": "fp16"}),
        ("bf16,little=int8", "tensorrt", {"little": "int8", "big": "bf16"}),
        ("little=int8, big=int8", "cpu", {"little": "int8", "big": "int8"}),
    ],
)
def test_precision_is_of_both_stages_or_of_each_and_int8_alone_is_littles(text, target, expected):
    chosen = stage_precisions(text, target)
    assert chosen == expected
    assert stage_precisions(describe_precisions(chosen), target) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fp16", "--precision 'fp16': target cpu computes in one of int8, fp32"),
        ("middle=int8", "--precision 'middle=int8' names no stage: write little=int8 or big=int8"),
        ("int4", "--precision 'int4': target cpu computes in one of int8, fp32"),
    ],
)
def test_an_unknown_precision_or_stage_is_refused_in_one_line(text, message):
    with pytest.raises(ExportError, match=f"^{message}$"):
        stage_precisions(text, "cpu")


def test_little_in_int8_answers_nearly_as_in_fp32_and_says_how_it_was_made(tiny_pair, tmp_path, monkeypatch):
    int8_is(monkeypatch, 1.7, 1.7)
    lines, says = export(tiny_pair, tmp_path / "out")
    assert "QuantizeLinear" in operators(tmp_path / "out", "little")
    assert "QuantizeLinear" not in operators(tmp_path / "out", "big")
    assert says["precision"]["name"] == "little=int8,big=fp32"
    made = says["precision"]["stages"]["little"]
    assert (made["weight_bits"], made["speedup"], made["range_pictures"]) == (8, 1.7, 10)
    assert made["effect"]["top1_agreement"] >= 0.8
    line = next(line for line in lines if line.startswith("little: int8"))
    assert "1.7 times as fast as fp32 on one thread here; same label on" in line
    assert line.endswith("% of decisions change")


def test_weights_get_seven_bits_where_only_those_are_faster(tiny_pair, tmp_path, monkeypatch):
    int8_is(monkeypatch, 1.0, 1.4)
    _, says = export(tiny_pair, tmp_path / "out")
    assert says["precision"]["stages"]["little"]["weight_bits"] == 7
    graph = onnx.load(tmp_path / "out/little/1/model.onnx").graph
    weights = [
        onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name.endswith("kernel_quantized")
    ]
    assert [np.abs(each.astype(int)).max() <= 64 for each in weights] == [True]


def test_a_stage_that_int8_makes_no_faster_is_served_in_fp32_and_that_is_said(tiny_pair, tmp_path, monkeypatch):
    int8_is(monkeypatch, 1.05, 1.0)
    lines, says = export(tiny_pair, tmp_path / "out")
    plain = export(tiny_pair, tmp_path / "plain", precision="fp32")[1]
    assert "little: int8 is 1.05 times as fast as fp32 here, which does not pay: it is served in fp32" in lines
    assert says["precision"]["name"] == "fp32"
    assert says["stages"]["little"]["weights"] == plain["stages"]["little"]["weights"]
    assert operators(tmp_path / "out", "little") == operators(tmp_path / "plain", "little")


def test_a_calibration_of_fp32_is_refused_for_int8(tiny_pair, tmp_path, monkeypatch):
    int8_is(monkeypatch, 2.0, 2.0)
    plain = export(tiny_pair, tmp_path / "plain", precision="fp32")[1]
    says = export(tiny_pair, tmp_path / "out")[1]
    again = export(tiny_pair, tmp_path / "again")[1]
    assert says["stages"]["little"]["weights"] != plain["stages"]["little"]["weights"]
    assert says["stages"]["little"]["weights"] == again["stages"]["little"]["weights"]
    assert says["stages"]["big"]["weights"] == plain["stages"]["big"]["weights"]
    calibration = {
        stage: {"name": stage, "weights_sha256": plain["stages"][stage]["weights"]["sha256"]}
        for stage in ("little", "big")
    }
    with pytest.raises(ExportError, match="was made for other weights of little"):
        apply_calibration(tmp_path / "out", json.dumps(calibration))


def test_ranges_of_tensorrt_are_symmetric_and_biases_floats(tiny_pair, tmp_path):
    _, says = export(tiny_pair, tmp_path / "out", target="tensorrt", precision="little=int8,big=fp32")
    graph = onnx.load(tmp_path / "out/little/1/model.onnx").graph
    assert says["precision"]["stages"]["little"]["speedup"] is None
    zeros = [tensor for tensor in graph.initializer if tensor.name.endswith("zero_point")]
    assert {tensor.data_type for tensor in zeros} == {onnx.TensorProto.INT8}
    assert not any(onnx.numpy_helper.to_array(tensor).any() for tensor in zeros)


def test_the_pairs_fp32_keeps_nodes_out_of_int8(tiny_pair, tmp_path, monkeypatch):
    int8_is(monkeypatch, 2.0, 2.0)
    text = tiny_pair.read_text().replace('onnx = "little.onnx"', 'onnx = "little.onnx"\nfp32 = ["Gemm"]')
    tiny_pair.write_text(text)
    _, says = export(tiny_pair, tmp_path / "out")
    assert list(says["precision"]["stages"]["little"]["kept_in_fp32"].values()) == ["the pair's fp32 names 'Gemm'"]
    graph = onnx.load(tmp_path / "out/little/1/model.onnx").graph
    gemm = next(node for node in graph.node if node.op_type == "Gemm")
    assert gemm.input[1] in {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}


def test_too_few_pictures_are_refused(tiny_pair, tmp_path):
    with pytest.raises(ExportError, match=r"^12 pictures are too few to measure the ranges of INT8: give 20 or more"):
        export(tiny_pair, tmp_path / "out", pictures=crops()[:12])


def test_the_stage_of_the_cpu_target_computes_int8_as_predictions_do():
    model = Path(quantising.__file__).parent / "onnxruntime_stage" / "littlebig_session.py"
    assert f"options.add_session_config_entry{SAME_INT8}".replace("'", '"') in model.read_text()


@pytest.mark.slow
def test_the_default_little_in_int8_is_hardly_less_accurate(tmp_path):
    pictures = labelled_photographs()[:400]
    _, says = export("efficientnet-lite", tmp_path / "out")
    assert says["precision"]["stages"]["little"]["speedup"] >= quantising.WORTHWHILE
    right = {}
    for name, repository in (("int8", tmp_path / "out"), ("fp32", exported_default_pair())):
        session = open_session(repository / "little" / "1" / "model.onnx", cpu_only=True)
        size = says["canonical_image"]["width"]
        images = (Image.open(path).convert("RGB").resize((size, size)) for path, _ in pictures)
        answers = [session.run(["label"], {"image": np.asarray(image)[None]})[0].item() for image in images]
        right[name] = np.mean([answer == label for answer, (_, label) in zip(answers, pictures, strict=True)])
    assert right["int8"] >= right["fp32"] - 0.02
