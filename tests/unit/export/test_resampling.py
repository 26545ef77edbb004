import numpy as np
import pytest
from PIL import Image

from littlebig_export.errors import PairError
from littlebig_export.resampling import resampling_matrix

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(
    ("source", "target", "box"),
    [(260, 224, (2.25, 257.75)), (384, 224, None), (600, 260, (13.5, 586.5)), (100, 100, None), (64, 97, (3.3, 60.1))],
)
def test_the_matrix_resizes_as_pillow_does(source, target, box, interpolation):
    pixels = RANDOM.integers(0, 256, (source, source), np.uint8)
    start, end = box or (0, source)
    wanted = Image.fromarray(pixels).resize(
        (target, target), Image.Resampling[interpolation.upper()], box=(start, start, end, end)
    )
    matrix = resampling_matrix(source, target, interpolation, box).astype(np.float64)
    columns = (pixels @ matrix.T).round().clip(0, 255)  # Pillow keeps whole numbers between its two passes
    ours = (matrix @ columns).round().clip(0, 255)
    difference = np.abs(ours - np.asarray(wanted))
    assert difference.max() <= 1  # Pillow rounds ties up, the graph to even: bilinear's simple fractions have some
    assert (difference > 0).mean() < 0.02


def test_every_row_sums_to_one_so_that_flat_colour_stays_flat():
    assert resampling_matrix(260, 224, "bicubic", (2.25, 257.75)).sum(1) == pytest.approx(np.ones(224), abs=1e-6)


def test_same_size_is_the_identity():
    assert np.array_equal(resampling_matrix(50, 50, "bicubic"), np.eye(50, dtype=np.float32))


def test_an_interpolation_that_pillow_does_otherwise_is_refused():
    with pytest.raises(PairError, match="interpolation 'nearest' is not one of bilinear, bicubic, lanczos"):
        resampling_matrix(10, 5, "nearest")
