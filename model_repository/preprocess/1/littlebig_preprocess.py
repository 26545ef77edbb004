"""From an encoded picture to the canonical image: pure functions on Pillow images, without Triton in them.

On RGB pictures the result is pixel-equal to timm's evaluation transform of the big model (torchvision's Resize
and CenterCrop on a PIL image), because it is the same Pillow call with the same numbers.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
EXIF_ORIENTATION = 0x0112
# What undoes each EXIF orientation (the value 1 needs nothing).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Our own limit is checked before a pixel is decoded; Pillow's would only warn, or refuse what a user allowed.
Image.MAX_IMAGE_PIXELS = None


class BadImage(Exception):
    """A picture that cannot become a canonical image: what is wrong with it, and the limit where there is one."""


@dataclass(frozen=True)
class Settings:
    """How pictures become canonical images.

    Attributes:
        size: side of the canonical image, in pixels.
        resize: side that the picture is resized to before the centre crop, in pixels.
        crop_mode: `center` resizes the shorter side and keeps the aspect ratio, `squash` resizes both sides.
        interpolation: `bilinear`, `bicubic` or `lanczos`.
        max_bytes: longest encoded picture that is read.
        max_pixels: largest picture, width times height, that is decoded.
    """

    size: int
    resize: int
    crop_mode: str
    interpolation: str
    max_bytes: int
    max_pixels: int

    @classmethod
    def from_parameters(cls, size: int, parameters: Mapping[str, str]) -> Settings:
        """Read the settings from the `parameters` of config.pbtxt.

        Args:
            size: side of the canonical image, from the output's dims.
            parameters: name -> text.

        Raises:
            ValueError: naming the parameter that is missing or wrong.
        """
        settings = cls(
            size=size,
            resize=_positive(parameters, "resize"),
            crop_mode=_one_of(parameters, "crop_mode", ("center", "squash")),
            interpolation=_one_of(parameters, "interpolation", ("bilinear", "bicubic", "lanczos")),
            max_bytes=_positive(parameters, "max_bytes"),
            max_pixels=_positive(parameters, "max_pixels"),
        )
        if settings.resize < size:
            raise ValueError(f"parameter 'resize' = {settings.resize} is smaller than the canonical image's {size}")
        return settings


def canonical_image(encoded: bytes, settings: Settings) -> npt.NDArray[np.uint8]:
    """Decode a picture and bring it to the canonical size.

    Args:
        encoded: a JPEG, PNG, WebP, BMP or GIF file; of an animation the first frame counts.
        settings: size and limits.

    Returns:
        uint8 RGB array of shape [size, size, 3].

    Raises:
        BadImage: if the bytes are no such picture, are cut short, or exceed a limit.
    """
    return np.asarray(fit(decode(encoded, settings.max_bytes, settings.max_pixels), settings))


def decode(encoded: bytes, max_bytes: int, max_pixels: int) -> Image.Image:
    """Decode a picture to upright RGB.

    Raises:
        BadImage: if the bytes are no such picture, are cut short, or exceed a limit.
    """
    if not encoded:
        raise BadImage("is empty")
    if len(encoded) > max_bytes:
        raise BadImage(f"has {len(encoded)} bytes, more than the limit of {max_bytes} (parameter max_bytes)")
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    except Exception:
        raise BadImage("is not a JPEG, PNG, WebP, BMP or GIF image") from None
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage(
            f"is {width}x{height} = {width * height} pixels, more than the limit of {max_pixels} (parameter max_pixels)"
        )
    try:
        image.load()
        return upright(rgb(image), _orientation(image))
    except Exception as reason:
        raise BadImage(f"is a damaged {image.format} image: {reason}") from None


def rgb(image: Image.Image) -> Image.Image:
    """Any of Pillow's modes as RGB; what is transparent is shown on white, 16-bit grey is scaled to 8 bits."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        # Pillow's own conversion clips 16-bit values at 255 instead of scaling them.
        return Image.fromarray((np.asarray(image, np.uint32) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        page = Image.new("RGB", layer.size, "white")
        page.paste(layer, mask=layer.getchannel("A"))
        return page
    return image.convert("RGB")


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Undo the camera's orientation, an EXIF value from 1 to 8; anything else leaves the picture as it is."""
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def fit(image: Image.Image, settings: Settings) -> Image.Image:
    """Resize an RGB picture and cut the centre out of it.

    Args:
        image: RGB, of any size.
        settings: the canonical image's size and how to get there.

    Returns:
        RGB image of size x size pixels.
    """
    width, height = image.size
    if settings.crop_mode == "squash":
        target = (settings.resize, settings.resize)
    elif width <= height:
        target = (settings.resize, int(settings.resize * height / width))
    else:
        target = (int(settings.resize * width / height), settings.resize)
    if target != image.size:
        image = image.resize(target, Image.Resampling[settings.interpolation.upper()])
    left = round((target[0] - settings.size) / 2.0)
    top = round((target[1] - settings.size) / 2.0)
    return image.crop((left, top, left + settings.size, top + settings.size))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:
        return 1


def _positive(parameters: Mapping[str, str], name: str) -> int:
    text = parameters.get(name, "")
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"parameter '{name}' = '{text}' is not a positive whole number")
    return int(text)


def _one_of(parameters: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    text = parameters.get(name, "")
    if text not in choices:
        raise ValueError(f"parameter '{name}' = '{text}' is none of {', '.join(choices)}")
    return text
