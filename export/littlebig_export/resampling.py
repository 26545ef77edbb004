"""Pillow's antialiased resampling as a matrix, so that a graph resizes with two matrix products on any backend.

Resizing is separable and linear: `resized = rows @ image @ columns.T`. TensorRT's Resize has no antialiasing, and
torchvision's differs from Pillow's; two constant matrices give the same result everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from littlebig_export.errors import PairError


def _bilinear(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _bicubic(x: float) -> float:
    # Keys' kernel with a = -0.5, as in Pillow (OpenCV and torch use -0.75).
    a, x = -0.5, abs(x)
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    if x < 2.0:
        return (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return 0.0


def _lanczos(x: float) -> float:
    return float(np.sinc(x) * np.sinc(x / 3.0)) if abs(x) < 3.0 else 0.0


# Interpolation as timm names it -> kernel and its half-width in source pixels at scale 1.
KERNELS: dict[str, tuple[Callable[[float], float], float]] = {
    "bilinear": (_bilinear, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}


def resampling_matrix(
    source: int, target: int, interpolation: str, box: tuple[float, float] | None = None
) -> npt.NDArray[np.float32]:
    """The matrix that resizes one axis as Pillow's `Image.resize(..., box=...)` does before it rounds.

    Source: Pillow, `src/libImaging/Resample.c`, `precompute_coeffs`.

    Args:
        source: pixels along the axis of the source image.
        target: pixels along the axis of the result.
        interpolation: `bilinear`, `bicubic` or `lanczos`.
        box: start and end of the part to resize, in source pixels, fractional; all of the source by default. Beyond the
            source, where Pillow has none, lies a black border.

    Returns:
        float32 matrix of shape [target, source]; every row sums to 1, but for a border's, which are 0.

    Raises:
        PairError: if there is no such interpolation.
    """
    if interpolation not in KERNELS:
        raise PairError(f"interpolation '{interpolation}' is not one of {', '.join(KERNELS)}")
    kernel, half_width = KERNELS[interpolation]
    start, end = box if box is not None else (0.0, float(source))
    scale = (end - start) / target
    stretch = max(scale, 1.0)
    support = half_width * stretch
    matrix = np.zeros((target, source), np.float64)
    for row in range(target):
        center = start + (row + 0.5) * scale
        if not 0.0 < center < source:
            continue
        first = max(math.floor(center - support + 0.5), 0)
        last = min(math.floor(center + support + 0.5), source)
        weights = np.array([kernel((pixel - center + 0.5) / stretch) for pixel in range(first, last)])
        matrix[row, first:last] = weights / weights.sum()
    return matrix.astype(np.float32)
