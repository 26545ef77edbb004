"""Only what is kept is resized; the result is that of resizing everything."""

from pathlib import Path

import numpy as np
import pytest
from littlebig_fit import Fit, cut
from littlebig_preprocess import Job, canonical_image
from PIL import Image

from tests.fuzz.hostile import encoded

from .reference import settings, whole_picture

skimage = pytest.importorskip("skimage")
DATA = Path(skimage.__file__).parent / "data"
CASES = [  # size, crop_pct, crop_mode, interpolation: lite2, efficientvit_l3, B7, volo (black border), squash, bilinear
    (260, 0.89, "center", "bicubic"),
    (384, 1.0, "center", "bicubic"),
    (600, 0.949, "center", "bicubic"),
    (448, 1.15, "center", "bicubic"),
    (224, 0.9, "squash", "bicubic"),
    (299, 0.875, "center", "bilinear"),
]
SIZES = [(640, 480), (375, 500), (500, 333), (97, 211), (301, 299), (1000, 1003)]
# Positions are held in 32 bits: where a sum lies right between two values, it may be rounded the other way.
MOST_LEVELS, MOST_VALUES = 2, 1e-3


def photograph(name="chelsea.png", size=None):
    image = Image.open(DATA / name).convert("RGB")
    return image.resize(size, Image.Resampling.BICUBIC) if size else image


def differences(ours, theirs):
    gaps = np.abs(ours.astype(int) - theirs)
    return gaps.max(), (gaps > 0).mean()


@pytest.mark.parametrize(("size", "crop_pct", "crop_mode", "interpolation"), CASES)
def test_images_are_those_of_timm(size, crop_pct, crop_mode, interpolation):
    timm_data = pytest.importorskip("timm.data")
    shares = []
    for dimensions in SIZES:
        image = photograph("coffee.png", dimensions)
        theirs = timm_data.create_transform(
            (3, size, size),
            crop_pct=crop_pct,
            crop_mode=crop_mode,
            interpolation=interpolation,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        )(image)
        expected = (theirs.numpy() * 255.0).round().astype(np.uint8).transpose(1, 2, 0)
        ours = Fit(size, int(size / crop_pct), crop_mode, interpolation).apply(image)
        levels, values = differences(np.asarray(ours), expected)
        assert levels <= MOST_LEVELS
        shares.append(values)
    assert np.median(shares) <= 3e-4
    assert max(shares) <= 1e-2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dimensions", [(640, 480), (333, 801), (301, 299)])
def test_turning_a_region_equals_turning_the_picture(orientation, dimensions):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photograph(size=dimensions), "PNG", exif=exif, compress_level=1)
    chosen = settings(260, 292)
    levels, values = differences(canonical_image(content, chosen), whole_picture(content, chosen.fit))
    assert levels <= MOST_LEVELS
    assert values <= MOST_VALUES


@pytest.mark.parametrize("dimensions", [(1, 20_000), (20_000, 1), (1, 1), (3, 2), (2, 7000)])
@pytest.mark.parametrize("crop_mode", ["center", "squash"])
def test_extreme_shapes_take_little_memory(dimensions, crop_mode):
    content = encoded(Image.new("RGB", dimensions, (7, 90, 200)), "PNG")
    chosen = settings(260, 292, crop_mode)
    assert np.unique(canonical_image(content, chosen).reshape(-1, 3), axis=0).tolist() == [[7, 90, 200]]
    assert Job(content, chosen).cost.mib < 40


@pytest.mark.parametrize(
    ("dimensions", "scale"), [((1167, 1167), 1), ((1168, 1168), 2), ((4000, 3000), 4), ((584, 9000), 1)]
)
def test_the_decoder_s_scale_leaves_twice_the_target(dimensions, scale):
    assert Fit(260, 292, "center", "bicubic").scale(*dimensions, (1, 2, 4, 8)) == scale


@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 7])
def test_scaled_decoding_changes_little(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photograph(size=(1801, 1303)), "JPEG", quality=92, exif=exif)
    scaled, full = (canonical_image(content, settings(260, 292, decode=how)) for how in ("scaled", "full"))
    gaps = np.abs(scaled.astype(int) - full)
    assert gaps.mean() < 1.0
    assert 0 < gaps.max() < 40


def test_a_picture_below_the_scaled_size_is_decoded_in_full():
    content = encoded(photograph(size=(1160, 1000)), "JPEG", quality=92)
    scaled, full = (canonical_image(content, settings(260, 292, decode=how)) for how in ("scaled", "full"))
    assert (scaled == full).all()


def test_a_region_reaches_as_far_as_the_filter():
    whole = cut(Fit(260, 292, "center", "bicubic"), 4000, 3000, 1, 4)
    left, top, right, bottom = whole.region
    assert max(right - left, bottom - top) < 710
    assert whole.across.start >= 2 * 750 / 292
