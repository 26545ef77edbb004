"""Where the classes' names come from: a text file, or the model repository whose weights made the predictions."""

from pathlib import Path

import numpy as np

from littlebig_calibration.errors import TableError
from littlebig_calibration.table import PredictionTable
from littlebig_contract.provenance import ProvenanceError, read_provenance


def read_names(path: Path) -> list[str]:
    """One name a line, up to the last line that is not blank.

    Raises:
        TableError: if the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    return [line.strip() for line in text.rstrip().split("\n")]


def repository_names(repository: Path, table: PredictionTable) -> list[str] | None:
    """The class names of a model repository, or None if it did not make the table."""
    try:
        stages = read_provenance(repository)["stages"]
        weights = {stage["weights"]["sha256"] for stage in stages.values()}
        if not {model.weights_sha256 for model in table.models} <= weights:
            return None
        return read_names(repository / "big" / "labels.txt")
    except (ProvenanceError, TableError, AttributeError, KeyError, TypeError):
        return None


def number_of_classes(table: PredictionTable, names: list[str] | None) -> int:
    """What the table says, else the number of names, else one more than the largest answer.

    Raises:
        TableError: if the names are fewer or more than the classes.
    """
    answered = 1 + max(int(np.max(model.label)) for model in table.models)
    expected = table.classes or answered
    if names is None:
        return expected
    if (table.classes and len(names) != table.classes) or len(names) < answered:
        raise TableError(f"{len(names):,} class names for {expected:,} classes: give one name a line, in their order")
    return len(names)
