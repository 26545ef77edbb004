"""What an image is, and the bytes of it that go over the wire."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from littlebig_client._errors import InvalidImage

ImageInput = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, Image.Image, NDArray[Any]]

# One gRPC message holds 2 GiB, a little of it not for the image.
_LARGEST = 2**31 - 2**20

# Modes that PNG holds without loss, and those that become RGB without a choice to make. The rest (floats,
# LAB, wide integers) has no one meaning as a picture.
_AS_PNG = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_AS_RGB = frozenset({"CMYK", "YCbCr", "HSV", "RGBX"})

# Pillow decodes an opened file at first use and does not guard that against a second thread.
_DECODING = threading.Lock()


def name_of(image: object) -> str | None:
    """The image's file name, or None if it has none."""
    if isinstance(image, Image.Image):
        return _text(getattr(image, "filename", "")) or None
    if isinstance(image, str | os.PathLike):
        return _text(image)
    return None


def encoded(image: ImageInput) -> bytes:
    """The encoded picture to send to `classify`.

    Args:
        image: a path or encoded bytes, sent as they are; or a PIL image, sent as PNG, turned upright.

    Raises:
        InvalidImage: if there is nothing to send, or no way to send it without changing it.
    """
    if isinstance(image, Image.Image):
        return _png(image)
    if isinstance(image, str | os.PathLike):
        data = _file(image)
    elif isinstance(image, bytes | bytearray | memoryview):
        data = bytes(image)
    else:
        raise InvalidImage(
            f"a {type(image).__name__} is not an image: pass a path, encoded bytes, a PIL image or a uint8 array"
        )
    if not data:
        raise InvalidImage("is empty: 0 bytes")
    _check_size(len(data))
    return data


def check_canonical(array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Check that an array is a canonical image.

    Args:
        array: what the caller passed.
        shape: [H, W, 3], as the server serves it.

    Raises:
        InvalidImage: naming the shape wanted and the way out.
    """
    if array.dtype == np.uint8 and array.shape == shape:
        return
    raise InvalidImage(
        f"an array must be the canonical image, uint8 {_shape(shape)}, "
        f"not {array.dtype} {_shape(array.shape)}: "
        "pass PIL.Image.fromarray(array) to have the server resize it"
    )


def _file(path: str | os.PathLike[str]) -> bytes:
    try:
        with Path(path).open("rb") as file:
            _check_size(os.fstat(file.fileno()).st_size)  # before a whole film is read
            return file.read()
    except FileNotFoundError as missing:
        raise InvalidImage("no such file") from missing
    except IsADirectoryError as folder:
        raise InvalidImage("is a folder, not an image") from folder
    except (OSError, ValueError) as unreadable:  # ValueError: a null byte in the path
        reason = getattr(unreadable, "strerror", None) or str(unreadable)
        raise InvalidImage(f"cannot be read: {reason}") from unreadable


def _check_size(size: int) -> None:
    if size > _LARGEST:
        raise InvalidImage(f"is {size:,} bytes; a request holds at most {_LARGEST:,}")


def _png(image: Image.Image) -> bytes:
    try:
        with _DECODING:
            image.load()
        upright = _for_png(ImageOps.exif_transpose(image))
        buffer = io.BytesIO()
        upright.save(buffer, "PNG", compress_level=1)  # the network is local or fast; the caller's CPU is not
    except (OSError, SyntaxError, ValueError) as unreadable:  # Pillow raises any of these on broken data
        raise InvalidImage(f"this PIL image cannot be read: {unreadable}") from unreadable
    return buffer.getvalue()


def _for_png(image: Image.Image) -> Image.Image:
    if image.mode in _AS_PNG:
        return image
    if image.mode in _AS_RGB:
        return image.convert("RGB")
    if image.mode == "I" and image.getextrema()[0] >= 0 and image.getextrema()[1] <= 65535:
        return image.convert("I;16")  # what older Pillow opens a 16-bit PNG as
    raise InvalidImage(
        f"a PIL image of mode {image.mode} cannot be sent without loss: "
        "scale it to 0-255 where that is needed and pass image.convert('RGB')"
    )


def _text(path: str | os.PathLike[str] | bytes) -> str:
    # A name that is not valid in the file system's encoding must still be printable.
    return os.fsencode(path).decode("utf-8", "replace")


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(str(size) for size in shape)}]"
