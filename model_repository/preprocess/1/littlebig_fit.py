"""Which part of a picture becomes the canonical image, and how it is resized.

timm's evaluation transform resizes the whole picture and cuts out the centre. Here only the part that is kept is
resized, from the same positions with the same filter.
"""

from __future__ import annotations

import functools
import math
import struct
from dataclasses import dataclass

from PIL import Image

Region = tuple[int, int, int, int]
# Support of a filter in pixels of the coarser of the two images.
_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}
# How much larger than the resized picture one must stay that is decoded at a smaller scale, on both sides.
_OVERSAMPLING = 2
# A horizontal pass over more rows than this goes second: its result is as long as the picture is high.
MOST_ROWS = 16384
# How many pixels more than the canonical image may be resized at either side.
_MARGIN = 8
_SINGLE = struct.Struct("f")


@dataclass(frozen=True)
class Fit:
    """The transform: the shorter side to `resize` pixels (or both), then the centre of `size` x `size`.

    Attributes:
        size: side of the canonical image, pixels.
        resize: side that the picture is resized to before the crop, pixels.
        crop_mode: `center` or `squash`.
        interpolation: `bilinear`, `bicubic` or `lanczos`.
    """

    size: int
    resize: int
    crop_mode: str
    interpolation: str

    def target(self, width: int, height: int) -> tuple[int, int]:
        """Size of the whole resized picture, as torchvision rounds it."""
        if self.crop_mode == "squash":
            return self.resize, self.resize
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize

    def scale(self, width: int, height: int, scales: tuple[int, ...]) -> int:
        """The largest divisor of both sides that leaves twice the resized picture's."""
        target = self.target(width, height)
        return max(
            (
                scale
                for scale in scales
                if width // scale >= _OVERSAMPLING * target[0] and height // scale >= _OVERSAMPLING * target[1]
            ),
            default=1,
        )

    def apply(self, image: Image.Image) -> Image.Image:
        """The canonical image of an upright picture in memory, mode L or RGB."""
        whole = cut(self, *image.size, 1, 1)
        return self.resized(image.crop(whole.region), whole)

    def resized(self, image: Image.Image, cut: Cut) -> Image.Image:
        """The canonical image.

        Args:
            image: the cut's region, upright, mode L or RGB.
            cut: how to resize it.
        """
        filter_ = Image.Resampling[self.interpolation.upper()]
        x, y = cut.across, cut.down
        if cut.vertical_first:
            image = image.resize((image.width, y.steps), filter_, (0, y.start, image.width, y.end))
            image = image.resize((x.steps, y.steps), filter_, (x.start, 0, x.end, y.steps))
        else:
            image = image.resize((x.steps, image.height), filter_, (x.start, 0, x.end, image.height))
            image = image.resize((x.steps, y.steps), filter_, (0, y.start, x.steps, y.end))
        return image.crop((x.margin, y.margin, x.margin + self.size, y.margin + self.size))

    def vertical_first(self, width: int, height: int) -> bool:
        """Whether Pillow resizes a whole upright picture in the vertical direction first."""
        across, down = self.target(width, height)
        if height > MOST_ROWS and height > width:
            return True
        return _CHOOSES_ORDER and down < height and height - down > 2 * (width - across)


def _chooses_order() -> bool:
    """Whether this Pillow chooses the order of its passes; older ones always resize horizontally first."""
    noise = Image.effect_noise((20, 80), 90)
    horizontal = noise.resize((18, 80), Image.Resampling.BICUBIC).resize((18, 60), Image.Resampling.BICUBIC)
    return bool(noise.resize((18, 60), Image.Resampling.BICUBIC).tobytes() != horizontal.tobytes())


_CHOOSES_ORDER = _chooses_order()


@dataclass(frozen=True)
class Axis:
    """One axis of an upright, decoded picture.

    Attributes:
        first: first pixel that is needed.
        last: the pixel behind the last one that is needed.
        start: where the part that is resized begins, in pixels from `first`.
        end: where it ends.
        steps: pixels that it is resized to.
        margin: how many of them lie before the canonical image; below 0 for a black border.
    """

    first: int
    last: int
    start: float
    end: float
    steps: int
    margin: int


@dataclass(frozen=True)
class Cut:
    """The region of a decoded picture that is needed, and how it is resized once it is upright.

    Attributes:
        region: left, top, right, bottom in pixels of the decoded picture as it is stored.
        across: the horizontal axis of the upright picture.
        down: the vertical one.
        vertical_first: the order of the two passes, each of which rounds to whole values.
    """

    region: Region
    across: Axis
    down: Axis
    vertical_first: bool


@functools.lru_cache(maxsize=4096)
def cut(fit: Fit, width: int, height: int, orientation: int, scale: int) -> Cut:
    """Which region of a decoded picture is needed.

    Args:
        fit: the transform.
        width: of the stored picture, pixels.
        height: of the stored picture, pixels.
        orientation: EXIF's, 1 to 8.
        scale: what both sides were divided by and rounded up.
    """
    turned = orientation in (5, 6, 7, 8)
    upright = (height, width) if turned else (width, height)
    target = fit.target(*upright)
    # Whether the upright axis runs against the stored one.
    backwards = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
    axes = [_axis(fit, *sides, scale, against) for *sides, against in zip(upright, target, backwards, strict=True)]
    stored = []
    for axis, length, against in zip(axes, upright, backwards, strict=True):
        pixels = -(-length // scale)
        stored.append((pixels - axis.last, pixels - axis.first) if against else (axis.first, axis.last))
    x, y = reversed(stored) if turned else stored
    decoded = -(-upright[0] // scale), -(-upright[1] // scale)
    return Cut((x[0], y[0], x[1], y[1]), *axes, fit.vertical_first(*decoded))


def _axis(fit: Fit, length: int, target: int, scale: int, backwards: bool) -> Axis:
    """Which pixels of one axis are needed.

    Pillow takes positions in 32 bits, and where a sum lies between two values the smallest error decides. So a few more
    pixels are resized than are kept if the part then begins and ends at positions that 32 bits hold exactly.

    Args:
        fit: the transform.
        length: of the stored picture, pixels.
        target: of the whole resized picture, pixels.
        scale: of the decoder.
        backwards: whether the decoded picture's last pixel, which scaling may have filled up, comes first.
    """
    pixels = -(-length // scale)
    filled = pixels - length / scale if backwards else 0.0
    reach = _SUPPORT[fit.interpolation] * max(1.0, length / scale / target) + 1.0
    # torchvision pads what is smaller than the crop with black.
    border = max(0, fit.size - target) // 2
    left = max(0, round((target - fit.size) / 2.0))
    right = min(target, left + fit.size)

    def position(step: int) -> float:
        return step * length / (target * scale) + filled

    def first_needed(step: int) -> int:
        return max(0, math.floor(position(step) - reach))

    low = min(range(left, max(0, left - _MARGIN) - 1, -1), key=lambda step: _loss(position(step) - first_needed(step)))
    first = first_needed(low)
    high = min(range(right, min(target, right + _MARGIN) + 1), key=lambda step: _loss(position(step) - first))
    last = min(pixels, math.ceil(position(high) + reach))
    end = min(position(high) - first, float(last - first))
    return Axis(first, last, position(low) - first, end, high - low, left - low - border)


def _loss(position: float) -> float:
    """What a position loses in 32 bits; 0 where that is only the rounding of 64."""
    loss = abs(float(_SINGLE.unpack(_SINGLE.pack(position))[0]) - position)
    return loss if loss > 1e-9 else 0.0
