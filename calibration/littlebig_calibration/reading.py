"""Reads prediction tables (ours, and those that researchers publish) and label files into one table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from littlebig_calibration._arrays import Array
from littlebig_calibration.errors import TableError
from littlebig_calibration.table import (
    ModelColumns,
    PredictionTable,
    Source,
    check_classes,
    check_probabilities,
    counted,
    named,
)

METADATA_KEY = b"littlebig"
FILE_COLUMNS = ("file", "file_name")
FOREIGN_LABEL, FOREIGN_CONFIDENCE = "predicted_class", "predicted_probability"


@dataclass(frozen=True)
class _Part:
    """One file as read: the images' names (Arrow strings), and the labels or models it carries."""

    source: Source
    files: pa.Array
    labels: Array | None
    models: tuple[ModelColumns, ...]
    data_set: str | None
    classes: int | None


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
        labels: a CSV or Parquet file with `file` (or `file_name`) and `label`; needed where no table has
            labels.
        classes: how many classes there are; what the tables say by default.
        data_set: the images' name in the evidence; the tables' word for it, or the folder's by default.

    Returns:
        One table, sorted by file name, so that the order of rows never matters.

    Raises:
        TableError: if a file cannot be read or the files do not fit together; nothing is dropped silently.
    """
    parts = [_read(Path(path)) for path in tables]
    for part in parts:
        if not part.models:
            raise TableError(f"{part.source.name}: no predictions in it; a label file belongs to --labels")
    label_part = None if labels is None else _read(Path(labels))
    if label_part is not None and label_part.labels is None:
        raise TableError(f"{label_part.source.name}: no column 'label'; a label file has 'file' and 'label'")

    everything = [*parts, *([label_part] if label_part else [])]
    order = pc.sort_indices(parts[0].files)
    reference = parts[0].files.take(order)
    rows = [_rows(reference, part, parts[0].source.name, part is label_part) for part in everything]
    files = tuple(reference.to_pylist())
    classes = classes if classes is not None else next((part.classes for part in parts if part.classes), None)

    models: list[ModelColumns] = []
    for part, row in zip(parts, rows, strict=False):
        for model in part.models:
            models.append(_sorted_model(model, row, files, part.source.name, classes))
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TableError(f"model '{twice}' is in two tables: give each model once")

    return PredictionTable(
        files=files,
        labels=_labels(everything, rows, files, classes),
        models=tuple(models),
        data_set=data_set
        or next((part.data_set for part in parts if part.data_set), _folder(Path(labels or tables[0]))),
        classes=classes,
        sources=tuple(part.source for part in everything),
    )


def _folder(path: Path) -> str:
    """A name for images of which nothing else is known: the folder of their labels."""
    return path.resolve().parent.name or path.stem


def _rows(reference: pa.Array, part: _Part, first: str, is_labels: bool) -> Array:
    """The rows of `part` in the order of `reference`; refuses files that only one of both has."""
    rows = pc.index_in(reference, value_set=part.files)
    only_first = reference.filter(pc.is_null(rows)).to_pylist()
    only_here = part.files.filter(pc.is_null(pc.index_in(part.files, value_set=reference))).to_pylist()
    name = part.source.name
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
    model: ModelColumns, rows: Array, files: Sequence[str], table: str, classes: int | None
) -> ModelColumns:
    """The model's columns in the joint order, checked."""
    label, confidence = model.label[rows], model.confidence[rows]
    margin = None if model.margin is None else model.margin[rows]
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


def _labels(parts: Sequence[_Part], rows: Sequence[Array], files: Sequence[str], classes: int | None) -> Array:
    """The labels in the joint order; where several files carry them, they must agree."""
    found: Array | None = None
    first = ""
    for part, row in zip(parts, rows, strict=True):
        if part.labels is None:
            continue
        labels = part.labels[row]
        check_classes(labels, files, "label", part.source.name, classes)
        if found is None:
            found, first = labels, part.source.name
        elif not np.array_equal(found, labels):
            wrong = [files[index] for index in np.flatnonzero(found != labels)]
            raise TableError(
                f"{first} and {part.source.name} disagree about the labels of {counted(len(wrong), 'file')} "
                f"({named(wrong)}): keep the right ones"
            )
    if found is None:
        raise TableError("the tables carry no labels: name a file with 'file,label' by --labels")
    return np.asarray(found, dtype=np.int32)


def _read(path: Path) -> _Part:
    """Read one file. Only the columns that are needed are loaded: the top-5 lists stay on the disk."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror}") from error
    if not data:
        raise TableError(f"{path.name} is empty")
    source = Source(path.name, hashlib.sha256(data).hexdigest())
    try:
        columns, metadata = _parquet(data) if data[:4] == b"PAR1" else (_csv(data), {})
    except (pa.ArrowException, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise TableError(f"{path.name} is neither a CSV nor a Parquet table of ours: {reason}") from error

    key = next((name for name in FILE_COLUMNS if name in columns.column_names), None)
    if key is None:
        has = ", ".join(columns.column_names[:6])
        raise TableError(f"{path.name}: no column 'file' (or 'file_name'), only {has}")
    files = columns.column(key).combine_chunks().cast(pa.string())
    if not len(files):
        raise TableError(f"{path.name} has no rows")
    _check_files(files, path.name)
    labels = _integers(columns, "label", path.name, files) if "label" in columns.column_names else None
    return _Part(
        source=source,
        files=files,
        labels=labels,
        models=tuple(_models(columns, metadata, path, files)),
        data_set=metadata.get("data_set"),
        classes=metadata.get("classes"),
    )


def _csv(data: bytes) -> pa.Table:
    types = {name: pa.string() for name in FILE_COLUMNS}
    table = pyarrow.csv.read_csv(pa.BufferReader(data), convert_options=pyarrow.csv.ConvertOptions(column_types=types))
    return table.select([name for name in table.column_names if "_top5_" not in name])


def _parquet(data: bytes) -> tuple[pa.Table, dict[str, Any]]:
    file = pyarrow.parquet.ParquetFile(pa.BufferReader(data))
    names = [name for name in file.schema_arrow.names if "_top5_" not in name]
    stored = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
    return file.read(columns=names), json.loads(stored) if stored else {}


def _models(columns: pa.Table, metadata: dict[str, Any], path: Path, files: pa.Array) -> list[ModelColumns]:
    names = columns.column_names
    table = path.name
    if FOREIGN_LABEL in names:
        if FOREIGN_CONFIDENCE not in names:
            raise TableError(f"{table}: column '{FOREIGN_LABEL}' without '{FOREIGN_CONFIDENCE}'")
        label = _integers(columns, FOREIGN_LABEL, table, files)
        return [ModelColumns(path.stem, label, _floats(columns, FOREIGN_CONFIDENCE, table, files))]
    version = metadata.get("format_version", 1)
    if version != 1:
        raise TableError(f"{table}: format version {version}, this littlebig reads version 1: update it")
    described = metadata.get("models")
    weights = described if isinstance(described, dict) else {}
    models = []
    for column in names:
        name = column.removesuffix("_confidence")
        if name == column:
            continue
        if f"{name}_label" not in names:
            raise TableError(f"{table}: column '{column}' without '{name}_label'")
        models.append(
            ModelColumns(
                name=name,
                label=_integers(columns, f"{name}_label", table, files),
                confidence=_floats(columns, column, table, files),
                margin=_floats(columns, f"{name}_margin", table, files) if f"{name}_margin" in names else None,
                weights_sha256=weights.get(name, {}).get("weights_sha256"),
            )
        )
    return models


def _check_files(files: pa.Array, table: str) -> None:
    if files.null_count:
        raise TableError(f"{table}: {counted(files.null_count, 'row')} without a file name")
    counts = pc.value_counts(files)
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
    if twice:
        raise TableError(
            f"{table}: {counted(len(twice), 'file')} listed more than once ({named(twice)}): keep one row for each"
        )


def _column(columns: pa.Table, name: str, table: str, files: pa.Array) -> pa.Array:
    column = columns.column(name).combine_chunks()
    if column.null_count:
        missing = files.filter(pc.is_null(column)).to_pylist()
        raise TableError(
            f"{table}: '{name}' is missing or NaN for {counted(len(missing), 'file')} ({named(missing)}): fill it in"
        )
    return column


def _integers(columns: pa.Table, name: str, table: str, files: pa.Array) -> Array:
    column = _column(columns, name, table, files)
    if not pa.types.is_integer(column.type):
        raise TableError(f"{table}: '{name}' is not a column of whole numbers: classes are numbered from 0")
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _floats(columns: pa.Table, name: str, table: str, files: pa.Array) -> Array:
    column = _column(columns, name, table, files)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise TableError(f"{table}: '{name}' is not a column of numbers: probabilities in [0, 1] are needed")
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
