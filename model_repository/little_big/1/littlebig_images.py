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
    """Canonical images that a stage is asked about.

    Attributes:
        pixels: uint8 [images, H, W, 3].
        tensor: Triton's own tensor of just these, where a request brought it. It lies in shared memory already, so to
            pass it on copies nothing; pixels are copied there for each call.
    """

    pixels: Pixels
    tensor: Any = None

    def __len__(self) -> int:
        """How many images."""
        return len(self.pixels)

    def part(self, first: int, after: int) -> Images:
        """Images `first` to `after`, all of them as they are."""
        return self if first == 0 and after >= len(self) else Images(self.pixels[first:after])

    def copy(self) -> Images:
        """The same in memory of their own."""
        return Images(self.pixels.copy())


def gather(parts: Sequence[Pixels], room: Pixels | None = None) -> Images:
    """Several requests' images as one batch.

    Args:
        parts: uint8 [images, H, W, 3] each; at least one.
        room: uint8 [images or more, H, W, 3] to put the batch into; without it, or where it is too small, the batch
            gets memory of its own.
    """
    images = sum(map(len, parts))
    fits = room is not None and len(room) >= images
    return Images(np.concatenate(parts, out=room[:images] if room is not None and fits else None))
