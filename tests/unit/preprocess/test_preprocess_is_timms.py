"""The canonical image is, pixel for pixel, what timm's evaluation transform of the big model sees."""

from pathlib import Path

import numpy as np
import pytest
from littlebig_preprocess import Settings, fit
from PIL import Image

timm_data = pytest.importorskip("timm.data")
skimage = pytest.importorskip("skimage")

CASES = [  # size, crop_pct, crop_mode, interpolation: lite2, efficientvit_l3, B7, a squashing one, a bilinear one
    (260, 0.89, "center", "bicubic"),
    (384, 1.0, "center", "bicubic"),
    (600, 0.949, "center", "bicubic"),
    (224, 0.9, "squash", "bicubic"),
    (299, 0.875, "center", "bilinear"),
]


@pytest.mark.parametrize(("size", "crop_pct", "crop_mode", "interpolation"), CASES)
@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg"])
def test_pixel_equal_to_timm(name, size, crop_pct, crop_mode, interpolation):
    picture = Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
    for image in (picture, picture.rotate(90, expand=True), picture.resize((97, 211)), picture.crop((0, 0, 301, 299))):
        theirs = timm_data.create_transform(
            (3, size, size),
            crop_pct=crop_pct,
            crop_mode=crop_mode,
            interpolation=interpolation,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        )(image)
        expected = (theirs.numpy() * 255.0).round().astype(np.uint8).transpose(1, 2, 0)
        resize = int(size / crop_pct)
        ours = np.asarray(fit(image, Settings(size, resize, crop_mode, interpolation, 1, 1)))
        assert np.array_equal(ours, expected)
