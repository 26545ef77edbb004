"""InternImage as a stage: TensorRT takes its sampling, and its costs are the published ones."""

import onnx
import pytest

torch = pytest.importorskip("torch")

from littlebig_export.costs import pair_costs  # noqa: E402
from littlebig_export.engine_build import BuildSettings, Profile, build_plan  # noqa: E402
from littlebig_export.internimage import InternImage  # noqa: E402
from littlebig_export.pair import load_pair  # noqa: E402
from littlebig_export.precision import keep_reasons, to_precision, with_node_names  # noqa: E402
from littlebig_export.preprocessing import Preprocessing  # noqa: E402
from littlebig_export.stage_graph import Backbone, stage_graph  # noqa: E402
from littlebig_export.tracing import export_network  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize("large", [False, True])
def test_tensorrt_builds_a_small_internimage_with_its_sampling_in_fp32(tmp_path, large):
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for Linux on x86-64")
    torch.manual_seed(0)
    network = InternImage(32, (1, 1, 6, 1), 2, num_classes=5, large=large).eval()
    graph = with_node_names(export_network(network, 64, "small"))
    kept = keep_reasons(graph, "fp16", load_pair("internimage").big.fp32)
    preprocessing = Preprocessing(64, 1.0, "center", "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    stage = stage_graph(Backbone(to_precision(graph, "fp16", kept), preprocessing), preprocessing)
    onnx.save(stage, str(tmp_path / "model.onnx"))
    plan = build_plan(trt, tmp_path / "model.onnx", BuildSettings(Profile(1, 2, 4), compute_capability="8.9"))
    assert plan.inputs == ("image UINT8 [batch, 64, 64, 3]",)
    assert plan.outputs[-1] == "probabilities FLOAT [batch, 5]"


@pytest.mark.slow
def test_the_pair_costs_what_is_published():
    (little, big), canonical = pair_costs(load_pair("internimage"))
    assert canonical == 512
    assert little.macs / 1e9 == pytest.approx(5, rel=0.04)
    assert big.macs / 1e9 == pytest.approx(2700, rel=0.01)
    assert (little.parameters / 1e6, big.parameters / 1e9) == pytest.approx((29.9, 3.08), rel=0.01)
