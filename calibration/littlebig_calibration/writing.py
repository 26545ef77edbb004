"""Writes prediction tables, as Parquet or CSV."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from littlebig_calibration._arrays import Array
from littlebig_calibration.errors import TableError
from littlebig_calibration.table import NO_LABEL, PredictionTable
from littlebig_calibration.table_file import METADATA_KEY, sidecar
from littlebig_contract.files import replacing


def write_table(table: PredictionTable, path: Path) -> None:
    """Write a table that `read_tables` reads back; the file appears whole or not at all.

    Args:
        table: what to write. CSV has no place for the data set, the number of classes, the decoding and the weights'
            hashes: they are written beside it, see `sidecar`.
        path: a file that ends in `.parquet` or `.csv`.

    Raises:
        TableError: for another ending, or if the file cannot be written.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise TableError(f"{path}: tables are written as .parquet or .csv")
    as_csv = path.suffix == ".csv"
    columns: dict[str, pa.Array] = {"file": pa.array(table.files, pa.string()), "label": _labels(table.labels)}
    for model in table.models:
        columns[f"{model.name}_label"] = _int32(model.label)
        columns[f"{model.name}_confidence"] = pa.array(model.confidence, pa.float32())
        if model.margin is not None:
            columns[f"{model.name}_margin"] = pa.array(model.margin, pa.float32())
        if model.top5_labels is not None and model.top5_probabilities is not None:
            columns[f"{model.name}_top5_labels"] = _lists(model.top5_labels, pa.int32(), as_csv)
            columns[f"{model.name}_top5_probabilities"] = _lists(model.top5_probabilities, pa.float32(), as_csv)
    if table.part is not None:
        columns["part"] = _int32(table.part)
    metadata = {
        "format_version": 1,
        "data_set": table.data_set,
        "classes": table.classes,
        "decode": table.decode,
        "models": {model.name: {"weights_sha256": model.weights_sha256} for model in table.models},
    }
    arrow = pa.table(columns).replace_schema_metadata({METADATA_KEY: json.dumps(metadata).encode()})
    try:
        with replacing(path) as partial:
            if as_csv:
                with replacing(sidecar(path)) as beside:
                    beside.write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")
                pyarrow.csv.write_csv(arrow, partial, pyarrow.csv.WriteOptions(quoting_style="needed"))
            else:
                pyarrow.parquet.write_table(arrow, partial, compression="zstd")
    except OSError as error:
        raise TableError(f"cannot write {path}: {error.strerror or error}") from error


def _labels(labels: Array) -> pa.Array:
    return pa.array(np.asarray(labels, dtype=np.int32), pa.int32(), mask=labels == NO_LABEL)


def _int32(values: Array) -> pa.Array:
    return pa.array(np.asarray(values, dtype=np.int32), pa.int32())


def _lists(values: Array, item: pa.DataType, as_csv: bool) -> pa.Array:
    if as_csv:
        return pa.array([" ".join(map(str, row)) for row in values.tolist()], pa.string())
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), item)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
