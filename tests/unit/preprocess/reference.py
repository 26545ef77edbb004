"""Slow and simple ways to the same pictures: what the served code is compared with."""

import io
import struct
import zlib

import numpy as np
from littlebig_limits import Limits
from littlebig_preprocess import Fit, PreprocessSettings
from PIL import Image, ImageOps

LIMITS = Limits(max_bytes=20 << 20, max_pixels=100_000_000, max_decode_ms=1800, max_decode_mib=400, max_parts=100_000)


def settings(size=32, resize=36, crop_mode="center", interpolation="bicubic", decode="scaled", limits=LIMITS):
    return PreprocessSettings(Fit(size, resize, crop_mode, interpolation), decode, limits)


def whole_picture(encoded, fit):
    """The canonical image by decoding all, turning all, resizing all, and cutting the centre out."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).convert("RGB")
    image = image.resize(fit.target(*image.size), Image.Resampling[fit.interpolation.upper()])
    left, top = (round((side - fit.size) / 2.0) for side in image.size)
    return np.asarray(image.crop((left, top, left + fit.size, top + fit.size)))


def decode_png(encoded):
    """RGB on white of a PNG, pixel by pixel after the specification, for 8 and 16 bits the upper 8 of each sample."""
    position, chunks = 8, {}
    while position < len(encoded):
        length, name = struct.unpack_from(">I4s", encoded, position)
        chunks[name] = chunks.get(name, b"") + encoded[position + 8 : position + 8 + length]
        position += 12 + length
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    data, page = zlib.decompress(chunks[b"IDAT"]), np.zeros((height, width, 3), np.uint8)
    adam7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    for x0, y0, dx, dy in adam7 if interlaced else ((0, 0, 1, 1),):
        across, down = -(-(width - x0) // dx), -(-(height - y0) // dy)
        if across < 1 or down < 1:
            continue
        stored, before = -(-across * samples * depth // 8), None
        for row in range(down):
            line = _unfiltered(data[0], data[1 : 1 + stored], before, max(1, samples * depth // 8))
            data, before = data[1 + stored :], line
            values = _samples(line, depth, across * samples)
            for column in range(across):
                pixel = values[column * samples : (column + 1) * samples]
                page[y0 + row * dy, x0 + column * dx] = _colour(pixel, colour, depth, chunks)
    return page


def _unfiltered(kind, line, before, distance):
    line, before = bytearray(line), before or bytes(len(line))
    for i in range(len(line)):
        a = line[i - distance] if i >= distance else 0
        b, c = before[i], before[i - distance] if i >= distance else 0
        distances = abs(b - c), abs(a - c), abs(a + b - 2 * c)
        paeth = (a, b, c)[distances.index(min(distances))]
        line[i] = (line[i] + (0, a, b, (a + b) // 2, paeth)[kind]) & 255
    return bytes(line)


def _samples(line, depth, count):
    if depth == 16:
        return [int.from_bytes(line[2 * i : 2 * i + 2], "big") for i in range(count)]
    bits = np.unpackbits(np.frombuffer(line, np.uint8)).reshape(-1, depth)
    return [int("".join(map(str, group)), 2) for group in bits[:count]]


def _colour(pixel, colour, depth, chunks):
    key = chunks.get(b"tRNS", b"")
    if colour == 3:
        index = pixel[0]
        rgb, alpha = list(chunks[b"PLTE"][3 * index : 3 * index + 3]), (key[index] if index < len(key) else 255)
    else:
        alpha = 255
        if colour in (0, 2) and key:
            wanted = [value & ((1 << depth) - 1) for value in struct.unpack(f">{len(key) // 2}H", key)]
            alpha = 0 if pixel == wanted else 255
        # 8 bits of a sample: the upper 8 of 16, or the value scaled.
        eight = [value >> 8 if depth == 16 else value * 255 // ((1 << depth) - 1) for value in pixel]
        if colour in (4, 6):
            alpha = eight.pop()
        rgb = eight * (3 // len(eight))
    return [round((value * alpha + 255 * (255 - alpha)) / 255) for value in rgb]
