"""Lists the images to predict and their labels: a folder per class, a label file, or a folder without labels."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from littlebig_calibration.class_folders import classes_of_folders
from littlebig_calibration.errors import TableError
from littlebig_calibration.table import NO_LABEL, counted, named
from littlebig_contract.pictures import is_picture, pictures_in

_IMAGENET_CLASSES = 1000
# Of a class index, and of a cell in a message.
_DIGITS, _SHOWN = 9, 80
# Python's stand-in for a byte of a file name that is no text (PEP 383).
_SURROGATE = re.compile("[\\udc80-\\udcff]")


@dataclass(frozen=True)
class LabelledImages:
    """A labelled set, sorted by file name.

    Attributes:
        folder: the folder that the names are relative to.
        files: names, each once, with `/` between folders.
        labels: one class index per file; `NO_LABEL` where the set is unlabelled.
        class_folders: names of the folders that `labels` are places in, where only the models' classes say what they
            stand for; see `with_classes`.
    """

    folder: Path
    files: tuple[str, ...]
    labels: tuple[int, ...]
    class_folders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that no table can hold: bytes that are no text in this locale."""
        unreadable = [file for file in self.files if not file.isascii() and _SURROGATE.search(file)]
        if unreadable:
            raise TableError(
                f"'{self.folder}': {counted(len(unreadable), 'file name')} not in this locale's encoding: "
                f"{named(unreadable)}: rename them, or set LC_ALL=C.UTF-8 if they are UTF-8"
            )

    def with_classes(self, classes: int, names: Sequence[str] | None) -> LabelledImages:
        """The set with classes in place of folders.

        Args:
            classes: how many the models have.
            names: their names, where they are known.

        Raises:
            TableError: if folders fix no classes.
        """
        if not self.class_folders:
            return self
        try:
            found = classes_of_folders(self.class_folders, classes, names)
        except TableError as reason:
            raise TableError(f"'{self.folder}': {reason}") from reason
        labels = tuple(found[self.class_folders[place]] for place in self.labels)
        return replace(self, labels=labels, class_folders=())


def find_labelled_images(data: Path, labels: Path | None = None) -> LabelledImages:
    """List a labelled set without opening its images.

    Args:
        data: a folder with one folder per class, hidden and empty ones left out (`classes_of_folders` says which is
            which); or a CSV with the columns `file` and `label`, its files beside it or in `images`; or,
            with `labels`, the folder of all files.
        labels: a CSV of `file,label`; a text of `file label` lines, like ImageNet's val.txt; or Kaggle's
            LOC_val_solution.csv, whose sorted synsets are the classes.

    Raises:
        TableError: if there are no images, a row is wrong, or files are listed twice, missing or without a label.
    """
    if labels is not None:
        if not data.is_dir():
            raise TableError(f"'{data}' is not a folder: with a label file, give the folder of its images")
        return _listed(_read(labels), labels, data, complete=True)
    if data.is_dir():
        return _from_folders(data)
    if data.suffix.lower() == ".csv":
        return _from_csv(data)
    raise TableError(f"'{data}' is neither a folder with one folder per class nor a .csv of file,label")


def find_images(folder: Path) -> LabelledImages:
    """List all pictures of a folder, at any depth, without labels.

    Raises:
        TableError: if there are none.
    """
    files = sorted(path.relative_to(folder).as_posix() for path in pictures_in(folder)) if folder.is_dir() else []
    if not files:
        raise TableError(f"'{folder}' is not a folder with pictures in it: give the folder of the unlabelled images")
    return LabelledImages(folder, tuple(files), (NO_LABEL,) * len(files))


def _from_folders(folder: Path) -> LabelledImages:
    pictures = {
        path.name: [f"{path.name}/{file.name}" for file in path.iterdir() if is_picture(file)]
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    }
    classes = tuple(sorted(name for name, files in pictures.items() if files))
    labelled = [(file, label) for label, name in enumerate(classes) for file in pictures[name]]
    if not labelled:
        raise TableError(
            f"'{folder}' has no folder per class with images in it: give one that has, a .csv of file,label, or "
            "--labels"
        )
    return replace(_sorted(folder, labelled), class_folders=classes)


def _from_csv(path: Path) -> LabelledImages:
    """The files that a CSV lists, in its own folder or in `images` there."""
    pairs = _read(path)
    beside = path.parent / "images"
    folder = beside if beside.is_dir() and not (path.parent / pairs[0][0]).exists() else path.parent
    return _listed(pairs, path, folder, complete=False)


def _listed(pairs: Sequence[tuple[str, int]], path: Path, folder: Path, *, complete: bool) -> LabelledImages:
    """The listed files; with `complete`, every picture of the folder must be listed."""
    repeated = sorted(file for file, times in Counter(file for file, _ in pairs).items() if times > 1)
    if repeated:
        raise TableError(f"{path}: {counted(len(repeated), 'file')} listed more than once: {named(repeated)}")
    missing = sorted(file for file, _ in pairs if not (folder / file).is_file())
    if missing:
        raise TableError(f"{path}: {counted(len(missing), 'file')} not in '{folder}': {named(missing)}")
    if complete:
        pictures = {file.name for file in folder.iterdir() if is_picture(file)}
        unlabelled = sorted(pictures - {file for file, _ in pairs})
        if unlabelled:
            raise TableError(
                f"{path}: {counted(len(unlabelled), 'file')} of '{folder}' without a label: {named(unlabelled)}"
            )
    return _sorted(folder, pairs)


def _sorted(folder: Path, pairs: Sequence[tuple[str, int]]) -> LabelledImages:
    ordered = sorted(pairs)
    return LabelledImages(folder, tuple(file for file, _ in ordered), tuple(label for _, label in ordered))


def _read(path: Path) -> list[tuple[str, int]]:
    """The rows of a label file in any of the formats, at least one."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise TableError(f"'{path}' cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TableError(f"'{path}' is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    table = _table(path, lines)
    heading = [name.strip() for name in table[0]] if table else []
    if len(lines) > 1 and {"file", "label"} <= set(heading):
        file, label = (_column(path, heading, name) for name in ("file", "label"))
        return [
            _row(path, number, *((*row, *[""] * len(heading))[column] for column in (file, label)))
            for number, row in enumerate(table[1:], start=2)
            if row
        ]
    if len(lines) > 1 and heading == ["ImageId", "PredictionString"]:
        return _kaggle(path, [(row[0], row[1]) for row in table[1:] if len(row) == 2])
    words = [line.split() for line in lines]
    if words and all(len(each) == 1 and each[0].isdecimal() for each in words):
        raise TableError(
            f"{path}: has numbers without files, like ImageNet's devkit, which orders the classes in another way than "
            "the models do: give val.txt or LOC_val_solution.csv"
        )
    if words and all(len(each) == 2 for each in words):
        return [_row(path, number, *each) for number, each in enumerate(words, start=1)]
    raise TableError(f"{path}: needs a heading with the columns file and label, and rows below it")


def _table(path: Path, lines: Sequence[str]) -> list[list[str]]:
    """The cells of a CSV; commas, semicolons or tabs are between them, as in its heading."""
    between = next((mark for mark in ",;\t" if mark in lines[0]), ",") if lines else ","
    try:
        return list(csv.reader(lines, delimiter=between))
    except csv.Error as error:  # of a quote that does not end, for one
        raise TableError(f"{path}: is no CSV: {error}") from error


def _column(path: Path, heading: Sequence[str], name: str) -> int:
    if heading.count(name) > 1:
        raise TableError(f"{path}: has the column {name} twice: leave one")
    return heading.index(name)


def _row(path: Path, number: int, file: str, label: str) -> tuple[str, int]:
    file, label = file.strip(), label.strip()
    if not file or not label.isdecimal() or len(label) > _DIGITS:
        raise TableError(f"{path}, line {number}: '{file[:_SHOWN]},{label[:_SHOWN]}' is not a file and a class index")
    return Path(file).as_posix(), int(label)


def _kaggle(path: Path, rows: Sequence[tuple[str, str]]) -> list[tuple[str, int]]:
    """Rows of ImageId and a synset with boxes. A synset's class is its place among all of them, sorted."""
    images = [(image, boxes.split()[:1]) for image, boxes in rows]
    synsets = sorted({synset for _, words in images for synset in words})
    if len(synsets) != _IMAGENET_CLASSES:
        raise TableError(
            f"{path}: {len(synsets)} synsets occur, not {_IMAGENET_CLASSES}: the class of each follows only from all "
            "of them; give a .csv of file,label"
        )
    classes = {synset: label for label, synset in enumerate(synsets)}
    return [(f"{image}.JPEG", classes[words[0]]) for image, words in images if words]
