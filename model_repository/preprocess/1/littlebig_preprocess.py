"""From an encoded picture to the canonical image: pure functions, without Triton in them.

littlebig_jpeg.py, _png.py, _gif.py, _webp.py, _bmp.py   read a file's header, estimate the cost, decode a region
littlebig_limits.py                                      refuses what would cost too much
littlebig_fit.py                                         which region is needed, and how it is resized

Up to the rounding of single values the result is timm's evaluation transform of the big model: torchvision's Resize and
CenterCrop on a PIL image. docs/preprocess.md says how far it may differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from littlebig_bmp import BmpPicture
from littlebig_fit import MOST_ROWS, Fit, cut
from littlebig_gif import GifPicture
from littlebig_jpeg import JpegPicture
from littlebig_limits import MIB, BadImage, Cost, Limits, damaged, positive
from littlebig_orientation import UPRIGHT
from littlebig_png import SIGNATURE, PngPicture
from littlebig_quoting import quoted
from littlebig_webp import WebpPicture
from PIL import Image

# Limits of ours are checked before a pixel is decoded; Pillow's would only warn, or refuse what a user allowed.
Image.MAX_IMAGE_PIXELS = None

# Upper bounds of all but decoding: nanoseconds per pixel of the region and per row of the picture; a canonical image.
_NS_PER_PIXEL, _NS_PER_ROW, _MS_CANONICAL = 10.0, 70.0, 1.0
_BYTES_PER_ROW = 16

__all__ = ["BadImage", "Fit", "Job", "PreprocessSettings", "canonical_image"]


@dataclass(frozen=True)
class PreprocessSettings:
    """How pictures become canonical images.

    Attributes:
        fit: size of the canonical image, and how to get there.
        decode: `scaled` lets the decoder of JPEG shrink a picture that stays twice as large as is needed; or `full`.
        limits: what is refused.
    """

    fit: Fit
    decode: str
    limits: Limits

    @classmethod
    def from_parameters(cls, size: int, parameters: Mapping[str, str]) -> PreprocessSettings:
        """Read the settings from the `parameters` of config.pbtxt.

        Args:
            size: side of the canonical image, from the output's dims.
            parameters: name -> text.

        Raises:
            ValueError: naming the parameter that is missing or wrong.
        """
        fit = Fit(
            size=size,
            resize=positive(parameters, "resize"),
            crop_mode=_one_of(parameters, "crop_mode", ("center", "squash")),
            interpolation=_one_of(parameters, "interpolation", ("bilinear", "bicubic", "lanczos")),
        )
        if 2 * fit.resize < size:
            raise ValueError(f"parameter 'resize' = {fit.resize} is less than half of the canonical image's {size}")
        decode = _one_of(parameters, "decode", ("scaled", "full"))
        return cls(fit, decode, Limits.from_parameters(parameters))


class Job:
    """One picture whose header is read and whose cost is known.

    Attributes:
        picture: its format's reader.
        fit: size of the canonical image, and how to get there.
        cost: estimated time and memory, an upper bound.
        length: of the file, bytes.
    """

    def __init__(self, encoded: bytes, settings: PreprocessSettings) -> None:
        """Read a picture's header.

        Args:
            encoded: a JPEG, PNG, WebP, BMP or GIF file.
            settings: size and limits.

        Raises:
            BadImage: if the bytes are no such picture, are damaged, or exceed a limit.
        """
        settings.limits.check_length(len(encoded))
        self._settings, self.fit, self.length = settings, settings.fit, len(encoded)
        self.picture = picture = _guarded("image", lambda: _opened(encoded, settings.limits))
        self._scale = 1
        turned = picture.orientation in (5, 6, 7, 8)
        upright = (picture.height, picture.width) if turned else (picture.width, picture.height)
        if settings.decode == "scaled":
            self._scale = settings.fit.scale(*upright, picture.scales)
        self._cut = cut(settings.fit, picture.width, picture.height, picture.orientation, self._scale)
        self.cost = self._estimate()
        settings.limits.check_cost(f"{picture.width}x{picture.height} {picture.name}", self.cost)

    def image(self) -> npt.NDArray[np.uint8]:
        """Decode the picture, turn it upright, resize what is kept.

        Returns:
            uint8 RGB array of shape [size, size, 3].

        Raises:
            BadImage: if the file is damaged.
        """
        picture = self.picture

        def render() -> npt.NDArray[np.uint8]:
            region = picture.decode(self._scale, self._cut.region)
            if picture.orientation in UPRIGHT:
                region = region.transpose(UPRIGHT[picture.orientation])
            fitted = self._settings.fit.resized(region, self._cut)
            return np.asarray(fitted if fitted.mode == "RGB" else fitted.convert("RGB"))

        return _guarded(picture.kind, render)

    def _estimate(self) -> Cost:
        decoding = self.picture.cost(self._scale)
        picture, (left, top, right, bottom) = self.picture, self._cut.region
        pixels, rows = (right - left) * (bottom - top), -(-picture.height // self._scale)
        turned = 8 if picture.orientation in UPRIGHT else 0
        # First the whole picture and its region, then the region alone with what it becomes.
        memory = max(decoding.mib * MIB + pixels * picture.pixel_bytes, pixels * max(picture.flatten_bytes, turned))
        memory += rows * _BYTES_PER_ROW + min(bottom - top, MOST_ROWS) * self._settings.fit.size * 4
        work = pixels * _NS_PER_PIXEL + rows * _NS_PER_ROW
        return Cost(decoding.ms + work / 1e6 + _MS_CANONICAL, memory / MIB)


def canonical_image(encoded: bytes, settings: PreprocessSettings) -> npt.NDArray[np.uint8]:
    """Decode a picture and bring it to the canonical size.

    Args:
        encoded: a JPEG, PNG, WebP, BMP or GIF file; of an animation the first frame counts.
        settings: size and limits.

    Returns:
        uint8 RGB array of shape [size, size, 3].

    Raises:
        BadImage: if the bytes are no such picture, are damaged, or exceed a limit.
    """
    return Job(encoded, settings).image()


def _opened(encoded: bytes, limits: Limits) -> Any:
    if encoded.startswith(b"\xff\xd8\xff"):
        return JpegPicture(encoded, limits)
    if encoded.startswith(SIGNATURE):
        return PngPicture(encoded, limits)
    if encoded.startswith((b"GIF87a", b"GIF89a")):
        return GifPicture(encoded, limits)
    if encoded.startswith(b"RIFF") and encoded[8:12] == b"WEBP":
        return WebpPicture(encoded, limits)
    if encoded.startswith(b"BM"):
        return BmpPicture(encoded, limits)
    raise BadImage("is not a JPEG, PNG, WebP, BMP or GIF image")


def _guarded(kind: str, step: Any) -> Any:
    """The result of a step; whatever else it raises is a fault of its picture."""
    try:
        return step()
    except BadImage:
        raise
    except MemoryError:
        raise damaged(kind, "there is not enough memory to decode it") from None
    except Exception as reason:
        raise damaged(kind, reason) from None


def _one_of(parameters: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    text = parameters.get(name, "")
    if text not in choices:
        raise ValueError(f"parameter '{name}' = '{quoted(text)}' is none of {', '.join(choices)}")
    return text
