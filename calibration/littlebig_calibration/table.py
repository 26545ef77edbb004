"""Prediction tables in memory, and the checks that every table passes before it is used."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.errors import PairChoiceError, TableError

MIN_IMAGES = 100
# In place of a class: the label is missing; a labeller found that the image shows none of the classes, so that both
# models are wrong; or could not tell, which counts as if big alone were right: then no promise depends on it.
NO_LABEL, NO_CLASS, UNCLEAR = -1, -2, -4
# Parts of a divided table: images that plan a walk; pools are numbered from 1 on.
PLANNING = 0


@dataclass(frozen=True)
class SourceFile:
    """A table or label file: its name and the SHA-256 of its bytes."""

    name: str
    sha256: str


@dataclass(frozen=True)
class ModelColumns:
    """One model's predictions for every image of a table.

    Attributes:
        name: the model's name.
        label: int32 [n], the predicted class.
        confidence: float32 [n], the maximum softmax probability.
        margin: float32 [n], largest minus second largest probability; None where the table has no margins.
        top5_labels: int32 [n, 5]; written to tables, but not read back.
        top5_probabilities: float32 [n, 5]; likewise.
        weights_sha256: the weights' identity, where the table has it.
    """

    name: str
    label: Array
    confidence: Array
    margin: Array | None = None
    top5_labels: Array | None = None
    top5_probabilities: Array | None = None
    weights_sha256: str | None = None


@dataclass(frozen=True)
class PredictionTable:
    """Labels, and the predictions of one or more models for the same images, sorted by file name.

    Attributes:
        files: the n images' names, sorted, each once.
        labels: int32 [n], `NO_LABEL` where it is missing, `NO_CLASS` where the image shows none of the classes,
            `UNCLEAR` where nobody can tell.
        models: the models, in the order in which the tables list them.
        data_set: a name for the images, for the evidence.
        classes: the number of classes, where it is known.
        sources: the files that were read.
        part: int32 [n], what `littlebig label` drew each image for: `PLANNING`, or a pool's number from 1 on. None
            where the table is not divided.
        decode: how pictures were decoded, `scaled` or `full`, where it is known.
    """

    files: tuple[str, ...]
    labels: Array
    models: tuple[ModelColumns, ...]
    data_set: str = "unnamed"
    classes: int | None = None
    sources: tuple[SourceFile, ...] = ()
    part: Array | None = None
    decode: str | None = None

    def model(self, name: str) -> ModelColumns:
        """The columns of one model.

        Raises:
            PairChoiceError: if no table has predictions of that model.
        """
        for model in self.models:
            if model.name == name:
                return model
        known = ", ".join(model.name for model in self.models)
        raise PairChoiceError(f"no table has predictions of '{name}': choose among {known}")


def named(files: Sequence[str], limit: int = 3) -> str:
    """The first few of a list of files, for a message: `a.jpg, b.jpg, c.jpg and 14 more`."""
    shown = ", ".join(files[:limit])
    return shown if len(files) <= limit else f"{shown} and {len(files) - limit} more"


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 file`, `2 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def check_probabilities(values: Array, files: Sequence[str], column: str, table: str) -> None:
    """Refuse NaN and anything outside [0, 1].

    Args:
        values: float [n].
        files: the n images' names, for the message.
        column: the column's name, for the message.
        table: the table's name, for the message.

    Raises:
        TableError: saying how many values are wrong, and the first one.
    """
    wrong = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if wrong.size:
        first = wrong[0]
        raise TableError(
            f"{table}: {counted(wrong.size, 'value')} of '{column}' not in [0, 1] "
            f"(first {values[first]:g} for {files[first]}): give probabilities, after the softmax"
        )


def check_classes(values: Array, files: Sequence[str], column: str, table: str, classes: int | None) -> None:
    """Refuse classes below 0 and, where the number of classes is known, at or above it.

    Args:
        values: int [n].
        files: the n images' names, for the message.
        column: the column's name, for the message.
        table: the table's name, for the message.
        classes: the number of classes, or None if it is not known.

    Raises:
        TableError: saying how many values are wrong, and the first one.
    """
    wrong = np.flatnonzero((values < 0) | (values >= (np.iinfo(np.int32).max if classes is None else classes)))
    if wrong.size:
        first = wrong[0]
        bounds = "0 or more" if classes is None else f"0 to {classes - 1}"
        raise TableError(
            f"{table}: {counted(wrong.size, 'value')} of '{column}' out of range "
            f"(first {values[first]} for {files[first]}): classes are {bounds}"
        )


def check_calibratable(labels: Array) -> None:
    """Refuse label sets from which no threshold can be chosen.

    Args:
        labels: int [n], `NO_LABEL` where one is missing.

    Raises:
        PairChoiceError: for fewer than 100 images, no label at all, or a single class on all images.
    """
    if labels.size < MIN_IMAGES:
        raise PairChoiceError(
            f"{counted(labels.size, 'image')}: a calibration needs at least {MIN_IMAGES}, better 5,000"
        )
    if np.all(labels == NO_LABEL):
        raise PairChoiceError(
            "no image has a label: give them with --labels; 'littlebig label' lists the images that need one"
        )
    if np.all(labels == labels[0]):
        raise PairChoiceError(f"every label is {labels[0]}: calibrate on images of all classes that will be served")
