"""`--decoder`: what an export writes for preprocess."""

import json

import pytest
from littlebig_preprocess import PreprocessSettings
from tritonclient.grpc import model_config_pb2

from littlebig_export.config_pbtxt import read_config
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from tests.tiny_pair import write_tiny_pair

GROUP = model_config_pb2.ModelInstanceGroup


def export(folder, **options):
    export_pair(load_pair(str(write_tiny_pair(folder))), options.pop("target", "cpu"), folder / "models", **options)
    message = read_config(folder / "models/preprocess/config.pbtxt").message
    parameters = {name: value.string_value for name, value in message.parameters.items()}
    PreprocessSettings.from_parameters(message.output[0].dims[0], parameters)
    recorded = json.loads((folder / "models/littlebig.json").read_text())["canonical_image"]["decode"]
    assert recorded == parameters["decode"]
    return message, parameters, sorted(path.name for path in (folder / "models/preprocess/1").glob("*.onnx"))


@pytest.mark.parametrize(("target", "kind"), [("cpu", GROUP.KIND_CPU), ("cuda", GROUP.KIND_GPU)])
def test_nvimagecodec_decodes_where_the_stages_compute_every_pixel(tmp_path, target, kind):
    message, parameters, graphs = export(tmp_path, target=target, decoder="nvimagecodec")
    assert message.instance_group[0].kind == kind
    assert parameters["decoder"] == "nvimagecodec"
    assert parameters["decode"] == "full"
    assert graphs == ["resize.onnx", "resize_turned.onnx"]


def test_pillow_decodes_on_the_cpu_unless_asked(tmp_path):
    message, parameters, graphs = export(tmp_path, target="cuda")
    assert message.instance_group[0].kind == GROUP.KIND_CPU
    assert "decoder" not in parameters
    assert parameters["decode"] == "scaled"
    assert graphs == []
