"""INT8 graphs that the user brings."""

import json

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from littlebig_contract.onnx_runtime import open_session
from littlebig_export.checking import check_repository
from littlebig_export.errors import ExportError
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair


class Noise(CalibrationDataReader):
    def __init__(self, size):
        random = np.random.default_rng(0)
        self.batches = iter([{"pixels": random.normal(size=(4, 3, size, size)).astype(np.float32)} for _ in range(4)])

    def get_next(self):
        return next(self.batches, None)


@pytest.fixture
def quantised_pair(tiny_pair, capfd):
    """The tiny pair with both models quantised by ONNX Runtime, per channel and with INT32 biases."""
    for name, size in (("little", 24), ("big", 32)):
        path = tiny_pair.with_name(f"{name}.onnx")
        model = onnx.load(path)
        bias = onnx.numpy_helper.from_array(np.linspace(-1, 1, 8, dtype=np.float32), "bias")
        model.graph.initializer.append(bias)
        model.graph.node[0].input.append("bias")
        options = {"ActivationSymmetric": True}
        types = {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
        quantize_static(model, path, Noise(size), per_channel=True, extra_options=options, **types)
    capfd.readouterr()
    return tiny_pair


def export(pair_file, output, target, **options):
    lines = []
    export_pair(load_pair(str(pair_file)), target, output, report=lines.append, **options)
    return lines


def nodes(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return [node.op_type for node in model.graph.node]


def test_the_cpu_target_serves_them_as_they_are(quantised_pair, tmp_path):
    export(quantised_pair, tmp_path / "out", "cpu")
    served, given = nodes(tmp_path / "out/little/1/model.onnx"), nodes(quantised_pair.with_name("little.onnx"))
    for operator in ("QuantizeLinear", "DequantizeLinear"):
        assert served.count(operator) == given.count(operator) > 0


def test_tensorrt_gets_their_nodes_without_casts_and_with_float_biases(quantised_pair, tmp_path):
    lines = export(quantised_pair, tmp_path / "out", "tensorrt")
    assert "little: its Q/DQ nodes stay as they are, its biases become fp32, all else is fp32" in lines
    served, given = nodes(tmp_path / "out/little/1/model.onnx"), nodes(quantised_pair.with_name("little.onnx"))
    assert served.count("QuantizeLinear") == given.count("QuantizeLinear")
    assert served.count("DequantizeLinear") == given.count("DequantizeLinear") - 1
    assert served.count("Cast") == 2  # of the image and of the label
    says = json.loads((tmp_path / "out/littlebig.json").read_text())
    assert says["precision"]["name"] == "little=int8,big=int8"
    export(quantised_pair, tmp_path / "cpu", "cpu")
    assert (
        says["stages"]["big"]["weights"]
        == json.loads((tmp_path / "cpu/littlebig.json").read_text())["stages"]["big"]["weights"]
    )
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    answers = [
        open_session(tmp_path / target / "little/1/model.onnx").run(["probabilities"], {"image": images})[0]
        for target in ("out", "cpu")
    ]
    assert np.abs(answers[0] - answers[1]).max() < 0.05


def test_tensorrt_builds_them(quantised_pair, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="pip install 'littlebig[check]'")
    export(quantised_pair, tmp_path / "out", "tensorrt")
    assert [checked.precision for checked in check_repository(tmp_path / "out")] == ["int8", "int8"]


def test_they_are_not_quantised_again(quantised_pair, tmp_path):
    with pytest.raises(ExportError, match=r"^'little' is quantised already: leave int8 out of --precision$"):
        export(quantised_pair, tmp_path / "out", "cpu", precision="int8")
