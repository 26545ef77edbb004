import json
import shutil

import numpy as np
import onnx
import onnx.utils
import pytest
import torch
import torchvision
from click.testing import CliRunner
from onnx import helper, numpy_helper
from rich.console import Console

from littlebig_cli import build_progress
from littlebig_cli.main import littlebig
from littlebig_contract.stages import STAGES
from littlebig_export.checking import check_pair, check_repository
from littlebig_export.costs import count_macs
from littlebig_export.engine_build import Profile
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair, override_weights
from littlebig_export.precision import keep_reasons, to_precision
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.stage_graph import Backbone, stage_graph
from tests.tiny_pair import tiny_classifier

trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for Linux on x86-64: pip install 'littlebig[check]'")

OUTPUTS = ("label INT32 [batch, 1]", "confidence FLOAT [batch, 1]", "margin FLOAT [batch, 1]")


def check(*arguments):
    return CliRunner().invoke(littlebig, ["check", *map(str, arguments)])


def refusal(*arguments) -> str:
    result = check(*arguments)
    assert result.exit_code == 1
    return result.stderr.splitlines()[-1].removeprefix("littlebig: ")


def check_default_pair(results, big_megabytes):
    stages = {checked.stage: checked for checked in results}
    assert sorted(stages) == ["big", "little"]
    for checked in stages.values():
        assert checked.inputs == ("image UINT8 [batch, 260, 260, 3]",)
        assert checked.outputs == (*OUTPUTS, "probabilities FLOAT [batch, 1000]")
        assert checked.nodes_kept_in_fp32 == 0
        assert checked.profile == "1:8:32"
    assert stages["big"].plan_bytes / 1e6 == pytest.approx(big_megabytes, rel=0.34)


@pytest.mark.slow
def test_tensorrt_builds_the_default_pair_in_fp32(default_pair):
    check_default_pair(check_repository(default_pair), big_megabytes=30)


def test_tensorrt_builds_the_default_pair_in_fp16(default_pair, tmp_path):
    repository = shutil.copytree(default_pair, tmp_path / "fp16")
    facts = json.loads((default_pair / "littlebig.json").read_text())["stages"]
    transforms = {stage: transform(facts[stage]) for stage in STAGES}
    for stage, transformed in transforms.items():
        path = repository / stage / "1/model.onnx"
        backbone = onnx.utils.Extractor(onnx.load(path)).extract_model(["view"], ["backbone/logits"])
        assert keep_reasons(backbone, "fp16") == {}
        lowered = Backbone(to_precision(backbone, "fp16", {}), transformed)
        onnx.save(stage_graph(lowered, transforms["big"]), path)
    check_default_pair(check_repository(repository), big_megabytes=15)


def transform(facts):
    names = ("crop_pct", "crop_mode", "interpolation", "mean", "std")
    return Preprocessing(size=facts["input_size"], **{name: facts[name] for name in names})


@pytest.mark.slow
def test_the_check_exports_and_builds_the_default_pair():
    check_default_pair(check_pair(load_pair("efficientnet-lite"), "fp16"), big_megabytes=15)


@pytest.mark.large
@pytest.mark.parametrize(
    ("name", "gmacs"),
    [
        ("efficientvit", {"big": 81.08, "little": 5.27}),
        ("efficientnet", {"big": 38.33}),
        ("deit3", {"big": 191.21}),
    ],
)
def test_the_papers_large_pairs_parse_and_build_and_cost_what_timm_publishes(name, gmacs, monkeypatch):
    counted = []

    def counting(backbone, canonical):
        graph = stage_graph(backbone, canonical)
        counted.append(sum(macs for tensor, macs in count_macs(graph).items() if tensor.startswith("backbone/")) / 1e9)
        return graph

    # An export takes half a minute: what it makes is checked and counted.
    monkeypatch.setattr("littlebig_export.stage_graph.stage_graph", counting)
    pair = override_weights(load_pair(name), None, None, random=True)
    checked = list(check_pair(pair, "fp16"))
    assert [one.stage for one in checked] == ["big", "little"]
    assert all((one.nodes_kept_in_fp32 > 0) == (name == "efficientvit") for one in checked)
    costs = dict(zip(("big", "little"), counted, strict=True))
    assert {stage: costs[stage] for stage in gmacs} == pytest.approx(gmacs, rel=0.02)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter that most ONNX files still come from
def test_a_pair_of_torchvision_models_parses_and_builds(tmp_path):
    torch.manual_seed(0)
    for name, model, size in (
        ("little", torchvision.models.squeezenet1_1(), 64),
        ("big", torchvision.models.shufflenet_v2_x0_5(), 96),
    ):
        torch.onnx.export(
            model.eval(),
            (torch.zeros(2, 3, size, size),),
            str(tmp_path / f"{name}.onnx"),
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            dynamic_axes={"input": {0: "batch"}},
        )
    pair = tmp_path / "pair.toml"
    pair.write_text('name = "own"\n[little]\nonnx = "little.onnx"\nsize = 64\n[big]\nonnx = "big.onnx"\nsize = 96\n')
    result = check("--pair", pair)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("TensorRT takes the graph, fp16") == 2
    assert "  output  probabilities FLOAT [batch, 1000]\n" in result.stdout


def test_a_repository_is_checked_without_its_pair(tiny_pair, tmp_path):
    export_pair(load_pair(str(tiny_pair)), "tensorrt", tmp_path / "out")
    result = check("--repository", tmp_path / "out", "--compute-capability", "8.6", "--profile", "1:2:40")
    assert result.exit_code == 0, result.output
    first, image, *outputs = result.stdout.splitlines()[:6]
    assert first.startswith("little: TensorRT takes the graph, fp16 with 0 nodes kept in fp32; engine of ")
    assert " MB for batches 1:2:40 in " in first
    assert image == "  input   image UINT8 [batch, 32, 32, 3]"
    assert outputs == [f"  output  {tensor}" for tensor in (*OUTPUTS, "probabilities FLOAT [batch, 5]")]
    assert not list((tmp_path / "out").rglob("*.plan*"))


def test_nodes_that_tensorrt_does_not_support_are_named(tiny_pair, tmp_path):
    path = tiny_pair.parent / "big.onnx"
    model = onnx.load(path)
    # The determinant of one by one matrices: ONNX Runtime has it, TensorRT does not.
    model.graph.node[-1].output[0] = "plain"
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 1, 1], np.int64), "shape"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 5, 1, 1], np.int64), "square"))
    model.graph.node.append(helper.make_node("Reshape", ["plain", "square"], ["squares"], name="squares"))
    model.graph.node.append(helper.make_node("Det", ["squares"], ["logits"], name="volume"))
    onnx.save(model, path)
    message = refusal("--pair", tiny_pair, "--precision", "fp32")
    assert message == "TensorRT does not support 'backbone/volume' (Det) in 'big'"


def test_models_that_are_no_pair_are_refused(tiny_pair):
    tiny_classifier(tiny_pair.parent / "little.onnx", 24, classes=7)
    assert refusal("--pair", tiny_pair) == (
        "the two models have different numbers of classes: little 7, big 5; a pair needs two classifiers over the same classes"
    )


def test_tensorrt_builds_a_model_whose_batch_was_fixed(tiny_pair):
    tiny_classifier(tiny_pair.parent / "big.onnx", 32, batch=4)
    assert [checked.stage for checked in check_pair(load_pair(str(tiny_pair)), "fp16")] == ["big", "little"]


def test_a_repository_without_a_graph_is_refused(tiny_pair, tmp_path):
    export_pair(load_pair(str(tiny_pair)), "tensorrt", tmp_path / "out")
    graph = tmp_path / "out/little/1/model.onnx"
    graph.unlink()
    assert refusal("--repository", tmp_path / "out") == f"'{graph}' is missing: export the repository again"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --repository and --pair"),
        (["--pair", "a", "--repository", "b"], "give one of --repository and --pair"),
        (["--repository", "b", "--random-weights"], "--random-weights and --precision go with --pair"),
        (["--repository", "b", "--precision", "fp32"], "--random-weights and --precision go with --pair"),
    ],
)
def test_contradictions_are_wrong_usage(arguments, message):
    result = check(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_graphs_of_all_repositories_before_the_first_precision_are_fp32(tiny_pair, tmp_path):
    export_pair(load_pair(str(tiny_pair)), "cpu", tmp_path / "out")
    assert [one.precision for one in check_repository(tmp_path / "out", profile=Profile(1, 1, 1))] == ["fp32"] * 2


def test_a_terminal_sees_the_phases(monkeypatch, capsys):
    monkeypatch.setattr(build_progress, "console", lambda *, stderr: Console(stderr=stderr, force_terminal=True))
    with build_progress.BuildProgress() as progress:
        progress.phase_started("Building engine", None, 2)
        progress.phase_started("Timing", "Building engine", 4)
        progress.step_done("Timing", 0)
        progress.step_done("Building engine", 0)
        assert progress._bar.tasks[0].completed == 1
        progress.phase_finished("Timing")
        progress.phase_finished("Building engine")
        assert progress._bar.tasks[0].completed == progress._bar.tasks[0].total == 2
        progress._bar.refresh()
    assert "Timing" in capsys.readouterr().err


def test_a_pipe_sees_no_bar(capsys):
    with build_progress.BuildProgress() as progress:
        progress.phase_started("Building engine", None, 2)
    assert capsys.readouterr().err == ""


def test_tensorrt_builds_int8_graphs(tiny_pair):
    results = list(check_pair(load_pair(str(tiny_pair)), "little=int8,big=int8"))
    assert [(checked.stage, checked.precision) for checked in results] == [("big", "int8"), ("little", "int8")]
    assert all(checked.outputs[:3] == OUTPUTS for checked in results)
