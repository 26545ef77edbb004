"""InternImage, in all its published sizes, on standard operators: registered with timm, which does not have it.

Source of the architecture: arXiv 2211.05778 and the configurations published in github.com/OpenGVLab/InternImage.
Names and order of parameters are those of the published state dicts. Numbers are random until a state dict is loaded,
the offsets' too, so that a check with random weights samples between pixels; they are no start for training.
"""

# mypy: allow-subclassing-any
from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

_KERNEL = 3
_POINTS = _KERNEL**2
# The pooling head of H and G: its width, the attention's heads, and the width of what it pools.
_POOL_WIDTH, _POOL_HEADS, _POOLED = 1024, 16, 768
_SIZES: dict[str, dict[str, Any]] = {
    "t": {"channels": 64, "depths": (4, 4, 18, 4), "groups": 4, "norm": "pre", "layer_scale": False},
    "s": {"channels": 80, "depths": (4, 4, 21, 4), "groups": 5},
    "b": {"channels": 112, "depths": (4, 4, 21, 4), "groups": 7},
    "l": {"channels": 160, "depths": (5, 5, 22, 5), "groups": 10, "offset_scale": 2.0},
    "xl": {"channels": 192, "depths": (5, 5, 24, 5), "groups": 12, "offset_scale": 2.0},
    "h": {"channels": 320, "depths": (6, 6, 32, 6), "groups": 10, "norm": "res_post", "large": True},
    "g": {"channels": 512, "depths": (2, 2, 48, 4), "groups": 16, "large": True},
}


@functools.cache
def _coordinates(height: int, width: int, scale: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Where DCNv3 samples a map when all offsets are zero.

    Args:
        height: of the map.
        width: of the map.
        scale: distance of the kernel's points, in positions.

    Returns:
        In GridSample's units, x before y: `scale` positions as [2], and the points as [H*W,1,9,2]. A map reaches from
        -1 to 1, so that its first position's centre is at 1 / size - 1. The kernel's x varies slowest.
    """
    unit = np.array([2.0 / width, 2.0 / height])
    y, x = np.mgrid[:height, :width].reshape(2, -1, 1, 1)
    kernel_x, kernel_y = np.mgrid[-1:2, -1:2].reshape(2, 1, 1, _POINTS)
    points = np.stack([x + scale * kernel_x + 0.5, y + scale * kernel_y + 0.5], -1) * unit - 1.0
    return (scale * unit).astype(np.float32), points.astype(np.float32)


class DeformableSampling(nn.Module):
    """DCNv3's sampling: a weighted sum of 9 bilinear samples for each group of channels and each position.

    Coordinates need FP32: half precision places a sample on a map of 128 positions no nearer than 1/32 of a position.
    The pair's `fp32` names this class.
    """

    def __init__(self, groups: int, offset_scale: float) -> None:
        """Take the number of groups, and the factor of offsets and kernel."""
        super().__init__()
        self.groups, self.offset_scale = groups, offset_scale

    def forward(self, values: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
        """Sample a map.

        Args:
            values: [N,H,W,C]; zero outside the map.
            offsets: [N,H,W,groups*9*2], x and y of each point, in positions, against a 3 x 3 kernel of which x varies
                slowest; scaled, with the kernel, by `offset_scale`.
            weights: [N,H,W,groups*9].

        Returns:
            [N,H,W,C].
        """
        height, width, channels = values.shape[1:]
        positions, groups = height * width, self.groups
        step, points = _coordinates(height, width, self.offset_scale)
        offsets = offsets.reshape(-1, positions, groups, _POINTS, 2)
        grid = offsets * torch.tensor(step).to(offsets.device) + torch.tensor(points).to(offsets.device)
        grid = grid.transpose(1, 2).reshape(-1, positions, _POINTS, 2)
        maps = values.permute(0, 3, 1, 2).reshape(-1, channels // groups, height, width)
        samples = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        weights = weights.reshape(-1, positions, groups, _POINTS).transpose(1, 2).reshape(-1, 1, positions, _POINTS)
        return (samples * weights).sum(-1).reshape(-1, channels, height, width).permute(0, 2, 3, 1)


class DCNv3(nn.Module):
    """Deformable convolution, version 3: [N,H,W,C] -> [N,H,W,C]."""

    def __init__(self, channels: int, groups: int, offset_scale: float, dw_kernel: int, *, scale_centre: bool) -> None:
        """Take its sizes, and whether its result is mixed with the position's own values."""
        super().__init__()
        self.groups = groups
        self.scale_centre = scale_centre
        if scale_centre:
            self.center_feature_scale_proj_weight = nn.Parameter(torch.randn(groups, channels) * channels**-0.5)
            self.center_feature_scale_proj_bias = nn.Parameter(torch.zeros(groups))
        self.dw_conv = nn.Sequential(
            nn.Conv2d(channels, channels, dw_kernel, padding=dw_kernel // 2, groups=channels),
            _norm(channels, first_in=True),
            nn.GELU(),
        )
        self.offset = nn.Linear(channels, groups * _POINTS * 2)
        self.mask = nn.Linear(channels, groups * _POINTS)
        self.input_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.sampling = DeformableSampling(groups, offset_scale)

    def forward(self, x: Tensor) -> Tensor:
        """[N,H,W,C] -> [N,H,W,C]."""
        values = self.input_proj(x)
        local = self.dw_conv(x.permute(0, 3, 1, 2))
        weights = self.mask(local).unflatten(-1, (self.groups, _POINTS)).softmax(-1).flatten(-2)
        sampled: Tensor = self.sampling(values, self.offset(local), weights)
        if self.scale_centre:
            share = F.linear(local, self.center_feature_scale_proj_weight, self.center_feature_scale_proj_bias)
            share = share.sigmoid().unsqueeze(-1)
            groups = (self.groups, x.shape[-1] // self.groups)
            sampled = (sampled.unflatten(-1, groups) * (1 - share) + values.unflatten(-1, groups) * share).flatten(-2)
        mixed: Tensor = self.output_proj(sampled)
        return mixed


class _Permute(nn.Module):
    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


def _norm(channels: int, *, first_in: bool = False, first_out: bool = False) -> nn.Sequential:
    """Layer norm over the channels, which may come first before and after it."""
    layers: list[nn.Module] = [_Permute(0, 2, 3, 1)] if first_in else []
    layers.append(nn.LayerNorm(channels, eps=1e-6))
    return nn.Sequential(*layers, *([_Permute(0, 3, 1, 2)] if first_out else []))


def _chain(**layers: nn.Module) -> nn.Sequential:
    """Layers one after another, by name."""
    return nn.Sequential(OrderedDict(layers))


def _stem(colours: int, channels: int) -> nn.Sequential:
    """[N,3,S,S] -> [N,S/4,S/4,C]."""
    return _chain(
        conv1=nn.Conv2d(colours, channels // 2, 3, stride=2, padding=1),
        norm1=_norm(channels // 2, first_in=True, first_out=True),
        act=nn.GELU(),
        conv2=nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1),
        norm2=_norm(channels, first_in=True),
    )


def _downsample(channels: int) -> nn.Sequential:
    """[N,H,W,C] -> [N,H/2,W/2,2C]."""
    convolution = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False)
    return _chain(planes=_Permute(0, 3, 1, 2), conv=convolution, norm=_norm(2 * channels, first_in=True))


class _Block(nn.Module):
    """DCNv3 and an MLP, each with a residual; `norm` says where the layer norms stand: pre, post or res_post."""

    def __init__(self, channels: int, groups: int, settings: dict[str, Any]) -> None:
        super().__init__()
        self.kind = settings["norm"]
        if settings["layer_scale"]:
            self.gamma1 = nn.Parameter(torch.ones(channels))
            self.gamma2 = nn.Parameter(torch.ones(channels))
        self.layer_scale = settings["layer_scale"]
        self.norm1 = _norm(channels)
        self.dcn = DCNv3(
            channels, groups, settings["offset_scale"], settings["dw_kernel"], scale_centre=settings["large"]
        )
        self.norm2 = _norm(channels)
        self.mlp = _chain(fc1=nn.Linear(channels, 4 * channels), act=nn.GELU(), fc2=nn.Linear(4 * channels, channels))
        if self.kind == "res_post":
            self.res_post_norm1 = _norm(channels)
            self.res_post_norm2 = _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        for step in (1, 2):
            part, norm = (self.dcn, self.norm1) if step == 1 else (self.mlp, self.norm2)
            y = norm(part(x)) if self.kind == "post" else part(norm(x))
            if self.kind == "res_post":
                y = (self.res_post_norm1 if step == 1 else self.res_post_norm2)(y)
            if self.layer_scale:
                y = y * (self.gamma1 if step == 1 else self.gamma2)
            x = x + y
        return x


class _Level(nn.Module):
    """Blocks at one resolution; answers with their output and with what the next level takes."""

    def __init__(self, channels: int, depth: int, groups: int, settings: dict[str, Any], *, index: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(channels, groups, settings) for _ in range(depth))
        if settings["norm"] != "post" or settings["large"]:
            self.norm = _norm(channels)
        else:
            self.norm = nn.Sequential()
        # H and G normalise once more after every sixth block of their long third level.
        self.every = 6 if settings["large"] and index == 2 else 0
        if self.every:
            self.post_norms = nn.ModuleList(_norm(channels) for _ in range(depth // self.every))
        self.downsample = _downsample(channels) if index < 3 else nn.Identity()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            if self.every and number % self.every == 0:
                x = self.post_norms[number // self.every - 1](x)
        x = self.norm(x)
        return x, self.downsample(x)


class _CrossAttention(nn.Module):
    """One query, of the mean of all positions, over all positions."""

    def __init__(self) -> None:
        super().__init__()
        self.q_bias, self.k_bias, self.v_bias = (nn.Parameter(torch.zeros(_POOL_WIDTH)) for _ in range(3))
        self.q, self.k, self.v = (nn.Linear(_POOL_WIDTH, _POOL_WIDTH, bias=False) for _ in range(3))
        self.proj = nn.Linear(_POOL_WIDTH, _POOLED)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        def heads(x: Tensor) -> Tensor:
            return x.unflatten(-1, (_POOL_HEADS, -1)).transpose(1, 2)

        q, k, v = (
            heads(self.q(query) + self.q_bias),
            heads(self.k(key) + self.k_bias),
            heads(self.v(value) + self.v_bias),
        )
        attention = (q * (_POOL_WIDTH // _POOL_HEADS) ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
        pooled: Tensor = self.proj((attention @ v).transpose(1, 2).flatten(-2))
        return pooled


class _AttentionPool(nn.Module):
    """[N,L,1024] -> [N,768]."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1_q, self.norm1_k, self.norm1_v = (_norm(_POOL_WIDTH) for _ in range(3))
        self.cross_dcn = _CrossAttention()

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.cross_dcn(self.norm1_q(x.mean(1, keepdim=True)), self.norm1_k(x), self.norm1_v(x))
        return pooled.squeeze(1)


class InternImage(nn.Module):
    """The classifier: [N,3,S,S] -> logits [N,num_classes], S a multiple of 32.

    Args:
        channels: of the first level; each further level has twice as many.
        depths: blocks of the four levels.
        groups: of DCNv3 in the first level; each further level has twice as many.
        norm: where a block normalises: `pre`, `post` or `res_post`.
        layer_scale: whether a block scales its parts by learnt factors; not if `large`.
        offset_scale: of DCNv3.
        large: as H and G are: a 5 x 5 local convolution, DCNv3 mixed with its centre, and attention pooling over the
            last two levels.
        num_classes: of the head.
        in_chans: colours of the image.
    """

    def __init__(
        self,
        channels: int,
        depths: tuple[int, int, int, int],
        groups: int,
        norm: str = "post",
        offset_scale: float = 1.0,
        num_classes: int = 1000,
        in_chans: int = 3,
        *,
        layer_scale: bool = True,
        large: bool = False,
    ) -> None:
        """Make a network with random weights."""
        super().__init__()
        self.num_classes = num_classes
        self.large = large
        layer_scale = layer_scale and not large
        settings = {"norm": norm, "layer_scale": layer_scale, "offset_scale": offset_scale, "large": large}
        settings["dw_kernel"] = 5 if large else _KERNEL
        self.patch_embed = _stem(in_chans, channels)
        self.levels = nn.ModuleList(
            _Level(channels << index, depth, groups << index, settings, index=index)
            for index, depth in enumerate(depths)
        )
        last = channels << 3
        if large:
            self.dcnv3_head_x4 = nn.Sequential(nn.Conv2d(last, 4 * _POOL_WIDTH, 1), nn.PixelShuffle(2))
            self.dcnv3_head_x3 = nn.Conv2d(last // 2, _POOL_WIDTH, 1)
            self.clip_projector = _AttentionPool()
            self.fc_norm = _norm(_POOLED)
            self.head = nn.Linear(_POOLED, num_classes)
        else:
            wide = last * 3 // 2
            norm2d = nn.Sequential(nn.BatchNorm2d(wide))
            self.conv_head = nn.Sequential(nn.Conv2d(last, wide, 1, bias=False), norm2d, nn.GELU())
            self.head = nn.Linear(wide, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N,3,S,S] -> [N,num_classes]."""
        x = self.patch_embed(x)
        outputs = []
        for level in self.levels:
            output, x = level(x)
            outputs.append(output.permute(0, 3, 1, 2))
        if self.large:
            both = self.dcnv3_head_x4(outputs[3]) + self.dcnv3_head_x3(outputs[2])
            features = self.fc_norm(self.clip_projector(both.flatten(2).transpose(1, 2)))
        else:
            features = self.conv_head(outputs[3]).mean((2, 3))
        logits: Tensor = self.head(features)
        return logits


def _weights(name: str, size: int) -> dict[str, Any]:
    """Configuration for timm of published weights: where they are, and their evaluation transform."""
    return {
        "hf_hub_id": "OpenGVLab/InternImage",
        "hf_hub_filename": f"internimage_{name}.pth",
        "num_classes": 1000,
        "input_size": (3, size, size),
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed.conv1",
        "classifier": "head",
    }


# timm looks for this name in the module of a registered model.
default_cfgs = generate_default_cfgs(
    {
        f"internimage_{kind}.{training}_{size}": _weights(f"{kind}_{training}_{size}", size)
        for kind, training, size in (
            ("t", "1k", 224),
            ("s", "1k", 224),
            ("b", "1k", 224),
            ("l", "22kto1k", 384),
            ("xl", "22kto1k", 384),
            ("h", "22kto1k", 640),
            ("g", "22kto1k", 512),
        )
    }
)


def _entry_point(kind: str, settings: dict[str, Any]) -> Callable[..., InternImage]:
    """A function that timm calls to make a model of one size."""
    name = f"internimage_{kind}"

    def create(pretrained: bool = False, **others: Any) -> InternImage:
        network: InternImage = build_model_with_cfg(
            InternImage,
            name,
            pretrained,
            pretrained_filter_fn=lambda checkpoint, _: checkpoint.get("model", checkpoint),
            **settings,
            **others,
        )
        return network

    create.__name__ = name
    return create


for _kind, _settings in _SIZES.items():
    register_model(_entry_point(_kind, _settings))
