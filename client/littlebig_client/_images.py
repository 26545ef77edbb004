"""Turns the kinds of images that the client accepts into the bytes that it sends."""

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from littlebig_client._errors import InvalidImage

ImageInput = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, Image.Image, NDArray[Any], Callable[[], bytes]
]

# The reference repository's limit of an encoded picture, in bytes: parameter max_bytes of its model `preprocess`.
DEFAULT_MAX_BYTES = 20 * 2**20

# Modes that PNG stores without loss, and modes with one obvious conversion to RGB. The others (floats, LAB, wide
# integers) have no single meaning as a picture.
_AS_PNG = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_AS_RGB = frozenset({"CMYK", "YCbCr", "HSV", "RGBX"})

# Pillow decodes an opened file at first use, which is not thread-safe.
_DECODING_LOCK = threading.Lock()


def name_of(image: object) -> str | None:
    """Return the image's file name, or None if it has none."""
    if isinstance(image, Image.Image):
        return _text(getattr(image, "filename", "")) or None
    if isinstance(image, str | os.PathLike):
        return _text(image)
    return None


class TooLarge(InvalidImage):
    """The encoded picture is longer than the limit."""


def is_encoded(image: object) -> bool:
    """Whether an image is encoded bytes already, so that `encoded` neither reads a file nor computes."""
    return isinstance(image, bytes | bytearray | memoryview)


def encoded(image: ImageInput, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
    """Return the encoded picture to send to `classify`.

    Args:
        image: a path, encoded bytes, or a function that returns encoded bytes, sent unchanged; or a PIL image, turned
            upright and sent as PNG.
        max_bytes: the server's limit.

    Raises:
        TooLarge: the picture is above the limit.
        InvalidImage: the image is empty, unreadable, or cannot be sent without loss.
    """
    if isinstance(image, Image.Image):
        data = _png(image)
    elif isinstance(image, str | os.PathLike):
        data = _file(image, max_bytes)
    elif isinstance(image, bytes | bytearray | memoryview):  # `is_encoded`, in words that narrow the type
        data = bytes(image)
    elif callable(image):
        data = _fetched(image)
    else:
        raise InvalidImage(
            f"a {type(image).__name__} is not an image: pass a path, encoded bytes, a PIL image or a uint8 array"
        )
    # In the server's words.
    if not data:
        raise InvalidImage("is empty")
    _check_size(len(data), max_bytes)
    return data


def check_canonical(array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Check that an array is a canonical image.

    Args:
        array: the caller's image.
        shape: [H, W, 3] of the served model.

    Raises:
        InvalidImage: names the expected shape and the remedy.
    """
    if array.dtype == np.uint8 and array.shape == shape:
        return
    raise InvalidImage(
        f"an array must be the canonical image, uint8 {_shape(shape)}, "
        f"not {array.dtype} {_shape(array.shape)}: "
        "pass PIL.Image.fromarray(array) to have the server resize it"
    )


def check_canonical_batch(array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Check that an array holds canonical images.

    Args:
        array: the caller's images.
        shape: [H, W, 3] of the served model.

    Raises:
        InvalidImage: names the expected shape.
    """
    if not isinstance(array, np.ndarray):
        raise InvalidImage(f"a {type(array).__name__} is not a batch: pass a uint8 array [N, H, W, 3]")
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1:] != shape or not len(array):
        raise InvalidImage(
            f"a batch must be canonical images, uint8 [N, {_shape(shape)[1:]}, not {array.dtype} {_shape(array.shape)}"
        )


def _file(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    try:
        with Path(path).open("rb") as file:
            _check_size(os.fstat(file.fileno()).st_size, max_bytes)  # before reading, say, a whole film
            return file.read()
    except FileNotFoundError as missing:
        raise InvalidImage("no such file") from missing
    except IsADirectoryError as folder:
        raise InvalidImage("is a folder, not an image") from folder
    except (OSError, ValueError) as unreadable:  # ValueError: a null byte in the path
        reason = getattr(unreadable, "strerror", None) or str(unreadable)
        raise InvalidImage(f"cannot be read: {reason}") from unreadable


def _fetched(fetch: Callable[[], bytes]) -> bytes:
    try:
        return bytes(fetch())
    except InvalidImage:
        raise
    except FileNotFoundError as missing:
        raise InvalidImage("no such file") from missing
    except Exception as unreadable:  # a store's own errors have no common base
        raise InvalidImage(f"cannot be read: {str(unreadable) or type(unreadable).__name__}") from unreadable


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TooLarge(f"has {size} bytes, more than the limit of {max_bytes} (parameter max_bytes)")


def _png(image: Image.Image) -> bytes:
    try:
        with _DECODING_LOCK:
            image.load()
        upright = _for_png(ImageOps.exif_transpose(image))
        buffer = io.BytesIO()
        upright.save(buffer, "PNG", compress_level=1)  # fast: the caller's CPU is the bottleneck, not the network
    except (OSError, SyntaxError, ValueError) as unreadable:  # Pillow's errors for broken data
        raise InvalidImage(f"this PIL image cannot be read: {unreadable}") from unreadable
    return buffer.getvalue()


def _for_png(image: Image.Image) -> Image.Image:
    if image.mode in _AS_PNG:
        return image
    if image.mode in _AS_RGB:
        return image.convert("RGB")
    if image.mode == "I" and image.getextrema()[0] >= 0 and image.getextrema()[1] <= 65535:
        return image.convert("I;16")  # older versions of Pillow open 16-bit PNGs in mode I
    raise InvalidImage(
        f"a PIL image of mode {image.mode} cannot be sent without loss: "
        "scale it to 0-255 where that is needed and pass image.convert('RGB')"
    )


def _text(path: str | os.PathLike[str] | bytes) -> str:
    # File names may be invalid in the file system's encoding but must be printable.
    return os.fsencode(path).decode("utf-8", "replace")


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(str(size) for size in shape)}]"
