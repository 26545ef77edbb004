"""InternImage on standard operators: DCNv3 against plain loops, the published sizes and names, and the export."""

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from littlebig_export import weights  # noqa: E402
from littlebig_export.internimage import DCNv3, DeformableSampling, InternImage  # noqa: E402
from littlebig_export.pair import TimmModel, load_pair  # noqa: E402
from littlebig_export.precision import keep_reasons, to_precision, with_node_names  # noqa: E402
from littlebig_export.tracing import export_network  # noqa: E402

POINTS = 9


def bilinear(plane, y, x):
    """A map's value between its positions; zero outside."""
    top, left = int(np.floor(y)), int(np.floor(x))
    total = 0.0
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total += plane[row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def sampled_by_loops(values, offsets, shares, groups, scale):
    """DCNv3's sampling of one image, [H,W,C], as its paper states it: x varies slowest among the points."""
    height, width, channels = values.shape
    result = np.zeros(values.shape)
    offsets = offsets.reshape(height, width, groups, POINTS, 2)
    shares = shares.reshape(height, width, groups, POINTS)
    for row, column, channel in np.ndindex(height, width, channels):
        group = channel // (channels // groups)
        for point in range(POINTS):
            move_x, move_y = offsets[row, column, group, point]
            x = column + scale * (point // 3 - 1 + move_x)
            y = row + scale * (point % 3 - 1 + move_y)
            result[row, column, channel] += shares[row, column, group, point] * bilinear(values[..., channel], y, x)
    return result


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_sampling_equals_plain_loops_within_and_beyond_the_border(scale):
    random = np.random.default_rng(0)
    values = random.normal(size=(2, 4, 5, 6))
    offsets = random.normal(scale=2.0, size=(2, 4, 5, 3 * POINTS * 2))
    shares = random.uniform(size=(2, 4, 5, 3 * POINTS))
    tensors = (torch.from_numpy(array.astype(np.float32)) for array in (values, offsets, shares))
    found = DeformableSampling(3, scale)(*tensors).numpy()
    for image in range(2):
        expected = sampled_by_loops(values[image], offsets[image], shares[image], 3, scale)
        np.testing.assert_allclose(found[image], expected, atol=1e-4)


def test_dcnv3_weighs_by_a_softmax_in_each_group_and_mixes_in_the_centre():
    torch.manual_seed(0)
    layer = DCNv3(8, 2, 1.0, 5, scale_centre=True).eval()
    image = torch.randn(1, 4, 4, 8)
    with torch.inference_mode():
        found = layer(image).numpy()[0]
        local = layer.dw_conv(image.permute(0, 3, 1, 2))
        values, offsets = layer.input_proj(image).numpy()[0], layer.offset(local).numpy()[0]
        logits = layer.mask(local).numpy()[0].reshape(4, 4, 2, POINTS)
        centre = local.numpy()[0] @ layer.center_feature_scale_proj_weight.numpy().T
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    sampled = sampled_by_loops(values, offsets, shares, 2, 1.0)
    share = np.repeat(1 / (1 + np.exp(-centre)), 4, axis=-1)
    mixed = sampled * (1 - share) + values * share
    weight, bias = (value.detach().numpy() for value in (layer.output_proj.weight, layer.output_proj.bias))
    np.testing.assert_allclose(found, mixed @ weight.T + bias, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "millions"), [("t", 30), ("s", 50), ("b", 97), ("l", 223), ("xl", 335), ("h", 1080), ("g", 3000)]
)
def test_each_size_has_the_published_number_of_parameters(name, millions):
    with torch.device("meta"):
        network = timm.create_model(f"internimage_{name}")
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.03)


def names_of(prefix, *modules):
    return {f"{prefix}{module}.{kind}" for module in modules for kind in ("weight", "bias")}


def test_parameters_have_the_published_names():
    with torch.device("meta"):
        small, large = timm.create_model("internimage_s").state_dict(), timm.create_model("internimage_h").state_dict()
    dcn = ("dw_conv.0", "dw_conv.1.1", "offset", "mask", "input_proj", "output_proj")
    block = names_of("dcn.", *dcn) | names_of("", "norm1.0", "norm2.0", "mlp.fc1", "mlp.fc2")
    prefix = "levels.2.blocks.20."
    found = {name.removeprefix(prefix) for name in small if name.startswith(prefix)}
    assert found == block | {"gamma1", "gamma2"}
    assert {name for name in small if not name.startswith("levels.")} == {
        *names_of("patch_embed.", "conv1", "norm1.1", "conv2", "norm2.1"),
        *names_of("", "conv_head.1.0", "head"),
        *(f"conv_head.1.0.{kind}" for kind in ("running_mean", "running_var", "num_batches_tracked")),
        "conv_head.0.weight",
    }
    found = {name.removeprefix(prefix) for name in large if name.startswith(prefix)}
    centre = {f"dcn.center_feature_scale_proj_{kind}" for kind in ("weight", "bias")}
    assert found == block | centre | names_of("", "res_post_norm1.0", "res_post_norm2.0")
    assert {name for name in large if name.startswith("levels.2.") and ".blocks." not in name} == {
        *names_of("levels.2.", "norm.0", "downsample.norm.1", *(f"post_norms.{index}.0" for index in range(5))),
        "levels.2.downsample.conv.weight",
    }
    assert {name for name in large if not name.startswith(("levels.", "patch_embed."))} == {
        *names_of("", "dcnv3_head_x4.0", "dcnv3_head_x3", "fc_norm.0", "head", "clip_projector.cross_dcn.proj"),
        *names_of("clip_projector.", "norm1_q.0", "norm1_k.0", "norm1_v.0"),
        *(f"clip_projector.cross_dcn.{part}" for each in "qkv" for part in (f"{each}.weight", f"{each}_bias")),
    }


def small(**settings):
    torch.manual_seed(0)
    network = InternImage(32, (1, 1, 1, 1), 2, num_classes=5, **settings).eval()
    # Logits of random weights are near each other; wide ones show a difference.
    with torch.no_grad():
        network.head.weight *= 10
    return network


@pytest.mark.slow
def test_onnx_runtime_answers_as_pytorch_does_also_with_half_precision_around_the_sampling():
    network = small(layer_scale=False, large=True)
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = network(images).numpy()
    assert np.ptp(expected, axis=-1).min() > 1.0
    graph = with_node_names(export_network(network, 64, "small"))
    kept = keep_reasons(graph, "fp16", load_pair("internimage").big.fp32)
    sampling = {node.name for node in graph.graph.node if node.op_type == "GridSample"}
    assert len(sampling) == 4
    assert sampling <= set(kept)
    for model, difference in ((graph, 1e-4), (to_precision(graph, "fp16", kept), 0.05)):
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(session.run(None, {"pixels": images.numpy()})[0], expected, atol=difference)


def test_a_published_checkpoint_is_loaded_by_name(tmp_path, monkeypatch):
    saved = small()
    torch.save({"model": saved.state_dict()}, tmp_path / "internimage.pth")
    monkeypatch.setattr(weights.timm, "create_model", lambda *_, **__: small(offset_scale=2.0).apply(zeroed))
    loaded = weights.load_timm(TimmModel("internimage_t", f"file:{tmp_path / 'internimage.pth'}"))
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in saved.state_dict().items())


def zeroed(module):
    for parameter in module.parameters(recurse=False):
        parameter.data.zero_()
