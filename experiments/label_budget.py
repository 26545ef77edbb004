"""How much escalation a calibration buys with how many labels, and whether it keeps its promise.

Draws from populations whose truth is known: the published predictions, both ways round; ResNet50 made worse (answers
flipped where it is unsure, confidence blurred), which needs more escalation; and made-up pairs, among them one whose
confidence says nothing. `--table` adds a pair from a prediction table. Samples of n images with all labels go through
`divide`, `tune` and `certify` with each option; pools whose disagreements alone are labelled, within a budget, go
through `choose_pool`, `certificate` and `second_pool`.

    LITTLEBIG_SHARED_DATA=... python experiments/label_budget.py --draws 500 --only ResNet50-ViT
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.certifying import Guarantee, certify
from littlebig_calibration.curve import cascade_curve
from littlebig_calibration.disagreements import (
    STAGE_SHARES,
    PoolChoice,
    certificate,
    choose_pool,
    second_pool,
)
from littlebig_calibration.errors import TableError
from littlebig_calibration.outcomes import DecisionRule, Outcomes, deciding_rows
from littlebig_calibration.reading import read_tables
from littlebig_calibration.tuning import TuningOptions, divide, tune
from littlebig_calibration.walk import UNKNOWN, disagreements_between, walk_thresholds

TOLERANCES = (0.0, 0.001, 0.005, 0.01, 0.02)
PLANNING_IMAGES, POOL_LIMIT = 1_000, 50_000
OPTIONS = {
    "all": TuningOptions(),
    "margin": TuningOptions(("margin",)),
    "auto": TuningOptions(("confidence", "margin")),
    "arbitrate": TuningOptions(arbitrate=True),
    "auto, arbitrate": TuningOptions(("confidence", "margin"), arbitrate=True),
}


def worse(pair: Outcomes, flipped: float, seed: int = 3) -> Outcomes:
    """A weaker, less honest little: answers flipped where it is unsure, confidence blurred."""
    draw = np.random.default_rng(seed)
    confidence = np.clip(pair.little_confidence.astype(np.float64), 1e-6, 1 - 1e-6)
    hit = draw.random(confidence.size) < flipped * (1 - confidence**2)
    little = np.where(hit, (pair.little_label + 1 + draw.integers(0, 998, hit.size)) % 1000, pair.little_label)
    logit = 0.8 * np.log(confidence / (1 - confidence)) + draw.normal(0, 1, hit.size) - 0.3
    blurred = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return with_margin(Outcomes(little, pair.big_label, pair.labels, blurred, pair.big_confidence))


def with_margin(pair: Outcomes, seed: int = 7) -> Outcomes:
    """Add margins where a table has none: the second probability is drawn between 30 and 100 % of its maximum."""
    confidence = pair.little_confidence.astype(np.float64)
    second = np.minimum(1 - confidence, confidence) * np.random.default_rng(seed).uniform(0.3, 1, len(pair))
    margin = np.maximum(confidence - second, 0).astype(np.float32)
    return Outcomes(pair.little_label, pair.big_label, pair.labels, pair.little_confidence, pair.big_confidence, margin)


def made_up(skill: float, gain: float, honesty: float, images: int = 50_000, seed: int = 11) -> Outcomes:
    """A pair over 100 classes.

    Args:
        skill: mean of little's lead over the second class; big's is higher by `gain`.
        gain: what big is better by.
        honesty: correlation of little's confidence with its lead, 0 to 1.
        images: size of the population.
        seed: of all that is drawn.
    """
    draw = np.random.default_rng(seed)
    labels, difficulty = draw.integers(0, 100, images), draw.normal(size=images)
    answers, confidences = [], []
    for lead, honest in ((skill, honesty), (skill + gain, 0.9)):
        margin = lead - difficulty + 0.7 * draw.normal(size=images)
        answers.append(np.where(margin > 0, labels, (labels + draw.integers(1, 100, images)) % 100))
        seen = honest * np.abs(margin) + (1 - honest) * np.abs(draw.normal(1, 1, images))
        confidences.append((1 / (1 + np.exp(-2 * seen))).astype(np.float32))
    return with_margin(Outcomes(answers[0], answers[1], labels, confidences[0], confidences[1]))


def populations() -> dict[str, Outcomes]:
    """The pairs made of the published predictions, where they are present, and made-up ones."""
    pairs = {
        "made up, close": made_up(1.2, 0.1, 0.8),
        "made up, wide": made_up(0.8, 0.7, 0.8),
        "made up, blind": made_up(1.0, 0.3, 0.0),
    }
    root = Path(os.environ.get("LITTLEBIG_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    folder = root / "predictions"
    if not (folder / "labels.csv").is_file():
        print(f"no published predictions in {folder}; LITTLEBIG_SHARED_DATA names their parent folder")
        return pairs
    table = read_tables(
        sorted(path for path in folder.glob("*.csv") if path.name != "labels.csv"), folder / "labels.csv"
    )
    published = {
        f"{first.name}-{second.name}": with_margin(
            Outcomes(first.label, second.label, table.labels, first.confidence, second.confidence)
        )
        for first in table.models
        for second in table.models
        if first is not second
    }
    close = published.get("ResNet50-ViT")
    flipped = {} if close is None else {f"worse {flip:g}": worse(close, flip) for flip in (0.2, 0.5, 0.9)}
    return published | flipped | pairs


def table_pair(path: Path) -> Outcomes:
    """First model of a table to its second."""
    table = read_tables([path], None)
    little, big = table.models[:2]
    return Outcomes(little.label, big.label, table.labels, little.confidence, big.confidence, little.margin)


class Truth:
    """Escalation rate and loss of a cascade over the whole population."""

    def __init__(self, population: Outcomes) -> None:
        """Compute nothing yet; curves are kept."""
        self.population = population
        self.curves: dict[DecisionRule, tuple[Array, Array, Array]] = {}

    def curve(self, rule: DecisionRule) -> tuple[Array, Array, Array]:
        """Thresholds, escalation rates and losses."""
        if rule not in self.curves:
            curve = cascade_curve(self.population, rule)
            self.curves[rule] = (
                curve.thresholds,
                curve.escalated / curve.images,
                (curve.lost - curve.won) / curve.images,
            )
        return self.curves[rule]

    def at(self, rule: DecisionRule, threshold: float) -> tuple[float, float]:
        """Escalation rate and loss at a threshold."""
        thresholds, rates, losses = self.curve(rule)
        place = int(np.searchsorted(thresholds, np.float32(threshold), side="left"))
        return float(rates[place]), float(losses[place])


def with_all_labels(
    pair: Outcomes, options: TuningOptions, tolerance: float, images: int, draw: np.random.Generator
) -> tuple[DecisionRule, float | None, int]:
    """Rule, certified threshold and labels that decided, from n labelled images."""
    rows = pair.take(draw.integers(0, len(pair), images))
    division = divide(rows, None, options)
    rule, _ = tune(division, options, Guarantee(tolerance))
    found = certify(division.tuning, division.pools, rule, Guarantee(tolerance))
    return rule, found.threshold, found.labels_used


def with_budget(
    pair: Outcomes, tolerance: float, budget: int, draw: np.random.Generator
) -> tuple[DecisionRule, float | None, int]:
    """The same from a budget of labels for disagreements, on one pool or, if labels are left, on two."""
    rule = DecisionRule()
    planning = pair.take(draw.integers(0, len(pair), PLANNING_IMAGES))
    thresholds = walk_thresholds(planning.little_confidence)
    differ = disagreements_between(planning.little_confidence, planning.differ)
    choice: PoolChoice | None = choose_pool(differ, budget, POOL_LIMIT, tolerance)
    certified, left = [], budget
    for share in STAGE_SHARES:
        if choice is None:
            break
        pool = pair.take(draw.integers(0, len(pair), choice.images))
        order, seen = deciding_rows(pool, rule)
        seen[left:] = UNKNOWN
        try:
            found = certificate(order, seen, thresholds, choice.shares, tolerance, 0.05 * share)
        except TableError:
            break
        left -= found.labels_used
        certified += [] if found.threshold is None else [found.threshold]
        choice = None if found.labels_ran_out else second_pool(differ, left, POOL_LIMIT, tolerance, found.stopped_at)
    return rule, min(certified, default=None), budget - left


def cell(pair: Outcomes, method: str, number: int, tolerance: float, draws: int, seed: int = 0) -> str:
    """One row of the table: `draws` calibrations compared with the truth."""
    draw, truth = np.random.default_rng([seed, number, round(1e4 * tolerance)]), Truth(pair)
    escalated, broken, labels = np.ones(draws), np.zeros(draws, dtype=bool), np.zeros(draws)
    changed = 0
    for place in range(draws):
        if method == "budget":
            rule, threshold, labels[place] = with_budget(pair, tolerance, number, draw)
        else:
            rule, threshold, labels[place] = with_all_labels(pair, OPTIONS[method], tolerance, number, draw)
            changed += rule != DecisionRule(OPTIONS[method].scores[0])
        if threshold is not None:
            escalated[place], loss = truth.at(rule, threshold)
            broken[place] = loss > tolerance + 1e-9
    _, rates, losses = truth.curve(DecisionRule(OPTIONS["all" if method == "budget" else method].scores[0]))
    best, rate = rates[np.flatnonzero(losses <= tolerance + 1e-9)[0]], broken.mean()
    error = np.sqrt(rate * (1 - rate) / draws)
    return (
        f"{method} | {number:,} | {tolerance:.1%} | {best:.1%} | {np.median(escalated):.1%} | {escalated.mean():.1%} "
        f"| {np.mean(escalated == 1):.1%} | {rate:.1%} ± {error:.1%} | {np.median(labels):,.0f} "
        f"| {changed / draws:.0%} |"
    )


def main() -> None:
    """Print a Markdown table, a row per cell, as they are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500, help="calibrations a cell [500]")
    parser.add_argument("--only", nargs="+", help="pairs whose names contain one of these")
    parser.add_argument(
        "--method", choices=(*OPTIONS, "budget"), nargs="+", default=["all", "budget"], help="labels and options"
    )
    parser.add_argument("--labels", type=int, nargs="+", default=[500, 1000, 3000, 5000], help="numbers of labels")
    parser.add_argument("--tolerance", type=float, nargs="+", default=TOLERANCES, help="accuracy that may be lost")
    parser.add_argument("--table", type=Path, help="a prediction table whose first two models are a pair as well")
    arguments = parser.parse_args()
    pairs = populations()
    if arguments.table:
        pairs["table"] = table_pair(arguments.table)
    print("| pair | labels | number | tolerance | possible | median | mean | big only | broken | used | option used |")
    print("| --- " * 11 + "|")
    start = time.process_time()
    for name, pair in pairs.items():
        for method in arguments.method:
            for number in arguments.labels:
                for tolerance in arguments.tolerance:
                    if not arguments.only or any(part in name for part in arguments.only):
                        print(f"| {name} | {cell(pair, method, number, tolerance, arguments.draws)}", flush=True)
    print(f"\n{time.process_time() - start:.0f} s CPU")


if __name__ == "__main__":
    main()
