"""One answer as a row: what JSON, CSV and Parquet have in common."""

from collections.abc import Callable, Mapping
from typing import Any

from littlebig_client import Classification, ClientError

Row = Mapping[str, Any]


def row_of(file: str, answer: Classification | ClientError) -> dict[str, Any]:
    """The row of one picture: `file` and `error`, or `file`, `label`, `name`, `confidence`, `stage` and `top_k`."""
    if isinstance(answer, ClientError):
        return {"file": file, "error": answer.message}
    return {
        "file": file,
        "label": answer.label,
        "name": answer.name,
        "confidence": answer.confidence,
        "stage": answer.stage.value,
        "top_k": [
            {"label": candidate.label, "name": candidate.name, "probability": candidate.probability}
            for candidate in answer.top_k
        ],
    }


def csv_columns(top_k: int) -> list[str]:
    """The names of a CSV's columns."""
    ranked = [f"{column}_{rank + 1}" for rank in range(top_k) for column in ("label", "name", "probability")]
    return ["file", "label", "name", "confidence", "stage", "error", *ranked]


def csv_cells(row: Row, top_k: int, text: Callable[[str], str] = str) -> list[object]:
    """A row's cells, in the order of `csv_columns`; what it lacks is empty.

    Args:
        row: as `row_of` makes it.
        top_k: number of candidates.
        text: applied to every text that comes from outside.
    """
    cells: list[object] = [
        text(row["file"]),
        row.get("label", ""),
        text(row.get("name", "")),
        row.get("confidence", ""),
        row.get("stage", ""),
        row.get("error", ""),
    ]
    for candidate in row.get("top_k", ()):
        cells += [candidate["label"], text(candidate["name"]), candidate["probability"]]
    return cells + [""] * (6 + 3 * top_k - len(cells))


def row_of_csv(cells: Mapping[str, str], top_k: int) -> dict[str, Any]:
    """The row of a CSV's cells by column; the opposite of `csv_cells`."""
    if cells["error"]:
        return {"file": cells["file"], "error": cells["error"]}
    ranks = [rank for rank in range(1, top_k + 1) if cells[f"label_{rank}"]]
    return {
        "file": cells["file"],
        "label": int(cells["label"]),
        "name": cells["name"],
        "confidence": float(cells["confidence"]),
        "stage": cells["stage"],
        "top_k": [
            {
                "label": int(cells[f"label_{rank}"]),
                "name": cells[f"name_{rank}"],
                "probability": float(cells[f"probability_{rank}"]),
            }
            for rank in ranks
        ],
    }
