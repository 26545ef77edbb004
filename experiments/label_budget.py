"""How much escalation a calibration buys with how many labels, and whether it keeps its promise.

Draws from the published predictions, taken as the population, so that the truth is known: bootstrap samples of n
images with all labels, and pools whose disagreements alone are labelled, within a budget. Pairs: the two published
models, both ways round, and ResNet50 made worse (answers flipped where it is unsure, confidence blurred), which needs
more escalation. `--table` adds a pair from a prediction table of its own.

    LITTLEBIG_SHARED_DATA=... python experiments/label_budget.py --draws 500 --only ResNet50-ViT
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.disagreements import (
    STAGE_SHARES,
    PoolChoice,
    certificate,
    choose_pool,
    deciding,
    outcome,
    second_pool,
)
from littlebig_calibration.errors import TableError
from littlebig_calibration.reading import read_tables
from littlebig_calibration.walk import UNKNOWN, disagreements_between, place_shares, walk_thresholds

TOLERANCES = (0.0, 0.001, 0.005, 0.01, 0.02)
PLANNING_IMAGES, POOL_LIMIT = 1_000, 50_000


@dataclass(frozen=True)
class Pair:
    """Both models' answers to every image of a population."""

    score: Array
    little: Array
    big: Array
    little_confidence: Array
    big_confidence: Array
    labels: Array

    def take(self, rows: Array) -> Pair:
        """The rows given by index; an index may occur more than once."""
        return Pair(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def truth(self) -> tuple[Array, Array, Array]:
        """Scores in ascending order; escalation rate and loss at a threshold of each, and of infinity."""
        difference = (self.big == self.labels).astype(np.int64) - (self.little == self.labels)
        order = np.argsort(self.score, kind="stable")
        loss = np.append(np.cumsum(difference[order][::-1])[::-1], 0) / order.size
        return self.score[order], np.arange(order.size + 1) / order.size, loss


def worse(pair: Pair, flipped: float, seed: int = 3) -> Pair:
    """A weaker, less honest little: answers flipped where it is unsure, confidence blurred."""
    draw = np.random.default_rng(seed)
    confidence = np.clip(pair.little_confidence.astype(np.float64), 1e-6, 1 - 1e-6)
    hit = draw.random(confidence.size) < flipped * (1 - confidence**2)
    little = np.where(hit, (pair.little + 1 + draw.integers(0, 998, hit.size)) % 1000, pair.little)
    logit = 0.8 * np.log(confidence / (1 - confidence)) + draw.normal(0, 1, hit.size) - 0.3
    blurred = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return Pair(blurred, little, pair.big, blurred, pair.big_confidence, pair.labels)


def published_pairs() -> dict[str, Pair]:
    """The pairs made of the published predictions; none where they are absent."""
    root = Path(os.environ.get("LITTLEBIG_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    folder = root / "predictions"
    if not (folder / "labels.csv").is_file():
        print(f"skipped: no published predictions in {folder}; LITTLEBIG_SHARED_DATA names their parent folder")
        return {}
    table = read_tables(
        sorted(path for path in folder.glob("*.csv") if path.name != "labels.csv"), folder / "labels.csv"
    )
    pairs = {
        f"{first.name}-{second.name}": Pair(
            first.confidence, first.label, second.label, first.confidence, second.confidence, table.labels
        )
        for first in table.models
        for second in table.models
        if first is not second
    }
    close = pairs.get("ResNet50-ViT")
    return pairs if close is None else pairs | {f"worse {flip:g}": worse(close, flip) for flip in (0.2, 0.5, 0.9)}


def table_pair(path: Path) -> Pair:
    """First model of a table to its second, by margin where there is one."""
    table = read_tables([path], None)
    little, big = table.models[:2]
    score = little.confidence if little.margin is None else little.margin
    return Pair(score, little.label, big.label, little.confidence, big.confidence, table.labels)


def with_all_labels(pair: Pair, tolerance: float, images: int, draw: np.random.Generator) -> tuple[float | None, int]:
    """Certified threshold and labels that decided, from n labelled images, 5 % of them for the thresholds."""
    rows = draw.integers(0, len(pair.score), images)
    grid = max(50, round(0.05 * images))
    planning, pool = pair.take(rows[:grid]), pair.take(rows[grid:])
    differ = disagreements_between(planning.score, planning.little != planning.big)
    shares = place_shares(differ, images - grid, tolerance)
    order = deciding(pool.little, pool.big, pool.score)
    seen = outcome(order, pool.little, pool.big, pool.labels)
    found = certificate(order, seen, walk_thresholds(planning.score), shares, tolerance)
    return found.threshold, found.labels_used


def with_budget(pair: Pair, tolerance: float, budget: int, draw: np.random.Generator) -> tuple[float | None, int]:
    """The same from a budget of labels for disagreements, on one pool or, if labels are left, on two."""
    planning = pair.take(draw.integers(0, len(pair.score), PLANNING_IMAGES))
    thresholds = walk_thresholds(planning.score)
    differ = disagreements_between(planning.score, planning.little != planning.big)
    choice: PoolChoice | None = choose_pool(differ, budget, POOL_LIMIT, tolerance)
    certified, left = [], budget
    for share in STAGE_SHARES:
        if choice is None:
            break
        pool = pair.take(draw.integers(0, len(pair.score), choice.images))
        order = deciding(pool.little, pool.big, pool.score)
        seen = outcome(order, pool.little, pool.big, pool.labels)
        seen[left:] = UNKNOWN
        try:
            found = certificate(order, seen, thresholds, choice.shares, tolerance, 0.05 * share)
        except TableError:
            break
        left -= found.labels_used
        certified += [] if found.threshold is None else [found.threshold]
        choice = None if found.labels_ran_out else second_pool(differ, left, POOL_LIMIT, tolerance, found.stopped_at)
    return min(certified, default=None), budget - left


def cell(pair: Pair, method: str, number: int, tolerance: float, draws: int, seed: int = 0) -> str:
    """One row of the table: `draws` calibrations compared with the truth."""
    draw = np.random.default_rng([seed, number, round(1e4 * tolerance)])
    scores, rates, losses = pair.truth()
    calibrate = with_all_labels if method == "all" else with_budget
    escalated, broken, labels = np.ones(draws), np.zeros(draws, dtype=bool), np.zeros(draws)
    for place in range(draws):
        threshold, labels[place] = calibrate(pair, tolerance, number, draw)
        if threshold is not None:
            at = int(np.searchsorted(scores, np.float32(threshold), side="left"))
            escalated[place], broken[place] = rates[at], losses[at] > tolerance + 1e-9
    best = rates[np.flatnonzero(losses <= tolerance + 1e-9)[0]]
    rate = broken.mean()
    error = np.sqrt(rate * (1 - rate) / draws)
    return (
        f"{method} | {number:,} | {tolerance:.1%} | {best:.1%} | {np.median(escalated):.1%} | {escalated.mean():.1%} "
        f"| {np.mean(escalated == 1):.1%} | {rate:.1%} ± {error:.1%} | {np.median(labels):,.0f} |"
    )


def main() -> None:
    """Print a Markdown table, a row per cell, as they are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500, help="calibrations a cell [500]")
    parser.add_argument("--only", help="pairs whose name contains this")
    parser.add_argument(
        "--method", choices=("all", "budget"), help="all labels of n images, or a budget on disagreements"
    )
    parser.add_argument("--labels", type=int, nargs="+", default=[500, 1000, 3000, 5000], help="numbers of labels")
    parser.add_argument("--tolerance", type=float, nargs="+", default=TOLERANCES, help="accuracy that may be lost")
    parser.add_argument("--table", type=Path, help="a prediction table whose first two models are a pair as well")
    arguments = parser.parse_args()
    pairs = published_pairs()
    if arguments.table:
        pairs["table, margin"] = table_pair(arguments.table)
    print("| pair | labels | number | tolerance | possible | median | mean | big only | broken | labels used |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    start = time.process_time()
    for name, pair in pairs.items():
        for method in (arguments.method,) if arguments.method else ("all", "budget"):
            for number in arguments.labels:
                for tolerance in arguments.tolerance:
                    if not arguments.only or arguments.only in name:
                        print(f"| {name} | {cell(pair, method, number, tolerance, arguments.draws)}", flush=True)
    print(f"\n{time.process_time() - start:.0f} s CPU")


if __name__ == "__main__":
    main()
