"""PNG: chunks are read here, Pillow's codec inflates and unfilters the pixels.

Pillow's own reader refuses valid pictures for their metadata, and compares a transparent colour after it has scaled
the samples to 8 bits. Here metadata is skipped, and samples are compared as they are stored.
"""

from __future__ import annotations

import struct
import zlib

from littlebig_flatten import Region, cut, flatten, palette_on_white
from littlebig_limits import MIB, Cost, Limits, damaged
from littlebig_orientation import LONGEST_XMP, orientation_of
from PIL import Image, ImageChops

KIND = "PNG"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
# (colour type, bit depth) -> Pillow's mode, and its name for the stored samples. Of 16 bits the upper 8 are kept.
_MODES = {
    (_GREY, 1): ("1", "1"),
    (_GREY, 2): ("L", "L;2"),
    (_GREY, 4): ("L", "L;4"),
    (_GREY, 8): ("L", "L"),
    (_GREY, 16): ("L", "L;16B"),
    (_RGB, 8): ("RGB", "RGB"),
    (_RGB, 16): ("RGB", "RGB;16B"),
    (_PALETTE, 1): ("P", "P;1"),
    (_PALETTE, 2): ("P", "P;2"),
    (_PALETTE, 4): ("P", "P;4"),
    (_PALETTE, 8): ("P", "P"),
    (_GREY_ALPHA, 8): ("LA", "LA"),
    (_GREY_ALPHA, 16): ("RGBA", "LA;16B"),
    (_RGB_ALPHA, 8): ("RGBA", "RGBA"),
    (_RGB_ALPHA, 16): ("RGBA", "RGBA;16B"),
}
# The same for the lower 8 bits of 16: as if the bytes of a sample were swapped.
_LOWER = {_GREY: ("L", "L;16"), _RGB: ("RGB", "RGB;16L")}
_SAMPLES = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGB_ALPHA: 4}
# What an 8-bit grey value is of a sample.
_GREY_SCALE = {1: 255, 2: 85, 4: 17, 8: 1}
# Deflate shortens by a factor of 1032 at most: shorter data cannot hold the pixels that the header promises.
_LARGEST_RATIO = 1032
# Upper bounds, nanoseconds: per byte of samples, per pixel, per pixel with alpha, more for each if interlaced.
_NS_PER_BYTE, _NS_PER_PIXEL, _NS_PER_ALPHA, _NS_PER_INTERLACED = 7.5, 3.0, 9.0, 16.0


class PngPicture:
    """A PNG of any colour type and bit depth; of an animated one the default image."""

    kind, name = KIND, "PNG image"
    scales = (1,)

    def __init__(self, encoded: bytes, limits: Limits) -> None:
        """Read the chunks.

        Raises:
            BadImage: if those that matter are damaged, or exceed a limit.
        """
        self._exif = self._xmp = None
        self._palette = self._transparency = b""
        pixels: list[memoryview] = []
        header, view, position, parts = None, memoryview(encoded), len(SIGNATURE), 0
        while position + 8 <= len(encoded):
            length, name = struct.unpack_from(">I4s", encoded, position)
            start, end = position + 8, position + 8 + length
            parts += 1
            limits.check_parts(KIND, parts)
            if header is None:
                if name != b"IHDR" or length != 13 or not _intact(view, position):
                    raise damaged(KIND, "its header is broken")
                header = struct.unpack_from(">IIBBBBB", encoded, start)
            elif name == b"IDAT":
                pixels.append(view[start:end])  # the last may be cut short and hold all pixels nevertheless
            elif name == b"IEND":
                break
            elif end + 4 <= len(encoded):
                self._read(name, view[start:end], view, position, after_pixels=bool(pixels))
            position = end + 4
        if header is None:
            raise damaged(KIND, "it ends within its header")
        self.width, self.height, self.depth, self.colour, compression, filters, self.interlaced = header
        if not self.width or not self.height:
            raise damaged(KIND, f"its size is {self.width}x{self.height}")
        if (self.colour, self.depth) not in _MODES or compression or filters or self.interlaced > 1:
            raise damaged(
                KIND, f"colour type {self.colour} with {self.depth} bits, interlacing {self.interlaced} does not exist"
            )
        limits.check_size(self.width, self.height)
        if self.colour == _PALETTE and not self._palette:
            raise damaged(KIND, "it has no palette")
        self.row_bytes = -(-self.width * _SAMPLES[self.colour] * self.depth // 8)
        self._data = b"".join(pixels)
        if len(self._data) * _LARGEST_RATIO < self.row_bytes * self.height:
            raise damaged(KIND, "its pixel data is cut short")
        self.orientation = orientation_of(self._exif, self._xmp)

    def _read(self, name: bytes, content: memoryview, view: memoryview, position: int, *, after_pixels: bool) -> None:
        """Keep what matters of a chunk."""
        if name == b"PLTE" and not self._palette and not after_pixels:
            if len(content) % 3 or not 3 <= len(content) <= 768 or not _intact(view, position):
                raise damaged(KIND, "its palette is broken")
            self._palette = bytes(content)
        elif name == b"tRNS" and not after_pixels and _intact(view, position):
            self._transparency = bytes(content[:256])
        elif name == b"eXIf" and self._exif is None:
            self._exif = bytes(content)
        elif name == b"iTXt" and self._xmp is None and content[:18] == b"XML:com.adobe.xmp\0":
            self._xmp = _international_text(bytes(content[18:]))
        elif name in (b"tEXt", b"zTXt") and self._exif is None and content[:22] == b"Raw profile type exif\0":
            text = bytes(content[22:]) if name == b"tEXt" else _inflated(bytes(content[23:]))
            self._exif = _raw_profile(text)

    def cost(self, scale: int) -> Cost:
        """Time and memory of `decode`."""
        pixels = self.width * self.height
        work = self.row_bytes * self.height * _NS_PER_BYTE
        work += pixels * (_NS_PER_ALPHA if self.colour in (_GREY_ALPHA, _RGB_ALPHA) else _NS_PER_PIXEL)
        work += pixels * _NS_PER_INTERLACED * self.interlaced
        memory = pixels * self.pixel_bytes * (2 if self._has_deep_key else 1) + len(self._data) + 2 * self.row_bytes
        return Cost((2 if self._has_deep_key else 1) * work / 1e6, memory / MIB)

    @property
    def flatten_bytes(self) -> int:
        """Bytes for each pixel of a region while it becomes grey or RGB, its own included."""
        if self.colour in (_GREY, _RGB):
            return 2 * self.pixel_bytes if self._key() is None else 5 * self.pixel_bytes
        return 5 if self.colour == _PALETTE else 13

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a decoded pixel."""
        return 1 if self._mode[0] in ("1", "L", "P") else 4

    def decode(self, scale: int, region: Region) -> Image.Image:
        """A region of the stored picture, left, top, right, bottom in pixels; mode L or RGB, on white."""
        image = cut(self._samples(*self._mode), region)
        key = self._key()
        if self.colour == _PALETTE:
            image.putpalette(palette_on_white(self._palette, self._transparency))
        image = flatten(image)
        if key is None:
            return image
        if self.depth < 16:
            mask = _equals(image, [value * _GREY_SCALE[self.depth] for value in key])
        else:
            lower = cut(self._samples(*_LOWER[self.colour]), region)
            mask = _equals(image, [value >> 8 for value in key])
            mask = ImageChops.darker(mask, _equals(lower, [value & 255 for value in key]))
        image.paste("white", mask=mask)
        return image

    @property
    def _mode(self) -> tuple[str, str]:
        return _MODES[self.colour, self.depth]

    @property
    def _has_deep_key(self) -> bool:
        return self.depth == 16 and self._key() is not None

    def _key(self) -> list[int] | None:
        """The transparent colour, a sample per channel."""
        samples = _SAMPLES[self.colour]
        if self.colour not in (_GREY, _RGB) or len(self._transparency) < 2 * samples:
            return None
        stored = struct.unpack_from(f">{samples}H", self._transparency)
        return [value & ((1 << self.depth) - 1) for value in stored]

    def _samples(self, mode: str, raw: str) -> Image.Image:
        try:
            return Image.frombytes(mode, (self.width, self.height), self._data, "zip", (raw, self.interlaced))
        except ValueError as reason:
            short = "not enough" in str(reason)
            raise damaged(KIND, "its pixel data is cut short" if short else "its pixel data is broken") from None


def _intact(view: memoryview, position: int) -> bool:
    """Whether the checksum of the chunk at a position is right."""
    (length,) = struct.unpack_from(">I", view, position)
    end = position + 8 + length
    return len(view) >= end + 4 and zlib.crc32(view[position + 4 : end]) == int.from_bytes(view[end : end + 4], "big")


def _equals(image: Image.Image, key: list[int]) -> Image.Image:
    """A mask, 255 where all channels of an L or RGB image have the key's values."""
    table = [255 if value == wanted else 0 for wanted in key for value in range(256)]
    bands = image.point(table).split()
    mask = bands[0]
    for band in bands[1:]:
        mask = ImageChops.darker(mask, band)
    return mask


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, LONGEST_XMP)
    except zlib.error:
        return b""


def _international_text(content: bytes) -> bytes | None:
    """The text of an iTXt chunk after its keyword."""
    fields = content[2:].split(b"\0", 2)
    if len(content) < 2 or len(fields) < 3:
        return None
    return _inflated(fields[2]) if content[0] else fields[2][:LONGEST_XMP]


def _raw_profile(text: bytes) -> bytes | None:
    """EXIF as ImageMagick writes it: a name, a length and hexadecimal digits in lines."""
    try:
        return bytes.fromhex(b"".join(text[: 2 * LONGEST_XMP].split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return None
