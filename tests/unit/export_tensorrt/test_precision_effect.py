import json

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, numpy_helper
from PIL import Image

from littlebig_cli.main import littlebig
from littlebig_export.errors import ExportError, NotHereError
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from littlebig_export.pictures import pictures_in


def export(pair_file, output, **options):
    lines = []
    export_pair(load_pair(str(pair_file)), "tensorrt", output, report=lines.append, **options)
    return lines, json.loads((output / "littlebig.json").read_text())["precision"]


def test_the_command_builds_no_engine_where_it_cannot_and_says_what_to_do(tiny_pair, tmp_path, monkeypatch):
    def missing():
        raise NotHereError("there is no GPU")

    monkeypatch.setattr("littlebig_export.engines.load_tensorrt", missing)
    output = tmp_path / "out"
    arguments = [
        "export",
        "--pair",
        str(tiny_pair),
        "--target",
        "tensorrt",
        "--precision",
        "bf16",
        "--output",
        str(output),
    ]
    result = CliRunner().invoke(littlebig, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{output}\n"
    assert result.stderr.splitlines()[-2:] == [
        "no engines yet: there is no GPU",
        f"on the GPU host: littlebig build --repository {output}",
    ]


def refusal(action) -> str:
    with pytest.raises(ExportError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_tensorrt_graphs_are_fp16_between_fp32_ends(tiny_pair, tmp_path):
    lines, says = export(tiny_pair, tmp_path / "out")
    graph = onnx.load(tmp_path / "out/little/1/model.onnx").graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert types["backbone/kernel/low"] == TensorProto.FLOAT16
    assert types["resample_rows"] == types["scale"] == TensorProto.FLOAT
    assert graph.node[0].op_type == "Cast"
    assert [value.type.tensor_type.elem_type for value in graph.output[1:]] == [TensorProto.FLOAT] * 3
    assert says["name"] == "fp16"
    effect = says["stages"]["little"]["effect"]
    assert effect["top1_agreement"] == 1.0
    assert 0.0 < effect["confidence_change_p99"] <= effect["confidence_change_largest"] < 0.05
    little = next(line for line in lines if line.startswith("little: fp16"))
    assert "0 nodes kept in fp32; same label on 100.0% of 7 photographs, confidence differs by at most 0.0" in little
    assert little.endswith("% of decisions change")


def test_fp32_engines_have_nothing_to_tell(tiny_pair, tmp_path):
    _, says = export(tiny_pair, tmp_path / "out", precision="fp32")
    assert says == {"name": "fp32", "stages": {}}


def test_bf16_is_coarser_than_fp16(tiny_pair, tmp_path):
    changes = [
        export(tiny_pair, tmp_path / name, precision=name)[1]["stages"]["big"]["effect"]["confidence_change_largest"]
        for name in ("fp16", "bf16")
    ]
    assert changes[0] < changes[1]


def test_the_cpu_target_takes_no_half(tiny_pair, tmp_path):
    pair = load_pair(str(tiny_pair))
    assert (
        refusal(lambda: export_pair(pair, "cpu", tmp_path / "out", precision="fp16"))
        == "--precision 'fp16': target cpu computes in one of int8, fp32"
    )


def scale_up(path, factor):
    """Make the first convolution's results too large for FP16, and the classifier undo it."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        by = factor if tensor.name == "kernel" else 1 / factor
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(by), tensor.name))
    onnx.save(model, path)


def test_layers_that_would_overflow_stay_in_fp32(tiny_pair, tmp_path):
    scale_up(tiny_pair.parent / "little.onnx", 5e3)
    lines, says = export(tiny_pair, tmp_path / "out")
    little = says["stages"]["little"]
    assert little["effect"]["top1_agreement"] == 1.0
    assert any(reason.endswith(" on photographs") for reason in little["kept_in_fp32"].values())
    assert says["stages"]["big"]["kept_in_fp32"] == {}
    assert any(f"little: fp16, {len(little['kept_in_fp32'])} nodes kept in fp32" in line for line in lines)


def test_an_overflow_on_other_pictures_is_refused(tiny_pair, tmp_path, monkeypatch):
    scale_up(tiny_pair.parent / "little.onnx", 5e4)
    monkeypatch.setattr("littlebig_export.precision_effect.largest_values", lambda model, images: {})
    assert refusal(lambda: export(tiny_pair, tmp_path / "out")) == (
        "fp16 overflows on 7 of 7 photographs: name the layers that do in the pair's fp32 setting, "
        "or export with --precision bf16 or fp32"
    )
    assert not (tmp_path / "out").exists()


def test_the_pair_file_keeps_what_it_names(tiny_pair, tmp_path):
    tiny_pair.write_text(tiny_pair.read_text() + 'fp32 = ["Gemm"]\n')
    _, says = export(tiny_pair, tmp_path / "out")
    assert list(says["stages"]["big"]["kept_in_fp32"].values()) == ["the pair's fp32 names 'Gemm'"]
    assert says["stages"]["little"]["kept_in_fp32"] == {}


def test_a_wrong_fp32_setting_is_reported(tiny_pair):
    tiny_pair.write_text(tiny_pair.read_text() + "fp32 = 'Gemm'\n")
    assert refusal(lambda: load_pair(str(tiny_pair))) == (
        f"{tiny_pair}: [big] fp32 = 'Gemm' is not a list of patterns such as [\"LiteMLA\"]"
    )


def test_own_pictures_measure_the_effect(tiny_pair, tmp_path):
    folder = tmp_path / "pictures" / "deep"
    folder.mkdir(parents=True)
    for index in range(3):
        Image.new("RGB", (40, 50), (index * 80, 90, 20)).save(folder / f"{index}.PNG")
    (folder / "notes.txt").write_text("not a picture")
    _, says = export(tiny_pair, tmp_path / "out", pictures=pictures_in(tmp_path / "pictures"))
    assert says["stages"]["little"]["effect"]["pictures"] == 3


def test_folders_without_pictures_and_broken_pictures_are_reported(tmp_path):
    assert (
        refusal(lambda: pictures_in(tmp_path)) == f"no pictures (.bmp, .gif, .jpeg, .jpg, .png, .webp) in '{tmp_path}'"
    )
    (tmp_path / "broken.jpg").write_bytes(b"no")
    assert refusal(lambda: pictures_in(tmp_path)).startswith(f"'{tmp_path}/broken.jpg' cannot be read as a picture: ")
