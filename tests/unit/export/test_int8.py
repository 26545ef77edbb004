import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image

from littlebig_cli.export import command
from littlebig_contract.onnx_runtime import SAME_INT8, open_session
from littlebig_export import quantising
from littlebig_export.applying import apply_calibration
from littlebig_export.errors import ExportError
from littlebig_export.exporting import export_pair
from littlebig_export.int8_speed import Speed
from littlebig_export.pair import load_pair, override_weights
from littlebig_export.parity import fit
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
    speeds = [Speed(speedup, 10.0 / speedup, 10.0) for speedup in speedups]
    monkeypatch.setattr(quantising, "measure_speeds", lambda *_: speeds)


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
    assert "1.7 times as fast as fp32 here (5.9 instead of 10.0 ms an image on one thread); same label on" in line
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
    assert (
        "little: int8 is 1.05 times as fast as fp32 here, which does not pay: it is served in fp32 (--int8-anyway serves "
        "int8, for another CPU)"
    ) in lines
    assert says["precision"]["name"] == "fp32"
    assert says["stages"]["little"]["weights"] == plain["stages"]["little"]["weights"]
    assert operators(tmp_path / "out", "little") == operators(tmp_path / "plain", "little")


def test_int8_is_served_anyway_where_it_is_no_faster_if_that_is_asked_for(tiny_pair, tmp_path, monkeypatch):
    int8_is(monkeypatch, 0.9, 0.9)
    lines, says = export(tiny_pair, tmp_path / "out", int8_anyway=True)
    assert says["precision"]["name"] == "little=int8,big=fp32"
    assert "QuantizeLinear" in operators(tmp_path / "out", "little")
    assert any("0.9 times as fast as fp32 here (11.1 instead of 10.0 ms" in line for line in lines)


def test_labels_say_how_many_answers_are_right_in_fp32_and_in_int8(tiny_pair, tmp_path, monkeypatch):
    int8_is(monkeypatch, 2.0, 2.0)
    export(tiny_pair, tmp_path / "first", precision="fp32")
    session = open_session(tmp_path / "first/little/1/model.onnx", cpu_only=True)
    canonical, pictures = load_pair(str(tiny_pair)).big.preprocessing, crops()[:30]
    images = [np.asarray(fit(picture, canonical))[None] for picture in pictures]
    answers = [session.run(["label"], {"image": image})[0].item() for image in images]
    # Pictures 0, 2, 4, ... make the ranges. Of the others, 1 and 3 get a label that FP32 does not give.
    truth = [(answer + 1) % 3 if place in (1, 3) else answer for place, answer in enumerate(answers)]
    asked = []
    labels = lambda *classes: asked.append(classes) or truth  # noqa: E731
    lines, says = export(tiny_pair, tmp_path / "out", pictures=pictures, labels=labels)
    effect = says["precision"]["stages"]["little"]["effect"]
    assert asked[0][0] == len(asked[0][1])
    assert effect["pictures"] == 20
    assert effect["fp32_accuracy"] == pytest.approx(18 / 20)
    assert 0.5 <= effect["accuracy"] <= 1.0
    line = next(line for line in lines if line.startswith("little: int8"))
    assert line.endswith(f"; {effect['accuracy']:.1%} of them right, 90.0% in fp32")


def test_the_pairs_own_ranges_and_calibrations_are_taken_for_its_own_weights(tiny_pair, tmp_path, monkeypatch):
    int8_is(monkeypatch, 2.0, 2.0)
    measured = export(tiny_pair, tmp_path / "measured")[1]
    (tiny_pair.parent / "ranges.json").write_text(json.dumps(measured["precision"]["stages"]["little"]["int8_ranges"]))
    text = tiny_pair.read_text().replace('onnx = "little.onnx"', 'onnx = "little.onnx"\nint8_ranges = "ranges.json"')
    tiny_pair.write_text(text)
    monkeypatch.setattr(quantising, "measure_ranges", None)
    says = export(tiny_pair, tmp_path / "out")[1]
    made = says["precision"]["stages"]["little"]
    assert (made["ranges"], "quantiser" in made) == ("the pair's", False)
    graphs = [(tmp_path / folder / "little/1/model.onnx").read_bytes() for folder in ("measured", "out")]
    assert graphs[0] == graphs[1]

    files = []
    for number, each in enumerate((measured, says)):
        weights = {
            stage: {
                "name": each["stages"][stage]["model"],
                "weights_sha256": each["stages"][stage]["weights"]["sha256"],
            }
            for stage in ("little", "big")
        }
        files.append(f"{number}.json")
        content = {**weights, "score": "margin", "chosen": {"threshold": 0.1 * (number + 1)}}
        (tiny_pair.parent / files[-1]).write_text(json.dumps(content))
    applied = []
    monkeypatch.setattr("littlebig_export.repository.apply_calibration", lambda *given: applied.append(given))
    tiny_pair.write_text(f"calibration = {json.dumps(files)}\n{text}")
    says = export(tiny_pair, tmp_path / "calibrated")[1]
    assert says["threshold"] == {"value": 0.2, "source": "calibration.json", "score": "margin"}
    assert len(applied) == 1


def test_ranges_of_another_graph_are_measured_anew_and_broken_ones_refused(tiny_pair, tmp_path, monkeypatch):
    int8_is(monkeypatch, 2.0, 2.0)
    ranges = tiny_pair.parent / "ranges.json"
    tiny_pair.write_text(
        tiny_pair.read_text().replace('onnx = "little.onnx"', 'onnx = "little.onnx"\nint8_ranges = "ranges.json"')
    )
    ranges.write_text('{"another": [0, 1]}')
    assert export(tiny_pair, tmp_path / "out")[1]["precision"]["stages"]["little"]["range_pictures"] == 10
    ranges.write_text('{"another": 1}')
    with pytest.raises(ExportError, match=r"^int8_ranges '.*ranges\.json' cannot be read"):
        export(tiny_pair, tmp_path / "out")


def test_other_weights_do_not_take_the_pairs_ranges(tmp_path):
    pair = load_pair("efficientnet-lite")
    assert pair.little.int8_ranges.is_file()
    assert len(pair.calibrations) == 3
    assert override_weights(pair, tmp_path / "mine.pt", None, random=False).little.int8_ranges is None


def test_data_and_labels_are_taken_as_predict_takes_them(tiny_pair, tmp_path, monkeypatch):
    int8_is(monkeypatch, 2.0, 2.0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for place, crop in enumerate(crops()[:20]):
        crop.save(folder / f"{place:02}.png")
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{place:02}.png,0\n" for place in range(20)))
    options = ["--pair", str(tiny_pair), "--target", "cpu", "--output", str(tmp_path / "out"), "--precision", "int8"]
    given = ["--data", str(folder), "--labels", str(tmp_path / "labels.csv")]
    result = CliRunner().invoke(command, [*options, *given])
    assert result.exit_code == 0, result.output
    assert "% of them right, " in result.output
    for wrong, message in (
        (["--labels", str(tmp_path / "labels.csv")], "give --data FOLDER too"),
        ([*given, "--pictures", str(folder)], "Give --pictures or --data, not both"),
        (["--data", str(folder)], "has no folder per class"),
    ):
        result = CliRunner().invoke(command, [*options, *wrong])
        assert (result.exit_code != 0, message in result.output) == (True, True), result.output


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
@pytest.mark.timeout(900)
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
