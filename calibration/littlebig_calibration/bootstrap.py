"""How much a rule's choice would differ on other draws of as many labelled images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from littlebig_calibration.certify import Promise
from littlebig_calibration.outcomes import Decision, Outcomes, losses, scores
from littlebig_calibration.tuning import Choices, certify

REPEATS = 200
SEED = 0


def certified_interval(
    tuning: Outcomes, certifying: Outcomes, choices: Choices, promise: Promise
) -> tuple[float, float]:
    """The percentile interval of the escalation rates that the certified rule chooses on resampled images.

    Args:
        tuning: the images set aside; resampled by themselves, as the certifying ones are.
        certifying: the others.
        choices: what was left open to the labels, and is chosen afresh each time.
        promise: what is to be proved. Where it cannot be, the rate counts as 1: big only.
    """

    def once(draw: np.random.Generator) -> float:
        first, second = (part.take(draw.integers(0, len(part), len(part))) for part in (tuning, certifying))
        decision, _, threshold = certify(first, second, choices, promise)
        if threshold is None:
            return 1.0
        return float(np.mean(scores(second, decision.gate) < np.float32(threshold)))

    return _interval(once, promise.confidence_level)


def paper_interval(rows: Outcomes, decision: Decision, promise: Promise) -> tuple[float, float]:
    """The same for the paper's rule, with gate and offset as they are.

    Args:
        rows: all images.
        decision: gate and offset.
        promise: the tolerance, and the level of the interval.
    """
    score = scores(rows, decision.gate)
    kept, anyway = losses(rows, decision.offset)
    order = np.argsort(score, kind="stable")
    score, kept, anyway = score[order], kept[order].astype(np.int64), anyway[order].astype(np.int64)
    first = np.flatnonzero(np.concatenate([[True], score[1:] != score[:-1]]))
    allowed = np.floor(promise.max_accuracy_loss * len(rows) + 1e-9)

    def once(draw: np.random.Generator) -> float:
        # Sorted once: a resample is a weight for each image.
        weight = np.bincount(draw.integers(0, len(rows), len(rows)), minlength=len(rows))
        lost = np.cumsum((weight * kept)[::-1])[::-1][first] + weight @ anyway
        good = np.flatnonzero(lost <= allowed)
        return float(weight[: first[good[0]]].sum() / len(rows)) if good.size else 1.0

    return _interval(once, promise.confidence_level)


def _interval(once: Callable[[np.random.Generator], float], confidence_level: float) -> tuple[float, float]:
    draw = np.random.default_rng(SEED)
    tail = (1 - confidence_level) / 2
    rates = [once(draw) for _ in range(REPEATS)]
    return float(np.quantile(rates, tail)), float(np.quantile(rates, 1 - tail))
