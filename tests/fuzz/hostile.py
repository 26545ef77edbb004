"""Pictures that cost a decoder far more than their length suggests, and odd ones that are valid; all made in code."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encoded(image, kind, **options):
    """An image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(width=48, height=40):
    """A picture whose every pixel says where it is."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([x * 5, y * 6, 255 - x * 3], -1).astype(np.uint8))


# --- PNG


def chunk(name, content=b"", *, checksum=None):
    """A PNG chunk; a wrong checksum can be given."""
    crc = zlib.crc32(name + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)


def png(width, height, depth, colour, rows, *extra, interlaced=0, level=9):
    """A PNG of raw rows, each with its filter byte, and extra chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return (
        SIGNATURE + chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", _deflated(rows, level)) + chunk(b"IEND")
    )


def _deflated(rows, level):
    if isinstance(rows, bytes):
        return zlib.compress(rows, level)
    deflate, parts = zlib.compressobj(level), []
    for row in rows:
        parts.append(deflate.compress(row))
    return b"".join((*parts, deflate.flush()))


def blank_png(width, height, depth=8, colour=0, *extra, filter_type=0, interlaced=0):
    """A PNG of zeros: a few bytes for any size."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]

    def rows(across, down):
        row = bytes([filter_type]) + bytes(-(-across * samples * depth // 8))
        many = max(1, (1 << 20) // len(row))
        for start in range(0, down if across else 0, many):
            yield row * min(many, down - start)

    passes = [(width, height)]
    if interlaced:
        adam7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        passes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in adam7]
    if colour == 3:
        extra = (chunk(b"PLTE", bytes(range(48))), *extra)
    pixels = (row for size in passes for row in rows(*size))
    return png(width, height, depth, colour, pixels, *extra, interlaced=interlaced, level=1)


# --- JPEG


def segment(marker, content):
    """A JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def split_jpeg(file):
    """A JPEG's segments before its first scan, and the rest."""
    position, segments = 2, []
    while file[position + 1] != 0xDA:
        length = struct.unpack_from(">H", file, position + 2)[0]
        segments.append(file[position : position + 2 + length])
        position += 2 + length
    return segments, file[position:]


def with_segments(file, *extra):
    """A JPEG with more segments at its beginning."""
    return file[:2] + b"".join(extra) + file[2:]


def resized_header(file, width, height):
    """A JPEG that claims another size."""
    segments, rest = split_jpeg(file)
    for index, part in enumerate(segments):
        if 0xC0 <= part[1] <= 0xCF and part[1] not in (0xC4, 0xC8, 0xCC):
            segments[index] = part[:5] + struct.pack(">HH", height, width) + part[9:]
    return file[:2] + b"".join(segments) + rest


def many_scans(count, width=2000, height=2000):
    """A progressive JPEG whose last scan is repeated, empty."""
    file = encoded(Image.new("RGB", (width, height)), "JPEG", progressive=True)
    empty = segment(0xDA, bytes([1, 1, 0x00, 1, 63, 0x00]))
    # One end-of-band run of all blocks there can be: the shortest scan.
    return file[:-2] + (empty + b"\x00") * count + b"\xff\xd9"


# --- WebP


def riff(*chunks):
    """A WebP file of chunks."""
    body = b"".join(name + struct.pack("<I", len(part)) + part + b"\0" * (len(part) & 1) for name, part in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def blank_webp(width, height):
    """A lossless WebP of one colour: some 30 bytes for any size."""
    bits = (width - 1) | (height - 1) << 14
    # No transform, no cache, no groups; each of the five codes has the one symbol 0.
    stream = 0b0
    position = 1
    for value, length in ((0, 1), (0, 1)):
        stream |= value << position
        position += length
    for _ in range(5):
        stream |= 0b0001 << position  # simple code, one symbol, of one bit: 0
        position += 4
    return riff((b"VP8L", b"\x2f" + struct.pack("<I", bits) + stream.to_bytes(8, "little")))


# --- GIF and BMP


def gif_screen(file, width, height):
    """A GIF with another logical screen."""
    return file[:6] + struct.pack("<HH", width, height) + file[10:]


def bmp_header(width, height, depth, compression=0, *, colours=0, size=0):
    """A Windows BMP's two headers."""
    offset = 54 + 4 * colours
    return (
        b"BM"
        + struct.pack("<IHHI", offset + size, 0, 0, offset)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, depth, compression, size, 0, 0, colours, 0)
    )
