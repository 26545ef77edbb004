"""Which files are pictures, and the photographs that come with scikit-image."""

import importlib.util
from pathlib import Path

# The formats that the model `preprocess` decodes.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
# Photographs in scikit-image's wheel: exports are checked on them, benchmarks crop them.
PHOTOGRAPHS = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "rocket.jpg",
)


def is_picture(path: Path) -> bool:
    """Whether a file's name says that it is a picture; macOS's `._` companions are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._")


def pictures_in(folder: Path) -> list[Path]:
    """All picture files in a folder, at any depth, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if is_picture(path) and path.is_file())


def sample_photographs(names: tuple[str, ...] = PHOTOGRAPHS) -> list[Path]:
    """Paths of photographs that come with scikit-image.

    Raises:
        ModuleNotFoundError: if scikit-image is not installed.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("scikit-image is not installed", name="skimage")
    return [Path(spec.origin).parent / "data" / name for name in names]
