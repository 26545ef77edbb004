"""Reads prediction tables and label files of the same images, and joins them into one table."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from littlebig_calibration._arrays import Array
from littlebig_calibration.errors import TableError
from littlebig_calibration.table import (
    NO_CLASS,
    NO_LABEL,
    PLANNING,
    UNCLEAR,
    ModelColumns,
    PredictionTable,
    check_classes,
    check_probabilities,
    counted,
    named,
)
from littlebig_calibration.table_file import TableFile, read_table_file

T = TypeVar("T")


def read_tables(
    tables: Sequence[Path], labels: Path | None = None, *, classes: int | None = None, data_set: str | None = None
) -> PredictionTable:
    """Read tables of the same images and join them by file name.

    Args:
        tables: CSV or Parquet files, ours or published ones (docs/calibration.md has both schemas).
        labels: a CSV or Parquet file with `file` (or `file_name`) and `label`; it may lack files.
        classes: the number of classes; what the tables say by default.
        data_set: the images' name in the evidence; the tables' own, or the folder's, by default.

    Returns:
        One table, sorted by file name, so that the order of rows never matters.

    Raises:
        TableError: if a file cannot be read or the files do not fit together; nothing is dropped silently.
    """
    predictions = [read_table_file(Path(path)) for path in tables]
    for table in predictions:
        if not table.models:
            raise TableError(f"{table.source.name}: no predictions in it; give a label file with --labels")
    label_file = None if labels is None else read_table_file(Path(labels))
    if label_file is not None and label_file.labels is None:
        raise TableError(f"{label_file.source.name}: no column 'label'; a label file has 'file' and 'label'")

    everything = [*predictions, *([label_file] if label_file else [])]
    reference = predictions[0].files.take(pc.sort_indices(predictions[0].files))
    orders = [_order(reference, table, predictions[0].source.name, table is label_file) for table in everything]
    files = tuple(reference.to_pylist())
    if classes is None:
        classes = next((table.classes for table in predictions if table.classes), None)

    models = [
        _sorted_model(model, order, files, table.source.name, classes)
        for table, order in zip(predictions, orders, strict=False)
        for model in table.models
    ]
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        weights = {model.weights_sha256 for model in models if model.name == repeated}
        several = f", of {len(weights)} different weights" if len(weights) > 1 else ""
        raise TableError(f"model '{repeated}' is in two tables{several}: give each model once")

    own_names = (table.data_set for table in predictions if table.data_set)
    return PredictionTable(
        files=files,
        labels=_labels(everything, orders, files, classes),
        models=tuple(models),
        data_set=data_set or next(own_names, _folder_name(Path(labels or tables[0]))),
        classes=classes,
        sources=tuple(table.source for table in everything),
        part=_part(predictions, orders[: len(predictions)]),
        decode=_same((table.decode for table in predictions), "how pictures were decoded"),
    )


def _folder_name(path: Path) -> str:
    return path.resolve().parent.name or path.stem


def _order(reference: pa.Array, table: TableFile, first: str, is_labels: bool) -> Array:
    """The rows of a file in the order of the reference, int64 [n]; files that only one of both has are refused.

    A label file may lack some: their row is -1.
    """
    rows = pc.index_in(reference, value_set=table.files)
    only_first = reference.filter(pc.is_null(rows)).to_pylist()
    only_here = table.files.filter(pc.is_null(pc.index_in(table.files, value_set=reference))).to_pylist()
    name = table.source.name
    if is_labels and not only_here:
        return np.asarray(rows.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
    if only_first or only_here:
        sides = [
            f"{len(only):,} only in {where} ({named(only)})"
            for only, where in ((only_first, first), (only_here, name))
            if only
        ]
        raise TableError(
            f"{first} and {name} list different files, {', '.join(sides)}: predict and label the same images"
        )
    return np.asarray(rows.to_numpy(zero_copy_only=False), dtype=np.int64)


def _sorted_model(
    model: ModelColumns, order: Array, files: Sequence[str], table: str, classes: int | None
) -> ModelColumns:
    """The model's columns in the joint order, checked."""
    label, confidence = model.label[order], model.confidence[order]
    margin = None if model.margin is None else model.margin[order]
    check_classes(label, files, f"{model.name}: predicted label", table, classes)
    check_probabilities(confidence, files, f"{model.name}: confidence", table)
    if margin is not None:
        check_probabilities(margin, files, f"{model.name}: margin", table)
    return ModelColumns(
        name=model.name,
        label=label.astype(np.int32),
        confidence=confidence.astype(np.float32),
        margin=None if margin is None else margin.astype(np.float32),
        weights_sha256=model.weights_sha256,
    )


def _labels(tables: Sequence[TableFile], orders: Sequence[Array], files: Sequence[str], classes: int | None) -> Array:
    """The labels in the joint order, missing ones among them; where several files have a label, they must agree."""
    joint: Array | None = None
    first = ""
    for table, order in zip(tables, orders, strict=True):
        if table.labels is None:
            continue
        labels = np.where(order < 0, NO_LABEL, table.labels[order])
        check_classes(
            np.where(np.isin(labels, (NO_LABEL, NO_CLASS, UNCLEAR)), 0, labels),
            files,
            "label",
            table.source.name,
            classes,
        )
        if joint is None:
            joint, first = labels, table.source.name
            continue
        conflict = (joint != labels) & (joint != NO_LABEL) & (labels != NO_LABEL)
        joint = np.where(joint == NO_LABEL, labels, joint)
        if conflict.any():
            wrong = [files[index] for index in np.flatnonzero(conflict)]
            raise TableError(
                f"{first} and {table.source.name} disagree about the labels of {counted(len(wrong), 'file')} "
                f"({named(wrong)}): keep the right ones"
            )
    return np.full(len(files), NO_LABEL, np.int32) if joint is None else joint.astype(np.int32)


def _same(values: Iterable[T | None], what: str) -> T | None:
    """The value that all tables which have one agree on.

    Raises:
        TableError: if they do not.
    """
    known = list(dict.fromkeys(value for value in values if value is not None))
    if len(known) > 1:
        raise TableError(f"the tables differ in {what} ({known[0]}, {known[1]}): predict all of them in the same way")
    return known[0] if known else None


def _part(tables: Sequence[TableFile], orders: Sequence[Array]) -> Array | None:
    """What each image is for, from the first table that says it."""
    for table, order in zip(tables, orders, strict=True):
        if table.part is not None:
            part = table.part[order]
            if part.min() < PLANNING or not np.array_equal(np.unique(part), np.arange(part.max() + 1)):
                raise TableError(
                    f"{table.source.name}: 'part' is 0 for planning images and 1, 2 and so on for pools; "
                    "take the table that 'littlebig label' wrote"
                )
            return np.asarray(part, dtype=np.int32)
    return None
