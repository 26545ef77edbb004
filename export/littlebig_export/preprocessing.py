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
_LARGEST, _LEAST_CROP = 4096, 0.1


@dataclass(frozen=True)
class Preprocessing:
    """One model's evaluation transform, in the terms of timm's configuration.

    Attributes:
        size: height and width of the model's input, in pixels, up to 4096.
        crop_pct: input size divided by the resized picture's shorter side, in [0.1, 2]; above 1 the picture gets a
            black border.
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
        if not 1 <= self.size <= _LARGEST:
            raise PairError(f"size {self.size} is not a number of pixels from 1 to {_LARGEST}")
        if not _LEAST_CROP <= self.crop_pct <= 2.0:
            raise PairError(f"crop_pct {self.crop_pct} is outside [{_LEAST_CROP}, 2]")
        if self.crop_mode not in ("center", "squash"):
            raise PairError(
                f"crop_mode '{self.crop_mode}' is not 'center' or 'squash': set crop_mode to one of them for this stage"
            )
        if self.interpolation not in KERNELS:
            raise PairError(f"interpolation '{self.interpolation}' is not one of {', '.join(KERNELS)}")
        if not all(0.0 <= mean <= 1.0 for mean in self.mean) or not all(0.0 < std <= 1.0 for std in self.std):
            raise PairError(
                f"mean {self.mean} and std {self.std} are not of values in [0, 1]: divide those of 0 to 255 by 255"
            )

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
