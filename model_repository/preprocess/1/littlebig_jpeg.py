"""JPEG: the header's segments are read here, libjpeg decodes the rest at the scale that is asked for.

libjpeg gets a header that is written anew from the segments it needs, so it sees exactly the picture that was checked,
and metadata of any length or number costs nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from littlebig_flatten import Region, cut, flatten
from littlebig_limits import MIB, Cost, Limits, damaged, unsupported
from littlebig_orientation import LONGEST_XMP, orientation_of
from PIL import Image

KIND = "JPEG"
_SOI, _EOI, _SOS, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
_STANDALONE = {0x01, *range(0xD0, 0xD8)}
# Quantisation, Huffman and arithmetic tables, restart interval.
_TABLES = {0xDB, 0xC4, 0xCC, 0xDD}
# Segments that tell libjpeg the colour space.
_COLOUR_SPACE = {0xE0: b"JFIF\0", 0xEE: b"Adobe"}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_BASELINE, _PROGRESSIVE, _ARITHMETIC = {0xC0, 0xC1}, {0xC2, 0xCA}, {0xC9, 0xCA}
_UNSUPPORTED = {0xC3: "lossless", 0xCB: "lossless"}
# In pixel data a marker is 0xFF and neither zero, nor a restart marker.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_MODES = {1: ("L", "L"), 3: ("RGB", "RGB"), 4: ("CMYK", "CMYK;I")}  # CMYK is inverted, as Adobe writes it

# Upper bounds, nanoseconds: per byte, per block and scan, per decoded pixel and component.
_NS_PER_BYTE, _NS_PER_BLOCK, _NS_PER_PIXEL = 12.0, 25.0, 2.5
# The same per block of several scans, of arithmetic coding, and per byte of progressive scans.
_NS_PER_BLOCK_BUFFERED, _NS_PER_BLOCK_ARITHMETIC, _NS_PER_BYTE_BUFFERED = 70.0, 3000.0, 25.0


@dataclass(frozen=True)
class _Frame:
    """A frame header: size and components (identifier -> sampling factors)."""

    marker: int
    width: int
    height: int
    sampling: dict[int, tuple[int, int]]

    def blocks(self, component: int) -> int:
        """Blocks of 8 x 8 that a component has."""
        across = max(h for h, _ in self.sampling.values())
        down = max(v for _, v in self.sampling.values())
        h, v = self.sampling[component]
        return -(-self.width // (8 * across)) * h * -(-self.height // (8 * down)) * v


class JpegPicture:
    """A baseline or progressive JPEG of 8 bits, grey, RGB, YCbCr, CMYK or YCCK."""

    kind = KIND
    scales = (1, 2, 4, 8)

    def __init__(self, encoded: bytes, limits: Limits) -> None:
        """Read the segments.

        Raises:
            BadImage: if they are damaged, of a kind that is not decoded, or exceed a limit.
        """
        header, self.frame, scan, exif, xmp = _read_header(encoded, limits)
        self.width, self.height = self.frame.width, self.frame.height
        self.orientation = orientation_of(exif, xmp)
        limits.check_size(self.width, self.height)
        components = _scan_components(encoded, scan, self.frame)
        # A single scan is decoded row by row; of several the coefficients of the whole picture are kept.
        self.scans = [components]
        if self.frame.marker in _PROGRESSIVE or len(components) < len(self.frame.sampling):
            self.scans += _later_scans(encoded, scan, self.frame, limits)
        self.buffered = self.frame.marker in _PROGRESSIVE or len(components) < len(self.frame.sampling)
        self.data = b"".join((*header, memoryview(encoded)[scan:]))
        self._is_adobe = any(segment[:2] == b"\xff\xee" for segment in header)

    @property
    def name(self) -> str:
        """The kind in words, with what makes it expensive."""
        return f"JPEG image of {len(self.scans)} scans" if len(self.scans) > 1 else "JPEG image"

    @property
    def is_common(self) -> bool:
        """Whether it is grey or YCbCr by JFIF's rules with Huffman codes, which every decoder reads alike."""
        components = sorted(self.frame.sampling)
        huffman = self.frame.marker not in _ARITHMETIC
        return huffman and not self._is_adobe and (len(components) == 1 or components in ([0, 1, 2], [1, 2, 3]))

    def cost(self, scale: int) -> Cost:
        """Time and memory of `decode`."""
        frame = self.frame
        pixels = -(-self.width // scale) * -(-self.height // scale)
        per_byte, per_block = _NS_PER_BYTE, _NS_PER_BLOCK
        if self.buffered:
            per_byte, per_block = _NS_PER_BYTE_BUFFERED, _NS_PER_BLOCK_BUFFERED
        if frame.marker in _ARITHMETIC:
            per_block = _NS_PER_BLOCK_ARITHMETIC
        blocks = sum(frame.blocks(component) for scan in self.scans for component in scan)
        work = len(self.data) * per_byte + blocks * per_block + pixels * len(frame.sampling) * _NS_PER_PIXEL
        coefficients = 128 * sum(map(frame.blocks, frame.sampling)) if self.buffered else 0
        memory = pixels * self.pixel_bytes + coefficients
        return Cost(work / 1e6, memory / MIB)

    @property
    def flatten_bytes(self) -> int:
        """Bytes for each pixel of a region while it becomes grey or RGB, its own included."""
        return 8 if len(self.frame.sampling) == 4 else self.pixel_bytes

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a decoded pixel."""
        return 1 if len(self.frame.sampling) == 1 else 4

    def decode(self, scale: int, region: Region) -> Image.Image:
        """A region of the stored picture; mode L or RGB.

        Args:
            scale: each side of the picture is divided by it and rounded up; libjpeg does so while it decodes.
            region: left, top, right, bottom in pixels of the scaled picture.
        """
        mode, raw = _MODES[len(self.frame.sampling)]
        size = (-(-self.width // scale), -(-self.height // scale))
        try:
            image = Image.frombytes(mode, size, self.data, "jpeg", (raw, "", scale, 0))
        except ValueError as reason:
            short = "not enough" in str(reason)
            raise damaged(KIND, "its pixel data is cut short" if short else "its pixel data is broken") from None
        return flatten(cut(image, region))


def _read_header(  # noqa: PLR0912  (a case for each kind of segment)
    encoded: bytes, limits: Limits
) -> tuple[list[bytes | memoryview], _Frame, int, bytes | None, bytes | None]:
    """All up to the first scan: segments for libjpeg, frame, position of the scan's marker, EXIF, XMP."""
    view = memoryview(encoded)
    header: list[bytes | memoryview] = [b"\xff\xd8"]
    frame = exif = xmp = None
    position, parts = 2, 0
    while True:
        position = encoded.find(b"\xff", position)
        while 0 <= position < len(encoded) - 1 and encoded[position + 1] == 0xFF:
            position += 1
        if position < 0 or position + 4 > len(encoded):
            raise damaged(KIND, "it ends before its pixel data")
        marker = encoded[position + 1]
        parts += 1
        limits.check_parts(KIND, parts)
        if marker in _STANDALONE or marker == 0:
            position += 2
            continue
        if marker in (_EOI, _SOI):
            raise damaged(KIND, "it has no pixel data")
        if marker == _SOS:
            if frame is None:
                raise damaged(KIND, "its pixel data begins before its size is given")
            return header, frame, position, exif, xmp
        length = int.from_bytes(encoded[position + 2 : position + 4], "big")
        end = position + 2 + length
        if length < 2 or end > len(encoded):
            raise damaged(KIND, "a segment is cut short")
        start = position + 4
        if marker in _FRAMES:
            if frame is not None:
                raise damaged(KIND, "it gives its size twice")
            frame = _read_frame(marker, encoded[start:end])
            header.append(view[position:end])
        elif marker in _TABLES or encoded[start : start + 5] == _COLOUR_SPACE.get(marker):
            header.append(view[position:end])
        elif marker == _APP1 and exif is None and encoded[start : start + 6] == b"Exif\0\0":
            exif = encoded[start:end]
        elif marker == _APP1 and xmp is None and encoded[start : start + 29] == b"http://ns.adobe.com/xap/1.0/\0":
            xmp = encoded[start : min(end, start + LONGEST_XMP)]
        position = end


def _read_frame(marker: int, segment: bytes) -> _Frame:
    if marker not in _BASELINE | _PROGRESSIVE | _ARITHMETIC:
        raise unsupported(KIND, _UNSUPPORTED.get(marker, f"frame type {marker & 15}"))
    if len(segment) < 6 or len(segment) != 6 + 3 * segment[5]:
        raise damaged(KIND, "its frame header is broken")
    precision, components = segment[0], segment[5]
    height, width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    if precision != 8:
        raise unsupported(KIND, f"{precision} bits per sample")
    if components not in _MODES:
        raise unsupported(KIND, f"{components} components")
    if not width or not height:
        raise damaged(KIND, f"its size is {width}x{height}")
    sampling = {segment[i]: (segment[i + 1] >> 4, segment[i + 1] & 15) for i in range(6, len(segment), 3)}
    if len(sampling) != components or any(not 1 <= factor <= 4 for pair in sampling.values() for factor in pair):
        raise damaged(KIND, "its frame header is broken")
    return _Frame(marker, width, height, sampling)


def _scan_components(encoded: bytes, position: int, frame: _Frame) -> list[int]:
    """Components of the scan whose marker is at a position."""
    count = encoded[position + 4] if position + 4 < len(encoded) else 0
    components = list(encoded[position + 5 : position + 5 + 2 * count : 2])
    if not 1 <= count <= 4 or len(components) < count or any(name not in frame.sampling for name in components):
        raise damaged(KIND, "a scan header is broken")
    return components


def _later_scans(encoded: bytes, position: int, frame: _Frame, limits: Limits) -> list[list[int]]:
    """Components of each scan after the first."""
    scans: list[list[int]] = []
    parts = 0
    while True:
        position += 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")
        match = _MARKER.search(encoded, position)
        while match and match[1][0] == 0x01:
            match = _MARKER.search(encoded, match.end())
        if match is None or match[1][0] == _EOI:
            return scans
        parts += 1
        limits.check_parts(KIND, parts)
        position = match.end() - 2
        if match[1][0] == _SOS:
            scans.append(_scan_components(encoded, position, frame))
