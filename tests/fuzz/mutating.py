"""Changes to a file that its decoder is most likely to trip over."""

from __future__ import annotations

import zlib

EDGES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)


def mutated(content, random, others):
    """A file with one to six changes.

    Args:
        content: a valid picture.
        random: a NumPy generator.
        others: pictures to take pieces from.
    """
    data = bytearray(content)
    for _ in range(random.integers(1, 7)):
        _CHANGES[random.integers(len(_CHANGES))](data, random, others)
        if len(data) < 12:
            return bytes(content[:12])
    return bytes(_with_checksums(data)) if random.integers(2) else bytes(data)


def _position(data, random):
    # Headers matter most: half of all changes happen in the first hundred bytes.
    return int(random.integers(0, min(len(data), 100) if random.integers(2) else len(data)))


def _flip(data, random, others):
    data[_position(data, random)] ^= 1 << int(random.integers(8))


def _edge(data, random, others):
    position, width = _position(data, random), int(random.choice((1, 2, 4)))
    data[position : position + width] = bytes([random.choice(EDGES)]) * width


def _cut(data, random, others):
    position = _position(data, random)
    del data[position : position + int(random.integers(1, 64))]


def _truncate(data, random, others):
    del data[int(random.integers(12, len(data) + 1)) :]


def _repeat(data, random, others):
    position, length = _position(data, random), int(random.integers(1, 200))
    data[position:position] = data[position : position + length] * int(random.integers(1, 20))


def _splice(data, random, others):
    other = others[random.integers(len(others))]
    start = int(random.integers(len(other)))
    position = _position(data, random)
    data[position:position] = other[start : start + int(random.integers(1, 400))]


_CHANGES = (_flip, _flip, _edge, _edge, _cut, _truncate, _repeat, _splice)


def _with_checksums(data):
    """A PNG's checksums made right again, so that what was changed is read."""
    if data[:4] != b"\x89PNG":
        return data
    position = 8
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[position + 4 : end]).to_bytes(4, "big")
        position = end + 4
    return data
