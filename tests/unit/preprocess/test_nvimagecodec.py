"""JPEG by nvImageCodec and the resize by ONNX Runtime, on the CPU: compared with Pillow, which decodes all else.

Where the package is missing, a codec that Pillow decodes for stands in its place: window, resize and turning are tested
anywhere.
"""

import importlib.util
import io
import sys
import types

import numpy as np
import pytest
from littlebig_nvimagecodec import NvImageCodec
from littlebig_preprocess import BadImage, Job
from PIL import Image

from littlebig_export import decoding
from littlebig_export.pictures import photographs
from littlebig_export.preprocessing import Preprocessing

from .reference import settings

HAS_PACKAGE = importlib.util.find_spec("nvidia.nvimgcodec") is not None
NO_PACKAGE = pytest.mark.skipif(not HAS_PACKAGE, reason="no nvImageCodec here: pip install 'littlebig[nvimagecodec]'")


class PillowCodec:
    """Of nvidia.nvimgcodec what the code uses."""

    SRGB = I_RGB = CPU_ONLY = NVIMGCODEC_DEVICE_CPU_ONLY = "any"

    def __init__(self):
        self.decoded = 0
        self.DecodeParams = self.Backend = self.Decoder = lambda *_, **__: self

    def decode(self, data, params):
        self.decoded += 1
        try:
            return np.array(Image.open(io.BytesIO(data)).convert("RGB"))
        except OSError:
            return None


def preprocessing(size, interpolation):
    return Preprocessing(
        size=size, crop_pct=0.9, crop_mode="center", interpolation=interpolation, mean=(0, 0, 0), std=(1, 1, 1)
    )


def renderer(folder, size=260, interpolation="bicubic"):
    decoding.write_resize(preprocessing(size, interpolation), folder)
    return NvImageCodec(folder, None)


@pytest.fixture(params=["stand-in", pytest.param("nvImageCodec", marks=NO_PACKAGE)])
def codec(request, monkeypatch):
    if request.param == "nvImageCodec":
        return None
    stand_in = PillowCodec()
    monkeypatch.setitem(sys.modules, "nvidia", types.SimpleNamespace(nvimgcodec=stand_in))
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", stand_in)
    return stand_in


def encoded(image, kind="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def job(content, **options):
    return Job(content, settings(**{"size": 260, "resize": 292, "decode": "full", **options}))


def close(ours, pillows, changed=0.002):
    difference = np.abs(ours.astype(int) - pillows)
    return difference.max() <= 2 and np.mean(difference > 0) < changed


@pytest.mark.parametrize(("interpolation", "changed"), [("bicubic", 0.002), ("bilinear", 0.01)])
def test_photographs_are_pillows_but_for_rounding(codec, tmp_path, interpolation, changed):
    rendered = renderer(tmp_path, interpolation=interpolation)
    for number, photograph in enumerate(photographs()):
        options = ({"subsampling": number % 3}, {"progressive": True}, {"quality": 40})[number % 3]
        one = job(encoded(photograph, **options), interpolation=interpolation)
        ours = rendered.image(one)
        assert ours.shape == (260, 260, 3)
        assert ours.dtype == np.uint8
        assert close(ours, one.image(), changed)
    assert codec is None or codec.decoded == len(photographs())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("sides", [(401, 303), (302, 400)])
def test_turned_pictures_come_out_upright(codec, tmp_path, orientation, sides):
    exif = Image.Exif()
    exif[0x0112] = orientation
    one = job(encoded(photographs()[0].resize(sides), exif=exif))
    assert close(renderer(tmp_path).image(one), one.image())
    assert codec is None or codec.decoded == 1


def test_grey_pictures_become_rgb(codec, tmp_path):
    one = job(encoded(photographs()[0].convert("L")))
    assert close(renderer(tmp_path).image(one), one.image())


ELSEWHERE = {
    "PNG": lambda image: encoded(image, "PNG"),
    "CMYK": lambda image: encoded(image.convert("CMYK")),
    "RGB": lambda image: encoded(image, keep_rgb=True),
    "panorama": lambda image: encoded(image.resize((2000, 300))),
}


@pytest.mark.parametrize("content", ELSEWHERE.values(), ids=ELSEWHERE)
def test_what_nvimagecodec_may_read_otherwise_is_pillows(codec, tmp_path, content):
    one = job(content(photographs()[0]))
    np.testing.assert_array_equal(renderer(tmp_path).image(one), one.image())
    assert codec is None or codec.decoded == 0


def test_a_damaged_picture_is_refused_as_by_pillow(codec, tmp_path):
    content = encoded(photographs()[0])
    with pytest.raises(BadImage, match=r"^is a damaged JPEG image: its pixel data is cut short$"):
        renderer(tmp_path).image(job(content[: len(content) // 2]))


def test_a_device_that_fails_leaves_the_picture_to_pillow_and_says_so(tmp_path, monkeypatch, caplog):
    stand_in = PillowCodec()
    monkeypatch.setitem(sys.modules, "nvidia", types.SimpleNamespace(nvimgcodec=stand_in))
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", stand_in)
    rendered = renderer(tmp_path)

    def fails(*_, **__):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(stand_in, "decode", fails)
    one = job(encoded(photographs()[0]))
    np.testing.assert_array_equal(rendered.image(one), one.image())
    assert caplog.messages == ["nvImageCodec fails, Pillow decodes instead: CUDA error: out of memory"]


def test_a_missing_package_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia", None)
    with pytest.raises(
        ValueError,
        match=r"^parameter 'decoder' = 'nvimagecodec' needs a package \(.*\): pip install 'littlebig\[nvimagecodec\]'$",
    ):
        renderer(tmp_path)


def test_a_gpu_that_is_not_there_is_refused_in_one_line(codec, tmp_path):
    renderer(tmp_path)
    with pytest.raises(ValueError, match=r"^parameter 'decoder' = 'nvimagecodec' [^\n]+$"):
        NvImageCodec(tmp_path, 0)


def test_a_filter_that_onnx_lacks_is_refused():
    with pytest.raises(
        decoding.PairError, match=r"resizes by bilinear or bicubic, and the big model's transform is lanczos"
    ):
        decoding.check_decoder("nvimagecodec", preprocessing(260, "lanczos"))
    decoding.check_decoder("pillow", preprocessing(260, "lanczos"))
