"""Which images there are to predict, and what they show: a folder per class, or a CSV of file,label."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from littlebig_calibration.errors import TableError
from littlebig_calibration.table import counted, named

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"})


@dataclass(frozen=True)
class LabelledImages:
    """A labelled set, sorted by file name.

    Attributes:
        folder: what the names are relative to.
        files: names, each once, with `/` between folders.
        labels: one class index per file.
    """

    folder: Path
    files: tuple[str, ...]
    labels: tuple[int, ...]


def find_labelled_images(data: Path) -> LabelledImages:
    """List a labelled set without opening its images.

    Args:
        data: a folder with one folder per class, whose sorted names are the classes 0, 1, 2 and so on (as ImageNet's
            synset folders are); or a CSV with the columns `file` and `label`, its files beside it or in `images`.

    Raises:
        TableError: if there is nothing to find, a row is wrong, or files are named twice or missing.
    """
    if data.is_dir():
        return _from_folders(data)
    if data.suffix == ".csv":
        return _from_csv(data)
    raise TableError(f"'{data}' is neither a folder with one folder per class nor a .csv of file,label")


def _from_folders(folder: Path) -> LabelledImages:
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    found = [
        (f"{path.parent.name}/{path.name}", label)
        for label, each in enumerate(classes)
        for path in sorted(each.iterdir())
        if path.suffix.lower() in PICTURES
    ]
    if not found:
        raise TableError(f"'{folder}' has no folder per class with images in it; or give a .csv of file,label")
    found.sort()
    return LabelledImages(folder, tuple(file for file, _ in found), tuple(label for _, label in found))


def _from_csv(path: Path) -> LabelledImages:
    try:
        with path.open(newline="", encoding="utf-8-sig") as text:
            rows = list(csv.DictReader(text))
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"'{path}' cannot be read: {error}") from error
    if not rows or not {"file", "label"} <= set(rows[0]):
        raise TableError(f"{path}: needs a heading with the columns file and label, and rows below it")
    for number, row in enumerate(rows, start=2):
        if not row["file"] or not (row["label"] or "").strip().isdecimal():
            raise TableError(f"{path}, line {number}: '{row['file']},{row['label']}' is not a file and a class index")
    twice = sorted(file for file, times in Counter(row["file"] for row in rows).items() if times > 1)
    if twice:
        raise TableError(f"{path}: {counted(len(twice), 'file')} named more than once: {named(twice)}")
    beside = path.parent / "images"
    folder = beside if beside.is_dir() and not (path.parent / rows[0]["file"]).exists() else path.parent
    missing = sorted(row["file"] for row in rows if not (folder / row["file"]).is_file())
    if missing:
        raise TableError(f"{path}: {counted(len(missing), 'file')} not in '{folder}': {named(missing)}")
    pairs = sorted((row["file"], int(row["label"])) for row in rows)
    return LabelledImages(folder, tuple(file for file, _ in pairs), tuple(label for _, label in pairs))
