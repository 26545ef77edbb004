"""WebP: the first frame is cut out of the file here, libwebp decodes it through Pillow."""

from __future__ import annotations

import io

from littlebig_flatten import Region, cut, flatten
from littlebig_limits import MIB, Cost, Limits, damaged
from littlebig_orientation import orientation_of
from PIL import Image

KIND = "WebP"
_ANIMATED, _ALPHA = 0x02, 0x10
# Bytes per pixel: two canvases of libwebp, its answer, Pillow's image; the lossless decoder's pixels.
_BYTES_LOSSY, _BYTES_LOSSLESS = 16, 24
# Upper bounds, nanoseconds: per pixel of the canvas, per pixel of the frame, per byte.
_NS_PER_CANVAS_PIXEL, _NS_LOSSY, _NS_LOSSLESS = 4.0, 30.0, 30.0
_NS_PER_BYTE_LOSSY, _NS_PER_BYTE_LOSSLESS = 80.0, 25.0


class WebpPicture:
    """A WebP, lossy or lossless; the first frame of an animation."""

    kind, name = KIND, "WebP image"
    scales = (1,)
    pixel_bytes, flatten_bytes = 4, 9

    def __init__(self, encoded: bytes, limits: Limits) -> None:
        """Read the chunks.

        Raises:
            BadImage: if they are damaged, or exceed a limit.
        """
        chunks = _first_chunks(encoded, limits)
        self._canvas = _canvas(chunks)
        self.animated = b"ANMF" in chunks
        frame = chunks
        if self.animated:
            frame = _chunks(memoryview(chunks[b"ANMF"])[16:], limits)
        bitstream = b"VP8L" if b"VP8L" in frame else b"VP8 "
        if bitstream not in frame:
            raise damaged(KIND, "it has no frame")
        self.lossless = bitstream == b"VP8L"
        self.alpha = self.lossless or b"ALPH" in frame or self.animated
        size = _lossless_size(frame[bitstream]) if self.lossless else _lossy_size(frame[bitstream])
        self.frame_pixels = size[0] * size[1]
        self.width, self.height = self._canvas or size
        limits.check_size(max(self.width, size[0]), max(self.height, size[1]))
        if not self.animated and size != (self.width, self.height):
            raise damaged(KIND, "its frame is not of its canvas' size")
        self.data = self._rebuilt(chunks, frame, bitstream)
        self.orientation = orientation_of(_bytes(chunks, b"EXIF"), _bytes(chunks, b"XMP "))

    def _rebuilt(self, chunks: dict[bytes, memoryview], frame: dict[bytes, memoryview], bitstream: bytes) -> bytes:
        """A file with nothing but the first frame."""
        if self.animated:
            body = _chunk(b"VP8X", _header(_ANIMATED | _ALPHA, self.width, self.height))
            body += _chunk(b"ANIM", bytes(6)) + _chunk(b"ANMF", chunks[b"ANMF"])
        elif b"ALPH" in frame and not self.lossless:
            body = _chunk(b"VP8X", _header(_ALPHA, self.width, self.height))
            body += _chunk(b"ALPH", frame[b"ALPH"]) + _chunk(bitstream, frame[bitstream])
        else:
            body = _chunk(bitstream, frame[bitstream])
        return b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body

    def cost(self, scale: int) -> Cost:
        """Time and memory of `decode`."""
        pixels = self.width * self.height
        work = pixels * _NS_PER_CANVAS_PIXEL
        work += len(self.data) * (_NS_PER_BYTE_LOSSLESS if self.lossless else _NS_PER_BYTE_LOSSY)
        work += self.frame_pixels * (_NS_LOSSLESS if self.lossless else _NS_LOSSY)
        memory = pixels * (_BYTES_LOSSLESS if self.lossless else _BYTES_LOSSY) + 2 * len(self.data)
        return Cost(work / 1e6, memory / MIB)

    def decode(self, scale: int, region: Region) -> Image.Image:
        """A region of the stored picture, left, top, right, bottom in pixels; mode RGB, on white."""
        image = Image.open(io.BytesIO(self.data), formats=("WEBP",))
        image.load()
        image = cut(image, region)
        return flatten(image)


def _first_chunks(encoded: bytes, limits: Limits) -> dict[bytes, memoryview]:
    """The first chunk of each name in a file; reading stops behind the first frame of an animation's metadata."""
    if len(encoded) < 20:
        raise damaged(KIND, "it ends within its header")
    return _chunks(memoryview(encoded)[12:], limits)


def _chunks(view: memoryview, limits: Limits) -> dict[bytes, memoryview]:
    chunks: dict[bytes, memoryview] = {}
    position, parts = 0, 0
    while position + 8 <= len(view):
        name = bytes(view[position : position + 4])
        length = int.from_bytes(view[position + 4 : position + 8], "little")
        parts += 1
        limits.check_parts(KIND, parts)
        if name in _KNOWN:
            chunks.setdefault(name, view[position + 8 : position + 8 + length])
        position += 8 + length + (length & 1)
    return chunks


_KNOWN = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANMF", b"EXIF", b"XMP "}


def _canvas(chunks: dict[bytes, memoryview]) -> tuple[int, int] | None:
    header = chunks.get(b"VP8X")
    if header is None:
        return None
    if len(header) < 10:
        raise damaged(KIND, "it ends within its header")
    return int.from_bytes(header[4:7], "little") + 1, int.from_bytes(header[7:10], "little") + 1


def _lossy_size(data: memoryview) -> tuple[int, int]:
    if len(data) < 10 or data[3:6] != b"\x9d\x01\x2a":
        raise damaged(KIND, "its frame header is broken")
    width, height = (int.from_bytes(data[offset : offset + 2], "little") & 0x3FFF for offset in (6, 8))
    if not width or not height:
        raise damaged(KIND, f"its size is {width}x{height}")
    return width, height


def _lossless_size(data: memoryview) -> tuple[int, int]:
    if len(data) < 5 or data[0] != 0x2F:
        raise damaged(KIND, "its frame header is broken")
    bits = int.from_bytes(data[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _header(flags: int, width: int, height: int) -> bytes:
    return bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def _chunk(name: bytes, content: memoryview | bytes) -> bytes:
    return b"".join((name, len(content).to_bytes(4, "little"), content, b"\0" * (len(content) & 1)))


def _bytes(chunks: dict[bytes, memoryview], name: bytes) -> bytes | None:
    return bytes(chunks[name]) if name in chunks else None
