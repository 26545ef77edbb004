"""What a picture may cost is known from its header; what is too much is refused with the limit's name."""

import struct
import time

import numpy as np
import pytest
from littlebig_limits import quoted
from littlebig_preprocess import BadImage, Job, PreprocessSettings, canonical_image
from PIL import Image

from tests.fuzz.hostile import (
    blank_png,
    blank_webp,
    bmp_header,
    encoded,
    gif_screen,
    gradient,
    many_scans,
    resized_header,
    riff,
    segment,
    split_jpeg,
    with_segments,
)

from .reference import LIMITS, settings

SERVED = settings(260, 292)
JPEG = encoded(gradient(400, 400), "JPEG")
PROGRESSIVE = encoded(gradient(400, 400), "JPEG", progressive=True)


def refusal(content, chosen=SERVED):
    started = time.process_time()
    with pytest.raises(BadImage) as error:
        canonical_image(content, chosen)
    assert time.process_time() - started < 1.0
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"not a picture at all", "is not a JPEG, PNG, WebP, BMP or GIF image"),
        (encoded(gradient(), "TIFF"), "is not a JPEG, PNG, WebP, BMP or GIF image"),
        (bytes((20 << 20) + 1), "has 20971521 bytes, more than the limit of 20971520 (parameter max_bytes)"),
        (
            blank_png(20_000, 20_000, 1),
            "is 20000x20000 = 400000000 pixels, more than the limit of 100000000 (parameter max_pixels)",
        ),
        (
            blank_webp(16_383, 6_103),
            "is a 16383x6103 WebP image that takes about 3718 ms to decode, more than the limit of 1800 "
            "(parameter max_decode_ms)",
        ),
        (
            gif_screen(encoded(gradient(), "GIF"), 65_535, 65_535),
            "is 65535x65535 = 4294836225 pixels, more than the limit of 100000000 (parameter max_pixels)",
        ),
    ],
)
def test_what_is_too_large_is_refused_with_the_limit(content, message):
    assert refusal(content) == message


@pytest.mark.parametrize(
    ("content", "limit"),
    [
        (many_scans(10_000), "max_decode_ms"),
        (blank_png(9_000, 9_000, 8, 2), "max_decode_m"),
        (blank_png(4_600, 4_600, 16, 6, interlaced=1), "max_decode_ms"),
        (blank_webp(5_000, 5_000), "max_decode_mib"),
        (bmp_header(3_000, 3_000, 8, 1, colours=256) + bytes(1024) + b"\1\5" * 2_000_000, "max_decode_ms"),
        (with_segments(JPEG, *[segment(0xEE, b"")] * 200_000), "max_parts"),
        (riff(*[(b"ABCD", b"")] * 200_000), "max_parts"),
        (b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b"\x21\xfe" + b"\1a" * 200_000, "max_parts"),
    ],
    ids=["scans", "large", "interlaced", "lossless", "runs", "segments", "chunks", "comments"],
)
def test_what_costs_too_much_is_refused_before_it_is_decoded(content, limit):
    assert f"(parameter {limit}" in refusal(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (resized_header(JPEG, 0, 400), "is a damaged JPEG image: its size is 0x400"),
        (JPEG.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"), "12 bits per sample"),
        (JPEG.replace(b"\xff\xc0", b"\xff\xc3"), "lossless"),
        (JPEG.replace(b"\xff\xc0", b"\xff\xc5"), "frame type 5"),
        (JPEG[:200], "a segment is cut short"),
        (JPEG[:2] + b"\xff\xd9\0\0", "it has no pixel data"),
        (bmp_header(5, 5, 24, 4) + bytes(200), "is a BMP image of a kind that is not decoded: compression 4"),
        (bmp_header(5, 5, 3) + bytes(200), "is a BMP image of a kind that is not decoded: 3 bits per pixel"),
        (bmp_header(9_000, 9_000, 24), "is a damaged BMP image: its pixel data is cut short"),
        (bmp_header(-5, 5, 24), "is a damaged BMP image: its size is -5x5"),
        (riff((b"VP8X", bytes(10))), "is a damaged WebP image: it has no frame"),
        (b"GIF89a" + bytes(7) + b";", "is a damaged GIF image: it has no frame"),
    ],
)
def test_the_true_fault_is_named(content, message):
    assert message in refusal(content)


def test_two_frame_headers_are_refused():
    segments, rest = split_jpeg(JPEG)
    frame = next(part for part in segments if part[1] == 0xC0)
    assert refusal(JPEG[:2] + frame + b"".join(segments) + rest) == "is a damaged JPEG image: it gives its size twice"


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.new("L", (9_000, 9_000)), "JPEG"),
        many_scans(100, 600, 600),
        blank_png(8_000, 6_000, 8, 2),
        blank_png(1, 8_000_000, 8, 0),
        blank_png(8_000_000, 1, 8, 0),
        bmp_header(300, 300, 8, 1, colours=2) + bytes(8) + (b"\xff\1\x2d\0\0\0") * 300 + b"\0\1",
        bmp_header(300, 300, 4, 2, colours=2) + bytes(8) + (b"\xff\x10\x2d\0\0\0") * 300 + b"\0\1",
        bmp_header(30, -30, 24) + bytes(92 * 30),
        with_segments(JPEG, *[segment(0xE2, bytes(65_000))] * 200),
    ],
    ids=["large jpeg", "scans", "48 megapixels", "tall", "wide", "rle8", "rle4", "upside down", "12 MB of metadata"],
)
def test_what_is_odd_but_cheap_is_answered(content):
    started = time.process_time()
    assert canonical_image(content, SERVED).shape == (260, 260, 3)
    assert time.process_time() - started < 4.0  # twice the promise, for a busy machine


def test_run_lengths_are_decoded():
    rows = b"\x03\1\x02\0\0\0" + b"\0\4\1\0\1\0\1\0\0\0" + b"\0\2\2\0\3\1\0\1"
    palette = struct.pack("<II", 0x000000, 0xFFFFFF)
    content = bmp_header(5, 3, 8, 1, colours=2) + palette + rows
    image = canonical_image(content, settings(3, 3, "squash", decode="full"))
    whole = Image.fromarray(np.array([[0, 0, 1, 1, 1], [1, 0, 1, 0, 0], [1, 1, 1, 0, 0]], np.uint8) * 255)
    expected = np.asarray(whole.resize((3, 3), Image.Resampling.BICUBIC))
    assert image[:, :, 0].tolist() == expected.tolist()


def test_progressive_pictures_cost_what_their_scans_cost():
    baseline, progressive = (Job(content, SERVED).cost for content in (JPEG, PROGRESSIVE))
    assert progressive.ms > 1.2 * baseline.ms
    assert progressive.mib > baseline.mib


def test_text_from_outside_is_escaped_and_cut():
    assert quoted("a\n\x1b[31m\u202e" + "b" * 500) == "a\\n\\x1b[31m\\u202e" + "b" * 100 + "..."


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError("deep"), OverflowError(), struct.error("x"), SyntaxError("y")]
)
def test_whatever_a_decoder_raises_is_the_picture_s_fault(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Image, "frombytes", fail)
    assert refusal(JPEG).startswith("is a damaged JPEG image: ")


PARAMETERS = {
    "resize": "36",
    "crop_mode": "center",
    "interpolation": "bicubic",
    "decode": "scaled",
    **{name: str(value) for name, value in vars(LIMITS).items() if name != "memory_parameter"},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resize": "0"}, "parameter 'resize' = '0' is not a positive whole number"),
        ({"resize": "15"}, "parameter 'resize' = 15 is less than half of the canonical image's 32"),
        ({"max_bytes": "many"}, "parameter 'max_bytes' = 'many' is not a positive whole number"),
        ({"max_decode_mib": "-1"}, "parameter 'max_decode_mib' = '-1' is not a positive whole number"),
        ({"interpolation": "nearest"}, "parameter 'interpolation' = 'nearest' is none of bilinear, bicubic, lanczos"),
        ({"crop_mode": "border"}, "parameter 'crop_mode' = 'border' is none of center, squash"),
        ({"decode": "half"}, "parameter 'decode' = 'half' is none of scaled, full"),
    ],
)
def test_a_wrong_setting_is_named(change, message):
    with pytest.raises(ValueError, match="parameter") as error:
        PreprocessSettings.from_parameters(32, {**PARAMETERS, **change})
    assert str(error.value) == message


def test_settings_are_read_from_parameters():
    assert PreprocessSettings.from_parameters(32, PARAMETERS) == settings(32, 36)
