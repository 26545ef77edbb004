"""BMP: size and length are checked here, Pillow decodes; run-length encoded pixels are decoded here.

Pillow's own run-length decoder works pixel by pixel in Python.
"""

from __future__ import annotations

import io
import struct

from littlebig_flatten import Region, cut, flatten
from littlebig_limits import MIB, Cost, Limits, damaged, unsupported
from PIL import Image

KIND = "BMP"
_OS2_HEADER, _HEADERS = 12, {40, 52, 56, 64, 108, 124}
_RAW, _RLE8, _RLE4, _BITFIELDS = 0, 1, 2, 3
_DEPTHS = {1, 4, 8, 16, 24, 32}
# Upper bounds, nanoseconds: per byte, per pixel; per byte of run-length encoding.
_NS_PER_BYTE, _NS_PER_PIXEL, _NS_PER_RUN_BYTE = 2.0, 6.0, 1_300.0


class BmpPicture:
    """A BMP, uncompressed or run-length encoded."""

    kind = KIND
    scales = (1,)
    orientation = 1

    def __init__(self, encoded: bytes, limits: Limits) -> None:
        """Read the header.

        Raises:
            BadImage: if it is damaged, of a kind that is not decoded, or exceeds a limit.
        """
        self._encoded = encoded
        if len(encoded) < 18:
            raise damaged(KIND, "it ends within its header")
        self._offset, self._header = struct.unpack_from("<II", encoded, 10)
        if len(encoded) < 14 + min(self._header, 40):
            raise damaged(KIND, "it ends within its header")
        self.colours = 0
        if self._header == _OS2_HEADER:
            self.width, height, _, self.depth = struct.unpack_from("<HHHH", encoded, 18)
            self.compression = _RAW
        elif self._header in _HEADERS:
            self.width, height, _, self.depth, self.compression = struct.unpack_from("<iiHHI", encoded, 18)
            (self.colours,) = struct.unpack_from("<I", encoded, 46)
        else:
            raise unsupported(KIND, f"a header of {self._header} bytes")
        self.height, self._upside_down = abs(height), height < 0
        if self.width < 1 or not self.height:
            raise damaged(KIND, f"its size is {self.width}x{height}")
        limits.check_size(self.width, self.height)
        if self.depth not in _DEPTHS:
            raise unsupported(KIND, f"{self.depth} bits per pixel")
        if self.compression not in (_RAW, _RLE8, _RLE4, _BITFIELDS):
            raise unsupported(KIND, f"compression {self.compression}")
        self.run_lengths = self.compression in (_RLE8, _RLE4)
        if self.run_lengths and self.depth != (8 if self.compression == _RLE8 else 4):
            raise damaged(KIND, f"run lengths of {self.depth} bits per pixel do not exist")
        stored = len(encoded) - min(self._offset, len(encoded))
        if not self.run_lengths and stored < (self.width * self.depth + 31) // 32 * 4 * (self.height - 1):
            raise damaged(KIND, "its pixel data is cut short")

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a decoded pixel."""
        return 1 if self.depth <= 8 else 4

    @property
    def flatten_bytes(self) -> int:
        """Bytes for each pixel of a region while it becomes grey or RGB, its own included."""
        return 5 if self.depth <= 8 else 9

    @property
    def name(self) -> str:
        """The kind in words, with what makes it expensive."""
        return "run-length encoded BMP image" if self.run_lengths else "BMP image"

    def cost(self, scale: int) -> Cost:
        """Time and memory of `decode`."""
        pixels = self.width * self.height
        work = pixels * _NS_PER_PIXEL
        work += len(self._encoded) * (_NS_PER_RUN_BYTE if self.run_lengths else _NS_PER_BYTE)
        memory = pixels * (2 if self.run_lengths else self.pixel_bytes)
        return Cost(work / 1e6, (memory + len(self._encoded)) / MIB)

    def decode(self, scale: int, region: Region) -> Image.Image:
        """A region of the picture, left, top, right, bottom in pixels; mode L or RGB, on white."""
        if self.run_lengths:
            return flatten(cut(self._decode_runs(), region))
        try:
            image = Image.open(io.BytesIO(self._encoded), formats=("BMP",))
        except OSError as reason:
            # Pillow hides why behind "cannot identify": its reason is an OSError of the reader's.
            raise unsupported(KIND, "its layout of bits") from reason
        image.decodermaxblock = max(len(self._encoded), 1)  # one read: Pillow's own pieces grow quadratically
        image.load()
        image = cut(image, region)
        return flatten(image)

    def _decode_runs(self) -> Image.Image:
        colours = min(self.colours or 1 << self.depth, 256)
        start = 14 + self._header
        palette = self._encoded[start : start + 4 * colours]
        pixels = run_lengths(self._encoded, self._offset, self.width, self.height, nibbles=self.compression == _RLE4)
        direction = 1 if self._upside_down else -1
        image = Image.frombytes("P", (self.width, self.height), pixels, "raw", ("P", 0, direction))
        image.putpalette(palette.ljust(1024, b"\0"), "BGRX")
        return image


def run_lengths(data: bytes, position: int, width: int, height: int, *, nibbles: bool) -> bytearray:
    """Pixels of RLE8 or RLE4 data, a byte each, bottom row first.

    Args:
        data: the file.
        position: where the runs begin.
        width: of a row, pixels.
        height: number of rows.
        nibbles: two pixels in a byte, as RLE4 has them.

    Raises:
        BadImage: if the data ends before the end of the picture is marked and before all rows are there.
    """
    pixels = bytearray(width * height)
    x = y = 0
    while y < height:
        if position + 2 > len(data):
            if y == height - 1 and x >= width:
                break
            raise damaged(KIND, "its pixel data is cut short")
        count, value = data[position], data[position + 1]
        position += 2
        if count:
            run = bytes((value >> 4, value & 15)) * ((count + 1) // 2) if nibbles else bytes((value,)) * count
        elif value == 0:
            x, y = 0, y + 1
            continue
        elif value == 1:
            break
        elif value == 2:
            if position + 2 > len(data):
                raise damaged(KIND, "its pixel data is cut short")
            x, y = x + data[position], y + data[position + 1]
            position += 2
            continue
        else:
            count = value
            stored = (count + 1) // 2 if nibbles else count
            run = data[position : position + stored]
            if len(run) < stored:
                raise damaged(KIND, "its pixel data is cut short")
            if nibbles:
                run = bytes(part for byte in run for part in (byte >> 4, byte & 15))
            position += stored + (stored & 1)
        kept = min(count, width - x)
        if kept > 0:
            start = y * width + x
            pixels[start : start + kept] = run[:kept]
        x += count
    return pixels
