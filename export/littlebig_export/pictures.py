"""The pictures that an export is checked on: photographs of scikit-image, crops of them, or a folder of the user's."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from littlebig_contract.pictures import SUFFIXES, sample_photographs
from littlebig_contract.pictures import pictures_in as find_pictures
from littlebig_export.errors import ParityError

# Enough to see one label in a hundred change, and few enough for a little model of any size.
CROPS = 200
_SMALLEST_CROP, _LARGEST_RATIO = 160, 4 / 3


class PictureFiles(Sequence[Image.Image]):
    """Picture files that are decoded when they are used, RGB: a folder may hold more than fits into memory."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Take files that exist."""
        self._paths = paths

    def __len__(self) -> int:
        """How many there are."""
        return len(self._paths)

    def __getitem__(self, index: int | slice) -> Image.Image | PictureFiles:
        """Decode one.

        Raises:
            ParityError: if it cannot be read.
        """
        if isinstance(index, slice):
            return PictureFiles(self._paths[index])
        path = self._paths[index]
        try:
            return Image.open(path).convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as reason:
            raise ParityError(f"'{path}' cannot be read as a picture: {reason}") from reason


def pictures_in(folder: Path) -> PictureFiles:
    """All pictures of a folder, at any depth, in the order of their paths.

    Raises:
        ParityError: if there is none, or the header of one cannot be read.
    """
    paths = find_pictures(folder)
    if not paths:
        raise ParityError(f"no pictures ({', '.join(SUFFIXES)}) in '{folder}'")
    for path in paths:
        try:
            Image.open(path).close()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as reason:
            raise ParityError(f"'{path}' cannot be read as a picture: {reason}") from reason
    return PictureFiles(paths)


def photographs() -> list[Image.Image]:
    """Real photographs, RGB.

    Raises:
        ParityError: if scikit-image, which has them, is not installed.
    """
    try:
        paths = sample_photographs()
    except ModuleNotFoundError:
        raise ParityError(
            "scikit-image, whose photographs an export is checked on, is missing: pip install 'littlebig[export]'"
        ) from None
    return [Image.open(path).convert("RGB") for path in paths]


@functools.cache
def crops() -> tuple[Image.Image, ...]:
    """200 crops of the photographs, the same in every export, every other one mirrored.

    Sides are 160 pixels at least, and at most in the ratio 4:3: small and large pictures of many sizes.
    """
    random = np.random.default_rng(0)
    sources, result = photographs(), []
    for index in range(CROPS):
        source = sources[index % len(sources)]
        shorter = int(random.integers(_SMALLEST_CROP, min(source.size) + 1))
        longer = round(shorter * random.uniform(1.0, _LARGEST_RATIO))
        width, height = (longer, shorter) if source.width >= source.height else (shorter, longer)
        width, height = min(width, source.width), min(height, source.height)
        left, top = (int(random.integers(0, most + 1)) for most in (source.width - width, source.height - height))
        crop = source.crop((left, top, left + width, top + height))
        result.append(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if index % 2 else crop)
    return tuple(result)
