"""Tables of answers as Parquet, CSV or JSON lines: written whole, read row by row."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from littlebig_cli.answer_rows import Row, csv_cells, csv_columns, row_of_csv
from littlebig_cli.failures import Failure, missing_extra
from littlebig_contract.files import replacing

SUFFIXES = (".parquet", ".csv", ".jsonl")
# Rows that are held at a time.
_GROUP = 20_000
_METADATA = b"littlebig"


def check_suffix(path: Path) -> None:
    """Check that a table can have this name, before anything is asked.

    Raises:
        Failure: its suffix is unknown, or needs pyarrow, which is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise Failure(f"{path}: the suffix must be one of {', '.join(SUFFIXES)}")
    if path.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401, PLC0415  (an extra)
        except ModuleNotFoundError as missing:
            raise Failure(missing_extra(f"--output {path}", "batch", missing)) from missing


def write_table(path: Path, rows: Iterable[Row], options: Mapping[str, Any]) -> None:
    """Write a table; it appears whole or not at all.

    Args:
        path: its suffix decides on the format.
        rows: as `row_of` makes them.
        options: of the requests; `top_k` decides on a CSV's columns, and Parquet keeps all as metadata `littlebig`.

    Raises:
        Failure: it cannot be written.
    """
    try:
        with replacing(path) as partial:
            _WRITERS[path.suffix](partial, rows, options)
    except OSError as unwritable:
        raise Failure(
            f"{path} cannot be written: {unwritable.strerror or unwritable}; all answers are kept: "
            "mend that and give the same command again"
        ) from unwritable


def read_table(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table.

    Raises:
        Failure: it cannot be read, or is no table of answers.
    """
    try:
        yield from _READERS[path.suffix](path)
    except (OSError, ValueError, KeyError, TypeError) as unreadable:  # pyarrow's errors are of these classes
        raise Failure(
            f"{path} is not a table of answers ({unreadable}): move it away, or give another --output"
        ) from unreadable


def read_options(path: Path) -> dict[str, Any] | None:
    """The options of the requests; None if the format does not keep them."""
    if path.suffix != ".parquet":
        return None
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        found = json.loads((pq.read_schema(path).metadata or {})[_METADATA])
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None
    return found if isinstance(found, dict) else None


def _write_parquet(path: Path, rows: Iterable[Row], options: Mapping[str, Any]) -> None:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    candidate = pa.struct([("label", pa.int32()), ("name", pa.string()), ("probability", pa.float32())])
    columns = [
        ("file", pa.string()),
        ("label", pa.int32()),
        ("name", pa.string()),
        ("confidence", pa.float32()),
        ("stage", pa.string()),
        ("error", pa.string()),
        ("top_k", pa.list_(candidate)),
    ]
    schema = pa.schema(columns, metadata={_METADATA: json.dumps(options)})
    left = iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(left, _GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq  # noqa: PLC0415

    with pq.ParquetFile(path) as file:
        for group in file.iter_batches(_GROUP):
            for row in group.to_pylist():
                error = row.pop("error")
                yield row if error is None else {"file": row["file"], "error": error}


def _write_csv(path: Path, rows: Iterable[Row], options: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(csv_columns(options["top_k"]))
        writer.writerows(csv_cells(row, options["top_k"]) for row in rows)


def _read_csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        columns = reader.fieldnames or []
        top_k = max((len(columns) - 6) // 3, 0)
        if list(columns) != csv_columns(top_k):
            raise ValueError("its columns are others")
        for cells in reader:
            yield row_of_csv(cells, top_k)


def _write_jsonl(path: Path, rows: Iterable[Row], options: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield {**row, "file": row["file"]}


_WRITERS = {".parquet": _write_parquet, ".csv": _write_csv, ".jsonl": _write_jsonl}
_READERS = {".parquet": _read_parquet, ".csv": _read_csv, ".jsonl": _read_jsonl}
