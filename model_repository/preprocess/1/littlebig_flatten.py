"""Any of Pillow's modes to grey or RGB; what is transparent is shown on white."""

from __future__ import annotations

from PIL import Image

Region = tuple[int, int, int, int]


def cut(image: Image.Image, region: Region) -> Image.Image:
    """A region, left, top, right, bottom in pixels, of an image; the image itself where that is all of it."""
    return image if region == (0, 0, *image.size) else image.crop(region)


def flatten(image: Image.Image) -> Image.Image:
    """An image of mode L or RGB, whose values a linear filter may average."""
    if image.mode == "P":
        return _from_palette(image)
    if image.has_transparency_data:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        page = Image.new("RGB", layer.size, "white")
        page.paste(layer, mask=layer.getchannel("A"))
        return page
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def palette_on_white(palette: bytes, alphas: bytes) -> bytes:
    """RGB of 256 entries, each shown on white with its alpha.

    Args:
        palette: RGB of the entries there are.
        alphas: of the first entries; the others are opaque.
    """
    entries = len(palette) // 3
    colours = Image.frombytes("RGB", (entries, 1), palette[: 3 * entries])
    page = Image.new("RGB", colours.size, "white")
    page.paste(colours, mask=Image.frombytes("L", colours.size, alphas[:entries].ljust(entries, b"\xff")))
    return page.tobytes().ljust(768, b"\0")


def _from_palette(image: Image.Image) -> Image.Image:
    """RGB of a palette image: its transparency is applied to the palette, not to each pixel."""
    palette, transparency = bytes(image.getpalette("RGB") or bytes(3)), image.info.pop("transparency", b"")
    if isinstance(transparency, int):
        transparency = b"\xff" * transparency + b"\0"
    image.putpalette(palette_on_white(palette, transparency))
    return image.convert("RGB")
