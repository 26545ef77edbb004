"""Images on their way to a stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


@dataclass(slots=True, eq=False)
class Images:
    """Canonical images for one call of a stage.

    Attributes:
        pixels: uint8 [images, H, W, 3].
        tensor: Triton's tensor of exactly these images, if one request brought them all. It lies in shared memory, so
            passing it on copies nothing. Other pixels are copied into shared memory for each call.
    """

    pixels: Pixels
    tensor: Any = None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pixels)

    def part(self, start: int, stop: int) -> Images:
        """Images `start` to `stop`; the object itself if that is all of them."""
        return self if start == 0 and stop >= len(self) else Images(self.pixels[start:stop])

    def copy(self) -> Images:
        """The same images in memory of their own."""
        return Images(self.pixels.copy())


def make_buffer(images: int, dims: Sequence[int]) -> Pixels:
    """Allocate a buffer for a batch and write to all of it, so that its pages exist from the start.

    A new array per batch would make the heap grow, because batches differ in size.

    Args:
        images: most images of a batch.
        dims: H, W, 3.

    Returns:
        uint8 [images, H, W, 3].
    """
    return np.full((images, *dims), 0, np.uint8)


def gather(parts: Sequence[Pixels], buffer: Pixels | None = None) -> Images:
    """Copy the images of several requests into one array.

    Args:
        parts: uint8 [images, H, W, 3] each; at least one.
        buffer: uint8 [images, H, W, 3] to copy into; if it is None or too small, a new array is made.
    """
    images = sum(map(len, parts))
    fits = buffer is not None and len(buffer) >= images
    return Images(np.concatenate(parts, out=buffer[:images] if buffer is not None and fits else None))
