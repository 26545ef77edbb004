"""The names of a pair's classes, and whether its models agree on their number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from littlebig_export.classifiers import Classifier
from littlebig_export.errors import PairError
from littlebig_export.pair import Pair


def class_names(pair: Pair, classifiers: Mapping[str, Classifier]) -> tuple[str, ...]:
    """One name per class: from the pair's labels file, or else from whichever model knows them.

    Raises:
        PairError: if the models have different numbers of classes, or the labels file does not fit.
    """
    little, big = classifiers["little"], classifiers["big"]
    check_same_classes((little.name, little.classes), (big.name, big.classes))
    if pair.labels is None:
        return big.class_names or little.class_names or tuple(f"class {index}" for index in range(big.classes))
    names = _read_labels(pair.labels)
    if len(names) != big.classes:
        raise PairError(
            f"labels '{pair.labels}' has {len(names)} lines for {big.classes} classes; it needs one line each"
        )
    return names


def check_same_classes(little: tuple[str, int], big: tuple[str, int]) -> None:
    """Refuse two models with different numbers of classes; each is given as its name and that number.

    Raises:
        PairError: naming both.
    """
    if little[1] != big[1]:
        raise PairError(
            f"the two models have different numbers of classes: {little[0]} {little[1]}, {big[0]} {big[1]}; "
            "a pair needs two classifiers over the same classes"
        )


def _read_labels(path: Path) -> tuple[str, ...]:
    """The lines of a UTF-8 file, with or without a byte order mark, up to the last one that is not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as reason:
        raise PairError(f"labels '{path}' cannot be read: {reason.strerror}") from reason
    except UnicodeDecodeError as reason:
        raise PairError(f"labels '{path}' is not UTF-8 (byte {reason.start}): save it as UTF-8") from reason
    if "\0" in text:
        raise PairError(f"labels '{path}' holds bytes of zero, as UTF-16 does: save it as UTF-8")
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if "" in lines:
        raise PairError(f"labels '{path}' has no name in line {lines.index('') + 1}; it needs one line per class")
    return tuple(lines)
