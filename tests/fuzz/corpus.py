"""Valid pictures of every format and kind, from which mutations start; and hostile ones, which are sent as they are."""

from __future__ import annotations

import functools
import struct
import zlib

import numpy as np
from PIL import Image

from tests.fuzz.hostile import (
    blank_png,
    blank_webp,
    bmp_header,
    chunk,
    encoded,
    gif_screen,
    gradient,
    many_scans,
    png,
    resized_header,
    riff,
    segment,
    with_segments,
)


@functools.cache
def seeds():
    """Name -> a small, valid picture."""
    image = gradient(61, 47)
    clear = image.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(image.size))
    frames = {"save_all": True, "append_images": [Image.new("RGB", image.size, "red")] * 2}
    exif = Image.Exif()
    exif[0x0112] = 6
    rows = np.random.default_rng(0).integers(0, 256, 200_000, np.uint8).tobytes()

    def noise(depth, colour, samples, *extra, interlaced=0):
        length = -(-31 * samples * depth // 8)
        lines = b"".join(bytes([row % 5]) + rows[row * length : (row + 1) * length] for row in range(29))
        return png(31, 29, depth, colour, lines, *extra, interlaced=interlaced)

    result = {
        "jpeg": encoded(image, "JPEG"),
        "jpeg grey": encoded(image.convert("L"), "JPEG"),
        "jpeg cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "jpeg progressive": encoded(image, "JPEG", progressive=True, exif=exif),
        "jpeg 4:4:4, restarts": encoded(image, "JPEG", subsampling=0, restart_marker_blocks=3),
        "jpeg scaled": encoded(gradient(700, 640), "JPEG"),
        "mpo": encoded(image, "MPO", **frames),
        "webp": encoded(image, "WEBP"),
        "webp alpha": encoded(clear, "WEBP"),
        "webp lossless": encoded(clear, "WEBP", lossless=True),
        "webp animated": encoded(image, "WEBP", **frames),
        "webp exif": encoded(image, "WEBP", exif=exif),
        "gif": encoded(image, "GIF"),
        "gif animated": encoded(clear, "GIF", **frames),
        "gif interlaced": encoded(image.quantize(16), "GIF", interlace=1),
        "png": encoded(image, "PNG"),
        "png alpha": encoded(clear, "PNG", exif=exif),
        "png animated": encoded(image, "PNG", **frames),
        "png interlaced": blank_png(33, 29, 8, 6, filter_type=4, interlaced=1),
        "bmp": encoded(image, "BMP"),
        "bmp grey": encoded(image.convert("L"), "BMP"),
        "bmp 1": encoded(image.convert("1"), "BMP"),
        "bmp alpha": encoded(clear, "BMP"),
        "bmp rle8": bmp_header(9, 7, 8, 1, colours=4)
        + bytes(range(16))
        + (b"\4\1\0\3\1\2\3\0\0\2\1\0\0\0") * 7
        + b"\0\1",
        "bmp rle4": bmp_header(9, 7, 4, 2, colours=4) + bytes(range(16)) + (b"\4\x12\0\3\x12\x30\0\0") * 7 + b"\0\1",
        "bmp upside down": bmp_header(9, -7, 24) + rows[: 28 * 7],
    }
    kinds = [
        (1, 0, 1),
        (2, 0, 1),
        (4, 0, 1),
        (8, 0, 1),
        (16, 0, 1),
        (8, 2, 3),
        (16, 2, 3),
        (8, 4, 2),
        (16, 4, 2),
        (16, 6, 4),
    ]
    for depth, colour, samples in kinds:
        key = [chunk(b"tRNS", b"\0\1" * samples)] if colour in (0, 2) else []
        result[f"png {colour}/{depth}"] = noise(depth, colour, samples, *key)
    for depth in (1, 2, 4, 8):
        palette = chunk(b"PLTE", rows[: 3 << depth]), chunk(b"tRNS", rows[:2])
        result[f"png 3/{depth}"] = noise(depth, 3, 1, *palette)
    return result


@functools.cache
def hostile():
    """Name -> a picture that costs far more than its length suggests, or has a lot of what is to be skipped."""
    jpeg, gif = encoded(gradient(), "JPEG"), encoded(gradient(), "GIF")
    bomb = zlib.compress(bytes(100 << 20))
    return {
        "1x20000": blank_png(1, 20_000, 8, 2),
        "1x8000000": blank_png(1, 8_000_000, 8, 2),
        "8000000x1": blank_png(8_000_000, 1, 8, 2),
        "48 megapixel png": blank_png(8_000, 6_000, 8, 2, filter_type=4),
        "100 megapixel png": png(10_000, 10_000, 8, 2, [bytes(30_001)]),
        "16 bit png with a key": blank_png(3_000, 3_000, 16, 2, chunk(b"tRNS", bytes(6)), filter_type=3),
        "interlaced png": blank_png(4_000, 3_000, 8, 6, filter_type=4, interlaced=1),
        "profile bomb": blank_png(9, 9, 8, 0, chunk(b"iCCP", b"x\0\0" + bomb)),
        "text bombs": blank_png(9, 9, 8, 0, *[chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb)] * 20),
        "xmp bomb": blank_png(9, 9, 8, 0, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb)),
        "a million chunks": blank_png(9, 9, 8, 0, chunk(b"teSt") * 1_000_000),
        "largest webp": blank_webp(16_383, 6_103),
        "14 megapixel webp": blank_webp(4_200, 3_300),
        "webp canvas": riff((b"VP8X", bytes([2, 0, 0, 0]) + b"\xff\xff\xff\xff\xff\xff"), (b"ANMF", bytes(40))),
        "10000 scans": many_scans(10_000),
        "800 scans": many_scans(800, 1_000, 1_000),
        "large jpeg": encoded(Image.new("L", (11_000, 9_000)), "JPEG"),
        "progressive jpeg": encoded(Image.new("RGB", (3_000, 2_500)), "JPEG", progressive=True),
        "claimed jpeg": resized_header(encoded(gradient(), "JPEG", progressive=True), 65_500, 1_500),
        "long jpeg": resized_header(jpeg, 65_535, 600),
        "segments": with_segments(jpeg, *[segment(0xE1, b"")] * 1_000_000),
        "metadata": with_segments(jpeg, *[segment(0xE2, bytes(65_000))] * 300),
        "tags": with_segments(
            jpeg, segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\1\x0f\0\2\0\0\xff\xff\0\0\0\0" * 5_000)
        ),
        "gif screen": gif_screen(gif, 9_999, 9_999),
        "gif comments": gif[:781] + b"\x21\xfe" + b"\xffc" * 1 + b"c" * 254 + b"\1c" * 5_000_000,
        "run lengths": bmp_header(1_000, 4_000, 8, 1, colours=2) + bytes(8) + (b"\1\1" * 999 + b"\0\0") * 650 + b"\0\1",
        "runs in rows of one": bmp_header(1, 3_000_000, 8, 1, colours=2) + bytes(8) + b"\0\2\0\xff" * 200_000,
        "claimed bmp": bmp_header(30_000, 3_000, 1) + struct.pack("<II", 0, 1),
    }
