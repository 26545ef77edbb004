"""PyTorch's exporter: plain attention where fused attention cannot be traced, and one line where nothing can."""

from types import SimpleNamespace

import onnx
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from littlebig_export import classifiers, tracing  # noqa: E402
from littlebig_export.errors import GraphError, PairError  # noqa: E402
from littlebig_export.pair import TimmModel, load_pair  # noqa: E402


class Attention(torch.nn.Module):
    fused_attn = True


def test_plain_attention_is_tried_where_fused_attention_fails(monkeypatch):
    tried = []

    def export(network, *_, **__):
        tried.append(network.fused_attn)
        if network.fused_attn:
            raise RuntimeError("fused")
        graph = SimpleNamespace(initializers={})
        return SimpleNamespace(model=SimpleNamespace(graph=graph), model_proto=onnx.ModelProto(ir_version=7))

    monkeypatch.setattr("torch.onnx.export", export)
    assert tracing.export_network(Attention(), 8, "m").ir_version == 7
    assert tried == [True, False]


def test_the_exporters_failure_is_one_line_without_its_log(monkeypatch, capfd):
    def export(*_, **__):
        print("a log of 143 lines")
        try:
            raise KeyError("aten.rare\nand a stack of modules")
        except KeyError as reason:
            raise RuntimeError("step 1\nstep 2\n") from reason

    monkeypatch.setattr("torch.onnx.export", export)
    with pytest.raises(GraphError) as error:
        tracing.export_network(torch.nn.Identity(), 8, "rare_net")
    message = str(error.value)
    assert message.startswith(f"'rare_net' cannot be exported to ONNX by torch {torch.__version__}: KeyError: ")
    assert message.endswith("; choose another model, or bring an ONNX file of it")
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_a_model_without_a_head_is_called_that(monkeypatch):
    monkeypatch.setattr(classifiers, "load_timm", lambda model: SimpleNamespace(num_classes=0))
    with pytest.raises(PairError) as error:
        classifiers.prepare(TimmModel("vit_small_patch14_dinov2", "random"))
    assert str(error.value) == (
        "'vit_small_patch14_dinov2' has no classifier head (num_classes = 0), it only computes features: "
        "choose a model that was trained to classify"
    )


def test_a_stage_may_replace_timms_transform(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(
        'name = "p"\n[little]\narchitecture = "resnet18"\n[big]\narchitecture = "resnet50"\ncrop_mode = "center"\n'
        "crop_pct = 1\n"
    )
    pair = load_pair(str(path))
    assert pair.little.transform == {}
    assert pair.big.transform == {"crop_mode": "center", "crop_pct": 1.0}
