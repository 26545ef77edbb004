"""Pictures for the labelling page: turned upright, bounded in size, as JPEG."""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from littlebig_calibration.errors import TableError
from littlebig_calibration.labelling.audits import picture_path
from littlebig_calibration.table import counted, named

# Longest edge in pixels: a person recognises what the models see at 300 to 600.
EDGE, QUALITY = 512, 82
# A page with more than this many bytes of pictures keeps them in a folder beside it: browsers load it slowly.
EMBEDDED_LIMIT = 40_000_000


def check_present(folder: Path, files: Sequence[str]) -> None:
    """Refuse a list whose pictures are not all there.

    Raises:
        TableError: naming those that are missing.
    """
    missing = [file for file in files if not picture_path(folder, file).is_file()]
    if missing:
        raise TableError(
            f"{counted(len(missing), 'picture')} to label not in '{folder}' ({named(missing)}): "
            "give the folder that was predicted with --data"
        )


def shrunk_pictures(
    folder: Path, files: Sequence[str], progress: Callable[[int], None] = lambda images: None
) -> Iterator[bytes]:
    """Each picture as a JPEG of at most `EDGE` pixels, in order.

    Args:
        folder: where the files are.
        files: their names.
        progress: called with the number of pictures done since its last call.

    Raises:
        TableError: naming the first file that cannot be read.
    """
    # Threads: Pillow decodes without Python's lock. In portions, so that few pictures are in memory at a time.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for start in range(0, len(files), 64):
            portion = files[start : start + 64]
            yield from pool.map(lambda file: _shrunk(picture_path(folder, file)), portion)
            progress(len(portion))


def _shrunk(path: Path) -> bytes:
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (EDGE, EDGE))
            upright = ImageOps.exif_transpose(picture)
            upright.thumbnail((EDGE, EDGE), Image.Resampling.LANCZOS)
            flat = _opaque(upright)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as reason:
        raise TableError(f"'{path}' cannot be shown ({reason}): repair it, or predict without it") from reason
    output = io.BytesIO()
    flat.save(output, "JPEG", quality=QUALITY)
    return output.getvalue()


def _opaque(picture: Image.Image) -> Image.Image:
    """RGB; what is transparent becomes white."""
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layers = picture.convert("RGBA")
    ground = Image.new("RGBA", layers.size, "white")
    return Image.alpha_composite(ground, layers).convert("RGB")
