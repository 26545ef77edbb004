import contextlib

import numpy as np
import pytest
from littlebig_preprocess import BadImage, canonical_image
from PIL import Image

from tests.fuzz.hostile import encoded, gradient, segment, split_jpeg, with_segments

from .reference import settings

# Nothing is resized or cut: what comes out is the decoded picture.
PLAIN = settings(size=40, resize=40)


def pixels(content):
    return canonical_image(content, PLAIN).astype(int)


def picture():
    return gradient(40, 40)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP", "JPEG"])
def test_every_format_gives_the_picture(kind):
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    tolerance = {"JPEG": 6, "GIF": 60}.get(kind, 0)  # lossy, and 256 colours
    assert np.abs(pixels(encoded(picture(), kind, **options)) - np.asarray(picture())).max() <= tolerance


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation_counts(kind):
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "lime")]
    options = {"WEBP": {"lossless": True}}.get(kind, {})
    animated = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert pixels(animated)[20, 20].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_modes_become_rgb(mode):
    image = picture().quantize(64) if mode == "P" else picture().convert(mode)
    if mode == "CMYK":
        difference = np.abs(
            pixels(encoded(image, "JPEG", quality=100, subsampling=0)) - np.asarray(image.convert("RGB"))
        )
        assert difference.max() <= 6
    else:
        assert (pixels(encoded(image, "PNG")) == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "P"), ("WEBP", "RGBA"), ("GIF", "RGBA")]
)
def test_transparent_pixels_are_white(kind, mode):
    image = Image.new("RGBA", (40, 40), (200, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 20, 40))
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = pixels(encoded(image.convert(mode), kind, **options))
    assert decoded[0, 0].tolist() == [255, 255, 255]
    assert decoded[0, 39].tolist() != [255, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "in_xmp"), [("PNG", False), ("JPEG", False), ("WEBP", False), ("JPEG", True), ("WEBP", True)]
)
def test_orientation_is_undone(orientation, kind, in_xmp):
    undo = Image.Transpose
    turns = {
        2: undo.FLIP_LEFT_RIGHT,
        3: undo.ROTATE_180,
        4: undo.FLIP_TOP_BOTTOM,
        5: undo.TRANSPOSE,
        6: undo.ROTATE_90,  # stored turned left, so that turning right puts it up
        7: undo.TRANSVERSE,
        8: undo.ROTATE_270,
    }
    stored = picture().transpose(turns[orientation]) if orientation in turns else picture()
    exif = Image.Exif()
    exif[0x0112] = orientation
    tag = {"xmp": f'<x tiff:Orientation="{orientation}"/>'.encode()} if in_xmp else {"exif": exif}
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    difference = np.abs(pixels(encoded(stored, kind, **tag, **options)) - np.asarray(picture()))
    assert difference.max() <= (6 if kind == "JPEG" else 0)


@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\0\0\0\0\0\0"],
)
def test_broken_exif_does_not_spoil_the_picture(exif):
    assert pixels(with_segments(encoded(picture(), "JPEG"), segment(0xE1, exif))).shape == (40, 40, 3)


def test_a_phone_s_second_picture_is_ignored():
    first = encoded(picture(), "JPEG")
    both = encoded(picture(), "MPO", save_all=True, append_images=[Image.new("RGB", (40, 40), "red")])
    assert (pixels(both) == pixels(first)).all()
    assert (pixels(first + b"trailing bytes") == pixels(first)).all()


def test_junk_and_fill_bytes_between_segments_are_skipped():
    file = encoded(picture(), "JPEG")
    segments, rest = split_jpeg(file)
    assert (pixels(file[:2] + b"\xff\xff" + b"\xff\xff".join(segments) + rest) == pixels(file)).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_a_truncated_picture_is_refused(kind):
    content = encoded(gradient(400, 400), kind)
    for length in (len(content) // 2, 40, 20):
        with pytest.raises(BadImage, match=f"^is a damaged {'WebP' if kind == 'WEBP' else kind} image: "):
            canonical_image(content[:length], PLAIN)


def test_damage_leads_to_a_picture_or_a_refusal():
    random = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP"):
        original = encoded(picture(), kind)
        for _ in range(60):
            broken = bytearray(original)
            for position in random.integers(0, len(broken), 8):
                broken[position] = random.integers(0, 256)
            with contextlib.suppress(BadImage):
                assert pixels(bytes(broken)).shape == (40, 40, 3)
