"""Reads one prediction table or label file: ours, or one that researchers publish."""

import hashlib
import json
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
from littlebig_calibration.table import NO_CLASS, NO_LABEL, UNCLEAR, ModelColumns, SourceFile, counted, named

METADATA_KEY = b"littlebig"
FILE_COLUMNS = ("file", "file_name")
# Words in a column of labels, beside classes.
LABEL_WORDS = {"none": NO_CLASS, "unclear": UNCLEAR}
PUBLISHED_LABEL, PUBLISHED_CONFIDENCE = "predicted_class", "predicted_probability"


@dataclass(frozen=True)
class TableFile:
    """One file as read, in its own order of rows.

    Attributes:
        source: the file's name and hash.
        files: Arrow strings [n], the images' names.
        labels: int [n], `NO_LABEL` and `NO_CLASS` among them; None where it has no labels.
        models: the models that it has predictions of; values are not checked yet.
        data_set: the images' name, where the file has it.
        classes: the number of classes, where the file has it.
        part: int [n], what each image is for; None where the file does not say.
        decode: how pictures were decoded, where the file has it.
    """

    source: SourceFile
    files: pa.Array
    labels: Array | None
    models: tuple[ModelColumns, ...]
    data_set: str | None
    classes: int | None
    part: Array | None = None
    decode: str | None = None


def read_table_file(path: Path) -> TableFile:
    """Read one file. Only needed columns are loaded: the top-5 lists stay on the disk.

    Raises:
        TableError: naming the file, if it cannot be read or is no table.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror}") from error
    if not data:
        raise TableError(f"{path.name} is empty")
    source = SourceFile(path.name, hashlib.sha256(data).hexdigest())
    try:
        columns, metadata = _parquet(data) if data[:4] == b"PAR1" else (_csv(data), _beside(path))
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
    reader = _Columns(columns, files, path.name)
    return TableFile(
        source=source,
        files=files,
        labels=reader.labels() if "label" in columns.column_names else None,
        models=tuple(_models(reader, metadata, path)),
        data_set=metadata.get("data_set"),
        classes=metadata.get("classes"),
        part=reader.integers("part") if "part" in columns.column_names else None,
        decode=metadata.get("decode"),
    )


def sidecar(path: Path) -> Path:
    """The file beside a CSV with what a Parquet table has in its metadata, whose weights predicted for instance."""
    return path.with_name(f"{path.name}.json")


def _beside(path: Path) -> dict[str, Any]:
    try:
        metadata = json.loads(sidecar(path).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise TableError(f"cannot read {sidecar(path)}: {error}") from error
    if not isinstance(metadata, dict) or not isinstance(metadata.get("models"), dict):
        raise TableError(f"{sidecar(path)} is not what 'littlebig predict' writes beside a CSV: move it away")
    return metadata


@dataclass(frozen=True)
class _Columns:
    """A file's columns, with what error messages need."""

    table: pa.Table
    files: pa.Array
    name: str

    def integers(self, column: str) -> Array:
        values = self._complete(column)
        if not pa.types.is_integer(values.type):
            raise TableError(f"{self.name}: '{column}' is not a column of whole numbers: classes are numbered from 0")
        return np.asarray(values.to_numpy(zero_copy_only=False))

    def labels(self) -> Array:
        """Classes and `LABEL_WORDS`; an empty field is a missing label."""
        values = self.table.column("label").combine_chunks()
        if pa.types.is_floating(values.type):  # what pandas makes of whole numbers with gaps
            values = pc.if_else(pc.is_nan(values), None, values)
            if pc.all(pc.fill_null(pc.equal(values, pc.round(values)), True)).as_py():
                values = values.cast(pa.int32())
        elif pa.types.is_null(values.type):
            values = values.cast(pa.int32())
        elif pa.types.is_string(values.type):
            text = pc.utf8_trim_whitespace(values)
            for word, value in LABEL_WORDS.items():
                text = pc.if_else(pc.equal(pc.utf8_lower(text), word), str(value), text)
            text = pc.if_else(pc.equal(text, ""), None, text)
            if pc.all(pc.fill_null(pc.match_substring_regex(text, r"^-?\d{1,9}$"), True)).as_py():
                values = text.cast(pa.int32())
        if not pa.types.is_integer(values.type):
            raise TableError(f"{self.name}: 'label' is not a column of whole numbers: classes are numbered from 0")
        return np.asarray(values.fill_null(NO_LABEL).to_numpy(zero_copy_only=False))

    def floats(self, column: str) -> Array:
        values = self._complete(column)
        if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
            raise TableError(f"{self.name}: '{column}' is not a column of numbers: give probabilities in [0, 1]")
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)

    def _complete(self, column: str) -> pa.Array:
        values = self.table.column(column).combine_chunks()
        if values.null_count:
            missing = self.files.filter(pc.is_null(values)).to_pylist()
            raise TableError(
                f"{self.name}: '{column}' is missing or NaN for {counted(len(missing), 'file')} ({named(missing)}): "
                "fill it in"
            )
        return values


def _csv(data: bytes) -> pa.Table:
    types = {name: pa.string() for name in FILE_COLUMNS}
    table = pyarrow.csv.read_csv(
        pa.BufferReader(data),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=types),
    )
    table = table.rename_columns([name.strip() for name in table.column_names])
    return table.select([name for name in table.column_names if "_top5_" not in name])


def _parquet(data: bytes) -> tuple[pa.Table, dict[str, Any]]:
    file = pyarrow.parquet.ParquetFile(pa.BufferReader(data))
    names = [name for name in file.schema_arrow.names if "_top5_" not in name]
    stored = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
    return file.read(columns=names), json.loads(stored) if stored else {}


def _models(columns: _Columns, metadata: dict[str, Any], path: Path) -> list[ModelColumns]:
    names = columns.table.column_names
    if PUBLISHED_LABEL in names:
        if PUBLISHED_CONFIDENCE not in names:
            raise TableError(f"{path.name}: column '{PUBLISHED_LABEL}' without '{PUBLISHED_CONFIDENCE}'")
        return [ModelColumns(path.stem, columns.integers(PUBLISHED_LABEL), columns.floats(PUBLISHED_CONFIDENCE))]
    version = metadata.get("format_version", 1)
    if version != 1:
        raise TableError(f"{path.name}: format version {version}, this littlebig reads version 1: update it")
    described = metadata.get("models")
    weights = described if isinstance(described, dict) else {}
    models = []
    for column in names:
        name = column.removesuffix("_confidence")
        if name == column:
            continue
        if f"{name}_label" not in names:
            raise TableError(f"{path.name}: column '{column}' without '{name}_label'")
        models.append(
            ModelColumns(
                name=name,
                label=columns.integers(f"{name}_label"),
                confidence=columns.floats(column),
                margin=columns.floats(f"{name}_margin") if f"{name}_margin" in names else None,
                weights_sha256=weights.get(name, {}).get("weights_sha256"),
            )
        )
    return models


def _check_files(files: pa.Array, table: str) -> None:
    if files.null_count:
        raise TableError(f"{table}: {counted(files.null_count, 'row')} without a file name")
    counts = pc.value_counts(files)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
    if repeated:
        raise TableError(
            f"{table}: {counted(len(repeated), 'file')} listed more than once ({named(repeated)}): "
            "keep one row for each"
        )
