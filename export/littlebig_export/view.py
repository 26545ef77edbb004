"""What a stage sees of the canonical image: its model's own view of the picture, estimated from the canonical pixels.

The model's own transform resizes the picture once. From the canonical image, which has been resized already, a second
ordinary resampling blurs the view. Both transforms are linear along each axis, canonical = A @ picture and
view = B @ picture, so the matrix W that minimises the mean squared error of W @ canonical against view is known in
closed form (a Wiener filter). It costs what any other resampling matrix costs.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from littlebig_export.preprocessing import Preprocessing
from littlebig_export.resampling import resampling_matrix

Matrix = npt.NDArray[np.float64]
# Picture sizes that W is made for, relative to the resized picture: from enlarged to shrunk ones. From three times the
# size on, both transforms change in proportion.
_SIZES = np.geomspace(0.5, 3.0, 12)
# Correlation of pixels 1/256 of a picture apart, and the variance of rounding to whole values relative to a picture's.
_CORRELATION, _ROUNDING = 0.97, 1.0 / 12.0 / 3000.0
# Variance of a picture's mean: large, so that flat colour stays flat.
_MEAN = 1e3
# Weights of far pixels that are smaller than this, relative to the largest of their row, are 0.
_NEGLIGIBLE = 1e-4
# Rows of the view that one band computes.
_BAND = 32


@functools.cache
def view_matrix(canonical: Preprocessing, model: Preprocessing) -> npt.NDArray[np.float32] | None:
    """The matrix that makes a model's view of one axis of the canonical image.

    Both crop modes are taken as they treat a square picture. A model whose transform keeps more of a picture than the
    canonical image holds gets all of the canonical image.

    Args:
        canonical: the big model's preprocessing, which makes the canonical image.
        model: the preprocessing of the stage's model.

    Returns:
        float32 matrix of shape [model.size, canonical.size]; every row sums to 1, but for a border's, which are 0, and
        is 0 away from its pixel. None if the canonical image is the view.
    """
    kept = min(model.kept, canonical.kept)
    if model.size == canonical.size and kept == canonical.kept:
        return None
    products, variances = np.zeros((model.size, canonical.size)), _ROUNDING * np.eye(canonical.size)
    for factor in _SIZES:
        pixels = max(1, round(factor * canonical.resize))
        distance = np.abs(np.subtract.outer(np.arange(pixels), np.arange(pixels))) * (256.0 / pixels)
        covariance = _CORRELATION**distance + _MEAN
        made = _axis(canonical, canonical.kept, pixels)
        spread = covariance @ made.T / len(_SIZES)
        products += _axis(model, kept, pixels) @ spread
        variances += made @ spread
    return np.asarray(_near(np.linalg.solve(variances, products.T).T), np.float32)


def bands(matrix: npt.NDArray[np.float32]) -> list[tuple[int, npt.NDArray[np.float32]]]:
    """A view matrix as bands of rows, each with the columns that it needs and no others.

    Returns:
        (first column, float32 matrix [rows, columns]) of each band, from the top; together they are `matrix`.
    """
    result = []
    for start in range(0, len(matrix), _BAND):
        rows = matrix[start : start + _BAND]
        used = np.flatnonzero(rows.any(axis=0))
        first, last = (int(used[0]), int(used[-1])) if len(used) else (0, 0)
        result.append((first, rows[:, first : last + 1]))
    return result


def _near(matrix: Matrix) -> Matrix:
    """The matrix without the negligible weights on both sides of each row; the rows keep their sums."""
    size = np.abs(matrix)
    matters = size > _NEGLIGIBLE * size.max(axis=1, keepdims=True)
    near = np.logical_or.accumulate(matters, axis=1) & np.logical_or.accumulate(matters[:, ::-1], axis=1)[:, ::-1]
    kept = np.where(near, matrix, 0.0)
    sums = kept.sum(axis=1, keepdims=True)
    scaled: Matrix = kept * np.divide(
        matrix.sum(axis=1, keepdims=True), sums, out=np.ones_like(sums), where=sums != 0.0
    )
    return scaled


def _axis(transform: Preprocessing, kept: float, pixels: int) -> Matrix:
    """The matrix of a transform along one axis of a picture, with the part that is kept in its middle."""
    middle, half = pixels / 2.0, kept * pixels / 2.0
    matrix = resampling_matrix(pixels, transform.size, transform.interpolation, (middle - half, middle + half))
    return matrix.astype(np.float64)


def view(image: npt.NDArray[np.uint8], canonical: Preprocessing, model: Preprocessing) -> npt.NDArray[np.float32]:
    """What a stage's model sees of a canonical image, as its graph computes it.

    Args:
        image: uint8 RGB [H,W,3].
        canonical: the big model's preprocessing.
        model: the preprocessing of the stage's model.

    Returns:
        float32 RGB [S,S,3], from 0 to 255, not rounded.
    """
    matrix = view_matrix(canonical, model)
    if matrix is None:
        return image.astype(np.float32)
    planes = image.astype(np.float64).transpose(2, 0, 1)
    seen = matrix @ planes @ matrix.T.astype(np.float64)
    return np.asarray(seen.clip(0.0, 255.0).transpose(1, 2, 0), np.float32)
