"""Which class a folder stands for, where a labelled set has one folder per class."""

import re
import unicodedata
from collections.abc import Sequence

from littlebig_calibration.errors import TableError
from littlebig_calibration.table import counted, named

_SYNSET = re.compile(r"n\d{8}")
_IMAGENET_CLASSES = 1000
_DIGITS = 9


def classes_of_folders(folders: Sequence[str], classes: int, names: Sequence[str] | None) -> dict[str, int]:
    """Find the class of each folder by its name.

    A number is the class itself, counted from 0. A word is one of the classes' names, or one of those that a name lists
    between commas. A synset of ImageNet is its place among all 1,000. Other names stand for the classes in their order,
    which only a folder for every class can fix.

    Args:
        folders: names of the folders that hold pictures.
        classes: how many classes the models have.
        names: the classes' names in their order, where they are known.

    Returns:
        folder -> class index.

    Raises:
        TableError: the names fix no classes, or not all of them.
    """
    if all(folder.isdecimal() and len(folder) <= _DIGITS for folder in folders):
        found = {folder: int(folder) for folder in folders}
        beyond = sorted((folder for folder in folders if int(folder) >= classes), key=int)
        if beyond:
            raise TableError(f"folders are numbered as classes, from 0 to {classes - 1}: no class {named(beyond)}")
        if len(set(found.values())) < len(folders):
            raise TableError("two folders have the same number, with and without zeros in front: join them")
        return found
    by_name = _by_name(names or ())
    matches = {folder: by_name.get(_plain(folder)) for folder in folders}
    found = {folder: label for folder, label in matches.items() if label is not None}
    if len(found) == len(folders):
        if shared := sorted(folder for folder, label in found.items() if list(found.values()).count(label) > 1):
            raise TableError(f"folders {named(shared)} have the name of one class: join them")
        return found
    synsets = _synsets(classes) if all(_SYNSET.fullmatch(folder) for folder in folders) else None
    if synsets is not None and set(folders) <= synsets.keys():
        return {folder: synsets[folder] for folder in folders}
    if len(folders) == classes and not found:
        return {folder: label for label, folder in enumerate(sorted(folders))}
    unknown = sorted(set(folders) - found.keys()) if found else sorted(folders)
    raise TableError(
        f"{counted(len(folders), 'folder')} for {classes} classes, and no class is called {named(unknown)}: name each "
        "folder like its class or by its number from 0, or give labels as a CSV"
    )


def _by_name(names: Sequence[str]) -> dict[str, int | None]:
    """Each class's name and its parts between commas; None where two classes share one."""
    found: dict[str, int | None] = {}
    for label, name in enumerate(names):
        for alias in {_plain(name), *(_plain(part) for part in name.split(","))}:
            found[alias] = None if found.get(alias, label) != label else label
    return found


def _plain(name: str) -> str:
    composed = unicodedata.normalize("NFC", name)  # macOS takes accents off their letters
    return " ".join(re.split(r"[\s_-]+", composed.strip().lower()))


def _synsets(classes: int) -> dict[str, int] | None:
    """ImageNet's synsets in their order, where timm is installed to say them."""
    if classes != _IMAGENET_CLASSES:
        return None
    try:
        from timm.data import ImageNetInfo  # noqa: PLC0415  (an extra)
    except ModuleNotFoundError:
        return None
    return {synset: label for label, synset in enumerate(ImageNetInfo("imagenet-1k").label_names())}
