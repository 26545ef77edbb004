"""Bootstrap intervals: how much the chosen escalation rate varies over samples of as many labelled images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from littlebig_calibration.fixed_sequence import Guarantee
from littlebig_calibration.outcomes import DecisionRule, Outcomes, accuracy_losses, scores
from littlebig_calibration.tuning import TuningOptions, tune_and_certify

RESAMPLES = 200
SEED = 0


def certified_interval(
    tuning: Outcomes, certifying: Outcomes, options: TuningOptions, guarantee: Guarantee
) -> tuple[float, float]:
    """The percentile bootstrap interval of the escalation rate that the certified rule chooses.

    Tuning and certifying images are resampled separately, and the whole choice is repeated on each resample. Where
    nothing can be certified the escalation rate counts as 1: big only.

    Args:
        tuning: the images that choose the rule and the grid.
        certifying: the images that certify.
        options: what tuning may choose.
        guarantee: what is to be certified; its confidence level is the interval's.

    Returns:
        Lower and upper end, in [0, 1].
    """

    def chosen_rate(random: np.random.Generator) -> float:
        resampled = [part.take(random.integers(0, len(part), len(part))) for part in (tuning, certifying)]
        rule, _, threshold = tune_and_certify(resampled[0], resampled[1], options, guarantee)
        if threshold is None:
            return 1.0
        return float(np.mean(scores(resampled[1], rule.score) < np.float32(threshold)))

    return _percentile_interval(chosen_rate, guarantee.confidence_level)


def paper_interval(rows: Outcomes, rule: DecisionRule, guarantee: Guarantee) -> tuple[float, float]:
    """The percentile bootstrap interval of the escalation rate that the paper's rule chooses.

    Args:
        rows: all images.
        rule: score and offset; they are not chosen again.
        guarantee: the tolerance, and the level of the interval.

    Returns:
        Lower and upper end, in [0, 1].
    """
    score = scores(rows, rule.score)
    if_kept, fixed = accuracy_losses(rows, rule.offset)
    order = np.argsort(score, kind="stable")
    score, if_kept, fixed = score[order], if_kept[order].astype(np.int64), fixed[order].astype(np.int64)
    first = np.flatnonzero(np.concatenate([[True], score[1:] != score[:-1]]))
    allowed = np.floor(guarantee.max_accuracy_loss * len(rows) + 1e-9)

    def chosen_rate(random: np.random.Generator) -> float:
        # A resample is a weight per image, so that the images are sorted only once.
        weight = np.bincount(random.integers(0, len(rows), len(rows)), minlength=len(rows))
        lost = np.cumsum((weight * if_kept)[::-1])[::-1][first] + weight @ fixed
        within = np.flatnonzero(lost <= allowed)
        return float(weight[: first[within[0]]].sum() / len(rows)) if within.size else 1.0

    return _percentile_interval(chosen_rate, guarantee.confidence_level)


def _percentile_interval(
    chosen_rate: Callable[[np.random.Generator], float], confidence_level: float
) -> tuple[float, float]:
    random = np.random.default_rng(SEED)
    tail = (1 - confidence_level) / 2
    rates = [chosen_rate(random) for _ in range(RESAMPLES)]
    return float(np.quantile(rates, tail)), float(np.quantile(rates, 1 - tail))
