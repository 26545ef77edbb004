"""Every kind of PNG against a decoder that follows the specification pixel by pixel."""

import struct
import zlib

import numpy as np
import pytest
from littlebig_preprocess import BadImage, canonical_image

from tests.fuzz.hostile import chunk, encoded, gradient, png

from .reference import decode_png, settings

SIZE = 19
PLAIN = settings(size=SIZE, resize=SIZE)
KINDS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8)]
KINDS += [(4, 8), (4, 16), (6, 8), (6, 16)]
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def pixels(content):
    return canonical_image(content, PLAIN).astype(int)


def random_png(colour, depth, transparency=None, interlaced=0, seed=0):
    """Noise of few values, in every filter; with a transparency chunk if one is given."""
    random = np.random.default_rng([seed, colour, depth])
    adam7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = b""
    for x, y, across, down in adam7 if interlaced else ((0, 0, 1, 1),):
        columns = -(-(SIZE - x) // across)
        length = -(-columns * SAMPLES[colour] * depth // 8)
        for row in range(-(-(SIZE - y) // down)):
            kind = 0 if colour == 3 else row % 5
            rows += bytes([kind]) + random.choice([0, 0x1B, 0x80, 0xFF], length).astype(np.uint8).tobytes()
    extra = [chunk(b"PLTE", random.integers(0, 256, 3 * (1 << depth), np.uint8).tobytes())] if colour == 3 else []
    if transparency is not None:
        extra.append(chunk(b"tRNS", transparency))
    return png(SIZE, SIZE, depth, colour, rows, *extra, interlaced=interlaced)


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_every_kind_is_decoded_as_specified(colour, depth, interlaced):
    content = random_png(colour, depth, interlaced=interlaced)
    assert np.abs(pixels(content) - decode_png(content)).max() <= (1 if colour in (4, 6) else 0)  # blending rounds


@pytest.mark.parametrize(("colour", "depth"), [kind for kind in KINDS if kind[0] in (0, 2)])
def test_a_transparent_colour_is_white_for_every_depth(colour, depth):
    top = (1 << depth) - 1
    for sample in (0, 1 & top, top >> 1, top, 0x8000 & top):
        content = random_png(colour, depth, struct.pack(f">{SAMPLES[colour]}H", *[sample] * SAMPLES[colour]))
        assert (pixels(content) == decode_png(content)).all()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_palette_s_alphas_are_shown_on_white(depth):
    for alphas in (b"\0", bytes([255, 0]), bytes(range(1 << depth))):
        content = random_png(3, depth, alphas)
        assert np.abs(pixels(content) - decode_png(content)).max() <= 1


def test_16_bit_black_with_a_grey_key_stays_black():
    row = b"\0" + bytes(6 * SIZE)
    content = png(SIZE, SIZE, 16, 2, row * SIZE, chunk(b"tRNS", b"\x80\0" * 3))
    assert pixels(content).max() == 0


def test_a_key_that_shares_only_the_upper_bits_is_not_transparent():
    row = b"\0" + b"\x12\x34" * 3 * SIZE
    same, other = (png(SIZE, SIZE, 16, 2, row * SIZE, chunk(b"tRNS", key * 3)) for key in (b"\x12\x34", b"\x12\x35"))
    assert pixels(same).min() == 255
    assert pixels(other).max() == 0x12


PHOTO = encoded(gradient(SIZE, SIZE), "PNG")


def with_chunk(*parts):
    return PHOTO[:33] + b"".join(parts) + PHOTO[33:]


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(50 << 20))),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50 << 20))),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(50 << 20))),
        chunk(b"tEXt", b"Comment\0" + bytes(3 << 20)),
        chunk(b"tEXt", b"Comment", checksum=1),
        chunk(b"gAMA", b"\0\0\xb1\x8f", checksum=1),
        chunk(b"eXIf", b"MM\0*" + b"\xff" * (2 << 20)),
        chunk(b"pHYs", b""),
        chunk(b"tRNS", b""),
        chunk(b"acTL", struct.pack(">II", 1 << 30, 0)),
        chunk(b"noSe") * 90_000,
    ],
    ids=["profile", "text bomb", "xmp bomb", "long text", "checksum", "gamma", "exif", "empty", "key", "apng", "many"],
)
def test_metadata_does_not_spoil_a_picture(extra):
    assert (pixels(with_chunk(extra)) == pixels(PHOTO)).all()


def test_orientation_in_imagemagick_s_text_chunk_is_undone():
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0"
    text = b"Raw profile type exif\0" + b"\nexif\n%8d\n" % len(exif) + exif.hex().encode()
    assert (pixels(with_chunk(chunk(b"tEXt", text))) == pixels(PHOTO)[::-1, ::-1]).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (PHOTO[:8], "is a damaged PNG image: it ends within its header"),
        (PHOTO[:24], "is a damaged PNG image: its header is broken"),
        (PHOTO[:33] + chunk(b"IEND"), "is a damaged PNG image: its pixel data is cut short"),
        (png(0, 5, 8, 0, b""), "is a damaged PNG image: its size is 0x5"),
        (png(5, 5, 3, 0, bytes(30)), "is a damaged PNG image: colour type 0 with 3 bits, interlacing 0 does not exist"),
        (png(5, 5, 8, 3, bytes(30)), "is a damaged PNG image: it has no palette"),
        (png(5, 5, 8, 0, b"\7" * 30), "is a damaged PNG image: its pixel data is broken"),
        (png(9000, 9000, 8, 0, b""), "is a damaged PNG image: its pixel data is cut short"),
    ],
)
def test_a_broken_png_is_refused_with_its_fault(content, message):
    with pytest.raises(BadImage) as error:
        canonical_image(content, PLAIN)
    assert str(error.value) == message


def test_pixels_in_many_chunks_are_joined():
    start, end = PHOTO.index(b"IDAT") - 4, len(PHOTO) - 12
    data = PHOTO[start + 8 : end - 4]
    many = b"".join(chunk(b"IDAT", bytes([byte])) for byte in data)
    assert (pixels(PHOTO[:start] + many + PHOTO[end:]) == pixels(PHOTO)).all()
