import contextlib
import io

import numpy as np
import pytest
from littlebig_preprocess import BadImage, Settings, canonical_image, decode
from PIL import Image

SETTINGS = Settings(
    size=32, resize=36, crop_mode="center", interpolation="bicubic", max_bytes=1 << 20, max_pixels=1 << 20
)
LIMITS = (1 << 20, 1 << 20)


def picture(width=48, height=40):
    """A picture whose every pixel says where it is."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([x * 5, y * 6, 255 - x * 3], -1).astype(np.uint8))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(image):
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP", "JPEG"])
def test_every_format_gives_the_picture(kind):
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    decoded = decode(encoded(picture(), kind, **options), *LIMITS)
    assert decoded.mode == "RGB"
    tolerance = {"JPEG": 6, "GIF": 60}.get(kind, 0)  # lossy, and 256 colours
    assert np.abs(pixels(decoded) - pixels(picture())).max() <= tolerance


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "lime")]
    animated = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels(decode(animated, *LIMITS))[0, 0].tolist() == [255, 0, 0]


def test_greyscale_palette_and_cmyk_become_rgb():
    grey = picture().convert("L")
    assert pixels(decode(encoded(grey, "PNG"), *LIMITS))[:, :, 1].tolist() == pixels(grey).tolist()
    palette = picture().quantize(64)
    assert (pixels(decode(encoded(palette, "PNG"), *LIMITS)) == pixels(palette.convert("RGB"))).all()
    cmyk = picture().convert("CMYK")
    decoded = decode(encoded(cmyk, "JPEG", quality=100, subsampling=0), *LIMITS)
    assert np.abs(pixels(decoded) - pixels(cmyk.convert("RGB"))).max() <= 6


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_shown_on_white(mode):
    image = Image.new("RGBA", (40, 40), (200, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 20, 40))
    decoded = pixels(decode(encoded(image.convert(mode), "PNG"), *LIMITS))
    assert decoded[0, 0].tolist() == [255, 255, 255]
    assert decoded[0, 39].tolist() != [255, 255, 255]


def test_16_bit_grey_is_scaled_and_not_clipped():
    deep = Image.fromarray((np.arange(1600, dtype=np.uint32).reshape(40, 40) * 40).astype(np.uint16))
    decoded = pixels(decode(encoded(deep, "PNG"), *LIMITS))
    assert decoded[:, :, 0].tolist() == (np.arange(1600).reshape(40, 40) * 40 >> 8).tolist()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation):
    upright = picture()
    undo = {
        1: (),
        2: (Image.Transpose.FLIP_LEFT_RIGHT,),
        3: (Image.Transpose.ROTATE_180,),
        4: (Image.Transpose.FLIP_TOP_BOTTOM,),
        5: (Image.Transpose.TRANSPOSE,),
        6: (Image.Transpose.ROTATE_90,),  # stored turned left, so that turning right puts it up
        7: (Image.Transpose.TRANSVERSE,),
        8: (Image.Transpose.ROTATE_270,),
    }[orientation]
    stored = upright
    for step in undo:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(encoded(stored, "PNG", exif=exif), *LIMITS)
    assert decoded.size == upright.size
    assert (pixels(decoded) == pixels(upright)).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow tells, and goes on
def test_broken_exif_does_not_spoil_the_picture():
    assert decode(encoded(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), *LIMITS).size == (48, 40)


def test_the_canonical_image_has_its_size_whatever_the_picture_is():
    for width, height in ((40, 40), (10, 200), (301, 37), (1, 1)):
        image = canonical_image(encoded(picture(width, height), "PNG"), SETTINGS)
        assert image.shape == (32, 32, 3)
        assert image.dtype == np.uint8


PNG = encoded(picture(), "PNG")
JPEG = encoded(picture(400, 400), "JPEG")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"not a picture at all", "is not a JPEG, PNG, WebP, BMP or GIF image"),
        (encoded(picture(), "TIFF"), "is not a JPEG, PNG, WebP, BMP or GIF image"),
        (b"\0" * ((1 << 20) + 1), "has 1048577 bytes, more than the limit of 1048576 (parameter max_bytes)"),
        (
            encoded(Image.new("1", (2000, 2000)), "PNG"),
            "is 2000x2000 = 4000000 pixels, more than the limit of 1048576 (parameter max_pixels)",
        ),
    ],
)
def test_what_is_no_picture_or_too_large_is_refused(content, message):
    with pytest.raises(BadImage) as error:
        canonical_image(content, SETTINGS)
    assert str(error.value) == message


@pytest.mark.parametrize(("content", "kind"), [(PNG[: len(PNG) // 2], "PNG"), (JPEG[: len(JPEG) // 2], "JPEG")])
def test_a_truncated_picture_is_refused(content, kind):
    with pytest.raises(BadImage, match=f"^is a damaged {kind} image: "):
        canonical_image(content, SETTINGS)


def test_no_damage_to_a_file_gets_past_as_anything_but_a_picture_or_a_refusal():
    random = np.random.default_rng(0)
    for original in (PNG, JPEG, encoded(picture(), "GIF"), encoded(picture(), "WEBP"), encoded(picture(), "BMP")):
        for _ in range(60):
            broken = bytearray(original)
            for position in random.integers(0, len(broken), 8):
                broken[position] = random.integers(0, 256)
            with contextlib.suppress(BadImage):
                assert canonical_image(bytes(broken), SETTINGS).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resize": "0"}, "parameter 'resize' = '0' is not a positive whole number"),
        ({"resize": "20"}, "parameter 'resize' = 20 is smaller than the canonical image's 32"),
        ({"max_bytes": "many"}, "parameter 'max_bytes' = 'many' is not a positive whole number"),
        ({"interpolation": "nearest"}, "parameter 'interpolation' = 'nearest' is none of bilinear, bicubic, lanczos"),
        ({"crop_mode": "border"}, "parameter 'crop_mode' = 'border' is none of center, squash"),
    ],
)
def test_a_wrong_setting_is_named(change, message):
    parameters = {
        "resize": "36",
        "crop_mode": "center",
        "interpolation": "bicubic",
        "max_bytes": "1000",
        "max_pixels": "1000",
        **change,
    }
    with pytest.raises(ValueError, match="parameter") as error:
        Settings.from_parameters(32, parameters)
    assert str(error.value) == message
