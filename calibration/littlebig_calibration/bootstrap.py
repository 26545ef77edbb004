"""Bootstrap intervals: how much the chosen escalation rate varies over samples of as many labelled images."""

from collections.abc import Callable

import numpy as np

from littlebig_calibration.certifying import Guarantee, Pool, certify
from littlebig_calibration.errors import TableError
from littlebig_calibration.outcomes import DecisionRule, Outcomes, deciding_rows, scores
from littlebig_calibration.tuning import Division

RESAMPLES = 200
SEED = 0


def certified_interval(division: Division, rule: DecisionRule, guarantee: Guarantee) -> tuple[float, float]:
    """The percentile bootstrap interval of the escalation rate that the certified rule chooses.

    Tuning and certifying images are resampled separately, and planning and walk are repeated on each resample. Where
    nothing can be certified the escalation rate counts as 1: big only.

    Args:
        division: the images.
        rule: score and offset; they are not chosen again.
        guarantee: what is to be certified; its confidence level is the interval's.

    Returns:
        Lower and upper end, in [0, 1].
    """

    def chosen_rate(random: np.random.Generator) -> float:
        def resampled(rows: Outcomes) -> Outcomes:
            return rows.take(random.integers(0, len(rows), len(rows)))

        tuning = resampled(division.tuning)
        pools = [Pool(resampled(pool.rows), pool.share) for pool in division.pools]
        try:
            found = certify(tuning, pools, rule, guarantee)
        except TableError:  # the walk of this resample starts below the labels that there are
            return 1.0
        if found.threshold is None:
            return 1.0
        return float(np.mean(scores(found.pool.rows, rule.score) < np.float32(found.threshold)))

    return _percentile_interval(chosen_rate, guarantee.confidence_level)


def paper_interval(rows: Outcomes, rule: DecisionRule, guarantee: Guarantee) -> tuple[float, float]:
    """The percentile bootstrap interval of the escalation rate that the paper's rule chooses.

    Args:
        rows: all images; none on which the models differ lacks a label.
        rule: score and offset; they are not chosen again.
        guarantee: the tolerance, and the level of the interval.

    Returns:
        Lower and upper end, in [0, 1].
    """
    order = np.argsort(scores(rows, rule.score), kind="stable")
    score = scores(rows, rule.score)[order]
    deciders, seen = deciding_rows(rows, rule)
    always = np.isinf(deciders.enters)
    if_kept, fixed = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    if_kept[deciders.rows[~always]], fixed[deciders.rows[always]] = seen[~always], seen[always]
    if_kept, fixed = if_kept[order], fixed[order]
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
