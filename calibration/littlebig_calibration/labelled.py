"""Which images there are to predict, and what they show: a folder per class, or a list of files and labels."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from littlebig_calibration.errors import TableError
from littlebig_calibration.table import counted, named

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"})
_IMAGENET_CLASSES = 1000


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


def find_labelled_images(data: Path, labels: Path | None = None) -> LabelledImages:
    """List a labelled set without opening its images.

    Args:
        data: a folder with one folder per class, whose sorted names are the classes 0, 1, 2 and so on (as ImageNet's
            synset folders are); or a CSV with the columns `file` and `label`, its files beside it or in `images`; or,
            with `labels`, the folder of all files.
        labels: a CSV of `file,label`; a text of `file label` lines, as ImageNet's val.txt; or Kaggle's
            LOC_val_solution.csv, whose synsets, sorted, are the classes.

    Raises:
        TableError: if there is nothing to find, a row is wrong, files are named twice or missing, or have no label.
    """
    if labels is not None:
        if not data.is_dir():
            raise TableError(f"'{data}' is no folder: with a label file, give the folder of its images")
        return _listed(_read(labels), labels, data, whole=True)
    if data.is_dir():
        return _from_folders(data)
    if data.suffix == ".csv":
        return _beside(data)
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
        raise TableError(
            f"'{folder}' has no folder per class with images in it; or give a .csv of file,label, or a label file"
        )
    found.sort()
    return LabelledImages(folder, tuple(file for file, _ in found), tuple(label for _, label in found))


def _beside(path: Path) -> LabelledImages:
    """The files that a CSV names, in its folder or in `images` there."""
    pairs = _read(path)
    beside = path.parent / "images"
    folder = beside if beside.is_dir() and not (path.parent / pairs[0][0]).exists() else path.parent
    return _listed(pairs, path, folder, whole=False)


def _listed(pairs: Sequence[tuple[str, int]], path: Path, folder: Path, *, whole: bool) -> LabelledImages:
    twice = sorted(file for file, times in Counter(file for file, _ in pairs).items() if times > 1)
    if twice:
        raise TableError(f"{path}: {counted(len(twice), 'file')} named more than once: {named(twice)}")
    missing = sorted(file for file, _ in pairs if not (folder / file).is_file())
    if missing:
        raise TableError(f"{path}: {counted(len(missing), 'file')} not in '{folder}': {named(missing)}")
    if whole:
        there = {file.name for file in folder.iterdir() if file.suffix.lower() in PICTURES}
        unknown = sorted(there - {file for file, _ in pairs})
        if unknown:
            raise TableError(f"{path}: {counted(len(unknown), 'file')} of '{folder}' without a label: {named(unknown)}")
    ordered = sorted(pairs)
    return LabelledImages(folder, tuple(file for file, _ in ordered), tuple(label for _, label in ordered))


def _read(path: Path) -> list[tuple[str, int]]:
    """The rows of a label file, in any of the formats; at least one."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"'{path}' cannot be read: {error}") from error
    heading = [name.strip() for name in lines[0].split(",")] if lines else []
    if len(lines) > 1 and {"file", "label"} <= set(heading):
        return [_row(path, number, row["file"], row["label"]) for number, row in _rows(lines)]
    if len(lines) > 1 and heading == ["ImageId", "PredictionString"]:
        return _kaggle(path, lines)
    words = [line.split() for line in lines]
    if words and all(len(each) == 1 and each[0].isdecimal() for each in words):
        raise TableError(
            f"{path}: holds numbers without files, as ImageNet's devkit does, whose classes are in another order than "
            "the models'; give val.txt or LOC_val_solution.csv"
        )
    if words and all(len(each) == 2 for each in words):
        return [_row(path, number, *each) for number, each in enumerate(words, start=1)]
    raise TableError(f"{path}: needs a heading with the columns file and label, and rows below it")


def _rows(lines: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows below a heading, with the numbers of their lines."""
    return list(enumerate(csv.DictReader(lines), start=2))


def _row(path: Path, number: int, file: str, label: str | None) -> tuple[str, int]:
    if not file or not (label or "").strip().isdecimal():
        raise TableError(f"{path}, line {number}: '{file},{label}' is not a file and a class index")
    return file, int(label or "")


def _kaggle(path: Path, lines: Sequence[str]) -> list[tuple[str, int]]:
    """ImageId and a synset with boxes; a synset's class is its place among all, sorted, so all must be there."""
    found = [(row["ImageId"], row["PredictionString"].split()[:1]) for _, row in _rows(lines)]
    synsets = sorted({synset for _, words in found for synset in words})
    if len(synsets) != _IMAGENET_CLASSES:
        raise TableError(
            f"{path}: {len(synsets)} synsets occur, not {_IMAGENET_CLASSES}: which class each is cannot be told from a "
            "part of them; give a .csv of file,label"
        )
    classes = {synset: label for label, synset in enumerate(synsets)}
    return [(f"{image}.JPEG", classes[words[0]]) for image, words in found if words]
