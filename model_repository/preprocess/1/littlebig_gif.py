"""GIF: the first frame is cut out of the file here, Pillow decodes it.

Pillow's own reader joins all comments before the frame block by block, which takes hours for a crafted file.
"""

from __future__ import annotations

import io

from littlebig_flatten import Region, cut, flatten
from littlebig_limits import MIB, Cost, Limits, damaged
from PIL import Image

KIND = "GIF"
_EXTENSION, _IMAGE, _GRAPHIC_CONTROL = 0x21, 0x2C, 0xF9
# LZW codes have 3 bits at least and stand for 4096 pixels at most.
_LARGEST_RATIO = 8 * 4096 // 3
# Upper bounds, nanoseconds: per pixel of the screen, per pixel of the frame, per byte.
_NS_PER_SCREEN_PIXEL, _NS_PER_PIXEL, _NS_PER_BYTE = 1.0, 8.0, 20.0


class GifPicture:
    """The first frame of a GIF on its screen."""

    kind, name = KIND, "GIF image"
    scales = (1,)
    orientation = 1
    pixel_bytes, flatten_bytes = 1, 5

    def __init__(self, encoded: bytes, limits: Limits) -> None:
        """Read the blocks up to the end of the first frame.

        Raises:
            BadImage: if they are damaged, or exceed a limit.
        """
        if len(encoded) < 13:
            raise damaged(KIND, "it ends within its header")
        screen = (_u16(encoded, 6), _u16(encoded, 8))
        position = 13 + _palette_bytes(encoded[10])
        head = encoded[:position]
        control, parts = b"", 0
        while True:
            if position >= len(encoded):
                raise damaged(KIND, "it has no frame")
            block = encoded[position]
            if block == _IMAGE:
                break
            if block == _EXTENSION:
                label = encoded[position + 1] if position + 1 < len(encoded) else 0
                if label == _GRAPHIC_CONTROL and encoded[position + 2 : position + 3] == b"\4":
                    # Without disposal, which concerns later frames.
                    flags = encoded[position + 3 : position + 4]
                    if flags:
                        body = encoded[position + 4 : position + 7]
                        control = b"\x21\xf9\x04" + bytes([flags[0] & 1]) + body.ljust(3, b"\0") + b"\0"
                position, blocks = _skip_blocks(encoded, position + 2, limits, parts)
                parts += blocks
            elif block == 0x3B:
                raise damaged(KIND, "it has no frame")
            else:
                position += 1  # as Pillow and browsers do with stray bytes
            parts += 1
            limits.check_parts(KIND, parts)
        descriptor = encoded[position : position + 10]
        if len(descriptor) < 10:
            raise damaged(KIND, "it ends within its first frame")
        left, top, width, height = (_u16(descriptor, offset) for offset in (1, 3, 5, 7))
        self.frame_pixels = width * height
        if not self.frame_pixels:
            raise damaged(KIND, f"the size of its frame is {width}x{height}")
        self.width, self.height = max(screen[0], left + width), max(screen[1], top + height)
        limits.check_size(self.width, self.height)
        pixels = position + 10 + _palette_bytes(descriptor[9])
        end, _ = _skip_blocks(encoded, pixels + 1, limits, parts)
        self.data = b"".join((head, control, memoryview(encoded)[position:end], b"\x3b"))
        if (end - pixels) * _LARGEST_RATIO < self.frame_pixels:
            raise damaged(KIND, "its pixel data is cut short")

    def cost(self, scale: int) -> Cost:
        """Time and memory of `decode`."""
        pixels = self.width * self.height
        work = pixels * _NS_PER_SCREEN_PIXEL + self.frame_pixels * _NS_PER_PIXEL + len(self.data) * _NS_PER_BYTE
        return Cost(work / 1e6, (pixels + 2 * len(self.data)) / MIB)

    def decode(self, scale: int, region: Region) -> Image.Image:
        """A region of the picture, left, top, right, bottom in pixels; mode L or RGB, on white."""
        image = Image.open(io.BytesIO(self.data), formats=("GIF",))
        image.load()
        image = cut(image, region)
        return flatten(image)


def _u16(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "little")


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(data: bytes, position: int, limits: Limits, parts: int) -> tuple[int, int]:
    """The position behind a chain of data blocks, and how many there were; a chain may be cut short."""
    blocks = 0
    while position < len(data) and data[position]:
        position += 1 + data[position]
        blocks += 1
        if not blocks % 1000:
            limits.check_parts(KIND, parts + blocks)
    limits.check_parts(KIND, parts + blocks)
    return min(position + 1, len(data)), blocks
