"""Models whose weights are in files beside the graph, and stay there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from littlebig_contract.onnx_runtime import open_session
from littlebig_export import weight_files
from littlebig_export.checking import check_pair
from littlebig_export.errors import ExportError
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from tests.tiny_pair import tiny_classifier


def large_classifier(path: Path, side: int, layers: int, opset: int = 18) -> None:
    """Like the tiny classifier, with square matrix products in front of its last layer and their weights in a file."""
    random = np.random.default_rng(0)
    weights = path.with_suffix(".weights")
    tiny_classifier(path, 32, maps=side)
    model = onnx.load(path)
    *body, last = model.graph.node
    for layer in range(layers):
        name = f"square{layer}"
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=(side, side))
        with weights.open("ab") as file:
            entries = {"location": weights.name, "offset": file.tell(), "length": 4 * side * side}
            (random.standard_normal((side, side), np.float32) / np.float32(side**0.5)).tofile(file)
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        tensor.data_location = TensorProto.EXTERNAL
        model.graph.initializer.append(tensor)
        body.append(helper.make_node("MatMul", [last.input[0], name], [f"{name}/out"]))
        last.input[0] = f"{name}/out"
    del model.graph.node[:]
    model.graph.node.extend([*body, last])
    model.opset_import[0].version = opset
    path.write_bytes(model.SerializeToString())


def large_pair(folder: Path, **options) -> Path:
    tiny_classifier(folder / "little.onnx", 24, seed=1)
    large_classifier(folder / "big.onnx", **options)
    path = folder / "large.toml"
    path.write_text(
        'name = "large"\n[little]\nonnx = "little.onnx"\nsize = 24\n[big]\nonnx = "big.onnx"\nsize = 32\ncrop_pct = 1.0\n'
    )
    return path


def export(pair_file: Path, output: Path, **options):
    export_pair(load_pair(str(pair_file)), options.pop("target", "cpu"), output, **options)
    graph = output / "big" / "1" / "model.onnx"
    if options.get("precision") != "bf16":  # opset 18 has no convolution in BF16, which TensorRT computes
        onnx.checker.check_model(str(graph), full_check=True)
    return graph


@pytest.fixture
def everything_is_large(monkeypatch):
    monkeypatch.setattr(weight_files, "LARGE", 1000)


@pytest.mark.parametrize("opset", [17, 18, 20])
def test_weights_in_files_give_the_answers_of_weights_in_the_graph(tmp_path, monkeypatch, opset):
    pair = large_pair(tmp_path, side=64, layers=2, opset=opset)
    inside = export(pair, tmp_path / "inside")
    monkeypatch.setattr(weight_files, "LARGE", 1000)
    beside = export(pair, tmp_path / "beside")
    assert not inside.with_name("model.onnx.data").exists()
    assert beside.with_name("model.onnx.data").stat().st_size > 2 * 4 * 64 * 64
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    answers = [open_session(graph).run(["probabilities"], {"image": images})[0] for graph in (inside, beside)]
    assert np.abs(answers[0] - answers[1]).max() < 1e-6
    stages = [json.loads((tmp_path / name / "littlebig.json").read_text())["stages"] for name in ("inside", "beside")]
    assert stages[0]["big"]["weights"] == stages[1]["big"]["weights"]


@pytest.mark.usefixtures("everything_is_large")
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_weights_in_files_are_lowered_in_files(tmp_path, precision):
    graph = export(large_pair(tmp_path, side=64, layers=2), tmp_path / "out", target="tensorrt", precision=precision)
    model = onnx.load(graph, load_external_data=False)
    element = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[precision]
    lowered = [tensor for tensor in model.graph.initializer if "square" in tensor.name]
    assert [tensor.data_type for tensor in lowered] == [element] * 2
    assert all(tensor.data_location == TensorProto.EXTERNAL for tensor in lowered)
    assert not any(entry.key.startswith("littlebig") for entry in model.metadata_props)


@pytest.mark.usefixtures("everything_is_large")
@pytest.mark.slow
def test_a_timm_model_goes_from_the_network_to_files(tmp_path):
    path = tmp_path / "timm.toml"
    path.write_text(
        'name = "timm"\n[little]\narchitecture = "test_efficientnet.r160_in1k"\nweights = "random"\n'
        '[big]\narchitecture = "test_vit.r160_in1k"\nweights = "random"\n'
    )
    assert export(path, tmp_path / "out").with_name("model.onnx.data").stat().st_size > 1_000_000


@pytest.mark.usefixtures("everything_is_large")
def test_tensorrt_builds_from_weights_in_files(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="pip install 'littlebig[check]'")
    pair = load_pair(str(large_pair(tmp_path, side=64, layers=2)))
    assert [checked.stage for checked in check_pair(pair, "fp16")] == ["big", "little"]


def test_a_missing_file_of_weights_is_one_line(tmp_path):
    pair = large_pair(tmp_path, side=64, layers=1)
    (tmp_path / "big.weights").unlink()
    with pytest.raises(ExportError, match=r"big\.weights") as error:
        export(pair, tmp_path / "out")
    assert "\n" not in str(error.value)


@pytest.mark.large
@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_exporting_needs_at_most_two_and_a_half_times_the_weights(tmp_path, target):
    pair = large_pair(tmp_path, side=4300, layers=8)
    weights = sum(path.stat().st_size for path in tmp_path.glob("big.*"))
    command = [sys.executable, "-m", "littlebig_cli", "export", "--pair", str(pair), "--target", target, "--output"]
    export = subprocess.Popen([*command, str(tmp_path / "out")], env={**os.environ, "PYTHONPATH": ":".join(sys.path)})
    _, status, usage = os.wait4(export.pid, 0)
    export.returncode = os.waitstatus_to_exitcode(status)
    assert export.returncode == 0
    assert usage.ru_maxrss * 1024 < 1e9 + 2.5 * weights
