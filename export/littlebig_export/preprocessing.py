"""A model's evaluation transform: how its input is made from a picture.

timm states the transform of its models (`resolve_model_data_config`); it is read once, at export. The canonical image
is the result of the big model's transform just before the conversion to floating point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from littlebig_export.errors import PairError
from littlebig_export.resampling import KERNELS

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """One model's evaluation transform, in the terms of timm's configuration.

    Attributes:
        size: height and width of the model's input, in pixels.
        crop_pct: input size divided by the resized picture's shorter side, in (0, 2]; above 1 the picture gets a black
            border.
        crop_mode: `center` keeps the aspect ratio, `squash` does not.
        interpolation: `bilinear`, `bicubic` or `lanczos`.
        mean: per channel, of RGB values in [0, 1].
        std: per channel, of RGB values in [0, 1].
    """

    size: int
    crop_pct: float
    crop_mode: str
    interpolation: str
    mean: Triple
    std: Triple

    def __post_init__(self) -> None:
        """Refuse a transform that the graph or the preprocess model cannot perform."""
        for name in ("mean", "std"):  # lists where they come from JSON; a transform is also a key of caches
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.size < 1:
            raise PairError(f"size {self.size} is not a positive number of pixels")
        if not 0.0 < self.crop_pct <= 2.0:
            raise PairError(f"crop_pct {self.crop_pct} is outside (0, 2]")
        if self.crop_mode not in ("center", "squash"):
            raise PairError(
                f"crop_mode '{self.crop_mode}' is not 'center' or 'squash': set crop_mode to one of them for this stage"
            )
        if self.interpolation not in KERNELS:
            raise PairError(f"interpolation '{self.interpolation}' is not one of {', '.join(KERNELS)}")
        if any(deviation <= 0.0 for deviation in self.std):
            raise PairError(f"std {self.std} must be positive")

    @property
    def resize(self) -> int:
        """Length of the resized picture's shorter side before the crop, in pixels: timm's floor(size / crop_pct)."""
        return math.floor(self.size / self.crop_pct)

    @property
    def kept(self) -> float:
        """Part of a square picture's side that the input shows; above 1 with a border around the picture."""
        return self.size / self.resize

    @classmethod
    def from_timm(cls, config: Mapping[str, Any]) -> Preprocessing:
        """The transform of a timm model.

        Args:
            config: from `timm.data.resolve_model_data_config(model)`.

        Raises:
            PairError: if the model's input is not square RGB, or a stage cannot perform its transform.
        """
        channels, height, width = config["input_size"]
        if channels != 3 or height != width:
            raise PairError(f"input {height}x{width}x{channels} is not square RGB, which a stage needs")
        return cls(
            size=height,
            crop_pct=float(config["crop_pct"]),
            crop_mode=config["crop_mode"],
            interpolation=config["interpolation"],
            mean=_triple(config["mean"]),
            std=_triple(config["std"]),
        )


def _triple(values: Iterable[float]) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
