"""The camera's orientation, read from EXIF or XMP without reading anything else of them.

Pillow's own reader copies the value of every tag, which a crafted file turns into gigabytes.
"""

from __future__ import annotations

import re
import struct

from PIL import Image

_TAG, _SHORT, _LONG = 0x0112, 3, 4
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
# XMP is searched up to this length; cameras and editors write it into the first kilobytes.
LONGEST_XMP = 1 << 18

# What undoes each orientation (the value 1 needs nothing).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation_of(exif: bytes | None, xmp: bytes | None) -> int:
    r"""The orientation from 1 to 8; 1 where there is none or it cannot be read.

    Args:
        exif: a TIFF structure, with or without `Exif\0\0` before it.
        xmp: an XMP packet, asked where EXIF has no orientation.
    """
    value = _from_exif(exif) if exif else None
    if value is None and xmp:
        match = _XMP.search(xmp[:LONGEST_XMP])
        value = int(match[1]) if match else None
    return value if value in UPRIGHT else 1


def _from_exif(exif: bytes) -> int | None:
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(exif[:4]))
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", exif, entry)
            if tag == _TAG and values == 1 and kind in (_SHORT, _LONG):
                return int(struct.unpack_from(f"{order}{'H' if kind == _SHORT else 'I'}", exif, entry + 8)[0])
    except struct.error:
        return None
    return None
