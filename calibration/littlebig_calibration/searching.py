"""Finds the pairs worth serving: tries every two models of a folder of tables, at the paper's threshold.

A search compares many pairs on the same labels, so the winner's figures are biased upwards. Calibrate the pair that is
chosen, best on other images.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from littlebig_calibration.errors import PairChoiceError, TableError
from littlebig_calibration.figures import shortest
from littlebig_calibration.reading import read_tables
from littlebig_calibration.table import NO_LABEL, PredictionTable, check_calibratable, counted, named


@dataclass(frozen=True)
class Option:
    """A single model or a cascade, with its cost and its accuracy on these images.

    Attributes:
        little: the little model's name; None for a single model.
        big: the big or only model's name.
        threshold: the paper's; None for a single model.
        escalation_rate: 1 for a single model.
        accuracy: on these images.
        cost: per image, in the cost table's unit.
        cost_reduction: against big alone, 0 for a single model.
        on_front: whether it is on the Pareto front.
    """

    little: str | None
    big: str
    threshold: float | None
    escalation_rate: float
    accuracy: float
    cost: float
    cost_reduction: float
    on_front: bool = False

    @property
    def name(self) -> str:
        """`big` or `little → big`."""
        return self.big if self.little is None else f"{self.little} → {self.big}"


@dataclass(frozen=True)
class SearchResult:
    """A search's result.

    Attributes:
        images: the number of labelled images.
        singles: every model by itself, by cost.
        best: for every big model the cheapest cascade that keeps its accuracy, by big's cost; models for which no
            companion saves anything are left out.
        front: the Pareto front of accuracy against cost, over single models and all cascades, by cost.
        pairs: the number of pairs tried.
    """

    images: int
    singles: tuple[Option, ...]
    best: tuple[Option, ...]
    front: tuple[Option, ...]
    pairs: int


def read_folder(folder: Path, labels: Path | None, costs: Path) -> tuple[PredictionTable, dict[str, float]]:
    """Read all tables of a folder, and the cost table for them.

    Args:
        folder: its `.csv` and `.parquet` files are tables, except the label and cost files.
        labels: the label file, or None if the tables have labels.
        costs: a CSV with the columns `model` and `cost`.

    Raises:
        TableError: if there are fewer than two models, or a model has no cost.
    """
    if not folder.is_dir():
        raise TableError(f"{folder} is not a folder")
    not_tables = {path.resolve() for path in (labels, costs) if path is not None}
    paths = sorted(
        path for path in folder.iterdir() if path.suffix in (".csv", ".parquet") and path.resolve() not in not_tables
    )
    if not paths:
        raise TableError(f"{folder} has no .csv or .parquet table")
    table = read_tables(paths, labels)
    if len(table.models) < 2:
        raise TableError(f"{folder} has predictions of one model: a pair needs two")
    cost_of = read_costs(costs)
    if missing := [model.name for model in table.models if model.name not in cost_of]:
        raise TableError(f"{costs.name}: no cost for {named(missing)}: add a row for each")
    return table, cost_of


def read_costs(path: Path) -> dict[str, float]:
    """Read a cost table: a CSV with the columns `model` and `cost`, all in one unit.

    Raises:
        TableError: if it cannot be read, or a cost is not a number above 0.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if not rows or not {"model", "cost"} <= set(rows[0]):
        raise TableError(f"{path.name}: a cost table has the columns 'model' and 'cost', and a row per model")
    costs = {}
    for row in rows:
        try:
            cost = float(row["cost"])
        except (TypeError, ValueError):
            cost = float("nan")
        if not 0 < cost < np.inf:
            raise TableError(f"{path.name}: the cost of {row['model']} is '{row['cost']}', not a number above 0")
        costs[row["model"]] = cost
    return costs


def search(table: PredictionTable, costs: dict[str, float], max_accuracy_loss: float = 0.0) -> SearchResult:
    """Try every model as the companion of every costlier one.

    The images are sorted once per little model; each pair is then one cumulative sum.

    Args:
        table: labels and predictions of all models.
        costs: cost of an image by the model's name.
        max_accuracy_loss: accuracy that a cascade may lose against its big model, as a fraction.

    Raises:
        PairChoiceError: if labels are missing, too few or of one class.
    """
    check_calibratable(table.labels)
    if unlabelled := int(np.count_nonzero(table.labels == NO_LABEL)):
        raise PairChoiceError(
            f"{counted(unlabelled, 'image')} without a label: a search needs the labels of all images"
        )
    images = len(table.labels)
    allowed = int(np.floor(max_accuracy_loss * images + 1e-9))
    correct = {model.name: model.label == table.labels for model in table.models}
    hits = {name: int(np.count_nonzero(values)) for name, values in correct.items()}
    singles = [Option(None, name, None, 1.0, hits[name] / images, costs[name], 0.0) for name in correct]
    cascades = []
    for little in table.models:
        bigs = [model.name for model in table.models if costs[model.name] > costs[little.name]]
        order = np.argsort(little.confidence, kind="stable")[::-1]
        confidence = little.confidence[order]
        # Images from the most confident on. A cut is possible only between different confidences.
        cuts = np.concatenate([[0], np.flatnonzero(confidence[1:] != confidence[:-1]) + 1, [images]])
        little_correct = correct[little.name][order].astype(np.int8)
        for big in bigs:
            lost = np.cumsum(correct[big][order].astype(np.int8) - little_correct, dtype=np.int32)
            lost_at = np.concatenate([[0], lost])[cuts]
            place = int(np.flatnonzero(lost_at <= allowed)[-1])
            kept = int(cuts[place])
            cost = costs[little.name] + (1 - kept / images) * costs[big]
            if cost >= costs[big]:
                continue
            cascades.append(
                Option(
                    little=little.name,
                    big=big,
                    threshold=shortest(confidence[kept - 1]) if kept < images else 0.0,
                    escalation_rate=1 - kept / images,
                    accuracy=(hits[big] - int(lost_at[place])) / images,
                    cost=cost,
                    cost_reduction=1 - cost / costs[big],
                )
            )
    front = pareto_front([*singles, *cascades])
    on_front = {option.name for option in front}
    best: dict[str, Option] = {}
    for option in sorted(cascades, key=lambda option: (costs[option.big], option.cost)):
        best.setdefault(option.big, option)
    return SearchResult(
        images=images,
        singles=tuple(_marked(option, on_front) for option in sorted(singles, key=lambda option: option.cost)),
        best=tuple(_marked(option, on_front) for option in best.values()),
        front=tuple(_marked(option, on_front) for option in front),
        pairs=len(table.models) * (len(table.models) - 1) // 2,
    )


def pareto_front(options: Sequence[Option]) -> list[Option]:
    """The options for which no other is at least as accurate at no higher cost, by cost."""
    front: list[Option] = []
    for option in sorted(options, key=lambda option: (option.cost, -option.accuracy)):
        if not front or option.accuracy > front[-1].accuracy:
            front.append(option)
    return front


def _marked(option: Option, names: set[str]) -> Option:
    return Option(**{**vars(option), "on_front": option.name in names})
