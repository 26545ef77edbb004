"""Reads prediction tables and label files of the same images, and joins them into one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from littlebig_calibration._arrays import Array
from littlebig_calibration.errors import TableError
from littlebig_calibration.table import (
    ModelColumns,
    PredictionTable,
    check_classes,
    check_probabilities,
    counted,
    named,
)
from littlebig_calibration.table_file import TableFile, read_table_file


def read_tables(
    tables: Sequence[Path],
    labels: Path | None = None,
    *,
    classes: int | None = None,
    data_set: str | None = None,
) -> PredictionTable:
    """Read tables of the same images and join them by file name.

    Args:
        tables: CSV or Parquet files, ours or published ones (docs/calibration.md has both schemas).
        labels: a CSV or Parquet file with `file` (or `file_name`) and `label`; needed where no table has labels.
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
        raise TableError(f"model '{repeated}' is in two tables: give each model once")

    own_names = (table.data_set for table in predictions if table.data_set)
    return PredictionTable(
        files=files,
        labels=_labels(everything, orders, files, classes),
        models=tuple(models),
        data_set=data_set or next(own_names, _folder_name(Path(labels or tables[0]))),
        classes=classes,
        sources=tuple(table.source for table in everything),
    )


def _folder_name(path: Path) -> str:
    return path.resolve().parent.name or path.stem


def _order(reference: pa.Array, table: TableFile, first: str, is_labels: bool) -> Array:
    """The rows of a file in the order of the reference, int64 [n]; files that only one of both has are refused."""
    rows = pc.index_in(reference, value_set=table.files)
    only_first = reference.filter(pc.is_null(rows)).to_pylist()
    only_here = table.files.filter(pc.is_null(pc.index_in(table.files, value_set=reference))).to_pylist()
    name = table.source.name
    if is_labels and only_first:
        raise TableError(
            f"{name}: no label for {counted(len(only_first), 'file')} of {first} "
            f"({named(only_first)}): add them or remove those rows"
        )
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
    """The labels in the joint order; where several files have labels, they must agree."""
    joint: Array | None = None
    first = ""
    for table, order in zip(tables, orders, strict=True):
        if table.labels is None:
            continue
        labels = table.labels[order]
        check_classes(labels, files, "label", table.source.name, classes)
        if joint is None:
            joint, first = labels, table.source.name
        elif not np.array_equal(joint, labels):
            wrong = [files[index] for index in np.flatnonzero(joint != labels)]
            raise TableError(
                f"{first} and {table.source.name} disagree about the labels of {counted(len(wrong), 'file')} "
                f"({named(wrong)}): keep the right ones"
            )
    if joint is None:
        raise TableError("the tables have no labels: give a file of 'file,label' with --labels")
    return np.asarray(joint, dtype=np.int32)
