"""Writes the labelling folder: divided table, list, page and plan. It appears whole or not at all."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from littlebig_calibration.errors import TableError
from littlebig_calibration.labelling.label_list import label_list
from littlebig_calibration.labelling.page import embedded, labelling_page, question
from littlebig_calibration.labelling.pictures import EMBEDDED_LIMIT, shrunk_pictures
from littlebig_calibration.labelling.plan import Plan, divide, draw_pool, write_plan
from littlebig_calibration.table import PredictionTable
from littlebig_calibration.writing import write_table

TABLE, LIST, PAGE, PLAN, PICTURES = "predictions.parquet", "labels.csv", "label.html", "plan.json", "pictures"


def check_new(folder: Path) -> None:
    """Refuse a folder that is there already: it may hold labels.

    Raises:
        TableError: naming it.
    """
    if folder.exists():
        raise TableError(f"'{folder}' exists already and may hold labels: give a new folder with --output")


def write_folder(
    folder: Path,
    table: PredictionTable,
    plans: Sequence[Plan],
    pictures: Path,
    names: Sequence[str],
    progress: Callable[[int], None] = lambda images: None,
) -> int:
    """Write all that labelling and calibrating need.

    Args:
        folder: a new folder.
        table: all predictions, with the labels of the first pool where there is a second.
        plans: the first plan, or the first and the second; the last one's pool is to be labelled.
        pictures: the folder of the images.
        names: a name per class, see `shown_names`.
        progress: called with the number of pictures done since its last call.

    Returns:
        Number of pictures on the list.

    Raises:
        TableError: if the folder exists or cannot be written, or pictures are missing or cannot be shown.
    """
    check_new(folder)
    rows = draw_pool(table, plans[-1]).to_label(table.labels, plans[-1].budget)
    files = [table.files[row] for row in rows]
    little, big = (table.model(name) for name in (plans[-1].goal.little, plans[-1].goal.big))
    questions = [question(table.files[row], (int(little.label[row]), int(big.label[row])), names) for row in rows]
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        addresses = _write_pictures(partial, pictures, files, progress)
        page = labelling_page(questions, addresses, names, table.data_set)
        (partial / PAGE).write_text(page, encoding="utf-8")
        (partial / LIST).write_text(label_list(questions, names), encoding="utf-8", newline="")
        write_table(divide(table, *plans), partial / TABLE)
        write_plan(plans[-1], partial / PLAN)
        partial.rename(folder)
    except OSError as error:
        raise TableError(f"cannot write '{folder}': {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(files)


def _write_pictures(
    folder: Path, pictures: Path, files: Sequence[str], progress: Callable[[int], None]
) -> Sequence[str]:
    """The pictures' addresses for the page: themselves, or files in a folder beside it if they are too many bytes."""
    names = [f"{PICTURES}/{place:06d}.jpg" for place in range(len(files))]
    small, kept = 0, []
    for name, content in zip(names, shrunk_pictures(pictures, files, progress), strict=True):
        small += len(content)
        if small <= EMBEDDED_LIMIT:
            kept.append(content)
            continue
        (folder / PICTURES).mkdir(exist_ok=True)
        for earlier, picture in zip(names, kept, strict=False):
            (folder / earlier).write_bytes(picture)
        kept = []
        (folder / name).write_bytes(content)
    return [embedded(picture) for picture in kept] if small <= EMBEDDED_LIMIT else names
