"""Fixed-sequence testing: test thresholds in an order fixed beforehand, from the safest on, until one fails.

This is Learn-then-Test (Angelopoulos et al. 2021) with the fallback procedure (Wiens 2003), which allows the sequence
to start again further down. docs/calibration.md argues why it is valid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.exact import paired_p_values
from littlebig_calibration.outcomes import DecisionRule, Outcomes, accuracy_losses, scores

# Escalation rates whose thresholds are tested, in this order. The last threshold is 0: nothing is escalated.
GRID_RATES = np.linspace(0.995, 0.005, 199)
# Escalation rates at which the sequence starts, and each start's share of the error probability. At tolerance 0 the
# top of the grid has too few discordant images to prove anything, hence the lower starts.
STARTS = ((0.9, 0.05), (0.7, 0.10), (0.4, 0.85))


@dataclass(frozen=True)
class Guarantee:
    """At this confidence level, the cascade loses no more accuracy against big than this.

    Attributes:
        max_accuracy_loss: the tolerance, a fraction, 0 or more.
        confidence_level: probability, over samples of the labelled images, that the statement is true.
    """

    max_accuracy_loss: float = 0.0
    confidence_level: float = 0.95


@dataclass(frozen=True)
class Grid:
    """Thresholds in the order in which they are tested.

    Attributes:
        thresholds: float32 [k], strictly descending, the last one 0.
        shares: float64 [k], summing to 1: the share of the error probability that starts at each threshold.
    """

    thresholds: Array
    shares: Array


def threshold_grid(score: Array) -> Grid:
    """Lay a grid along the quantiles of the scores of images that certify nothing afterwards.

    Args:
        score: float32 [n], scores of the tuning images; their labels are not used.
    """
    quantiles = np.concatenate([np.quantile(score, GRID_RATES, method="lower"), [0.0]]).astype(np.float32)
    shares = np.zeros(quantiles.size)
    for rate, share in STARTS:
        shares[int(np.argmin(np.abs(GRID_RATES - rate)))] += share
    # Tied scores give several rates the same threshold. It is tested once, with all their shares.
    distinct = np.concatenate([[True], quantiles[1:] < quantiles[:-1]])
    return Grid(quantiles[distinct], np.bincount(np.cumsum(distinct) - 1, weights=shares))


def discordant_counts(rows: Outcomes, rule: DecisionRule, thresholds: Array) -> tuple[Array, Array]:
    """Count the images on which either big or the cascade is correct, but not both, at each threshold.

    Args:
        rows: the images.
        rule: score and offset.
        thresholds: float32 [k], descending.

    Returns:
        Two int64 [k]: lost (big correct, cascade wrong) and won (cascade correct, big wrong).
    """
    score = scores(rows, rule.score)
    if_kept, fixed = accuracy_losses(rows, rule.offset)
    ascending = thresholds[::-1]
    counts = []
    for sign in (1, -1):
        # An image is kept at each threshold that is not above its score.
        place = np.searchsorted(ascending, score[if_kept == sign], side="right")
        per_place = np.bincount(place, minlength=len(thresholds) + 1)[::-1]
        counts.append(np.cumsum(per_place)[: len(thresholds)] + np.count_nonzero(fixed == sign))
    return counts[0], counts[1]


def certified_threshold(rows: Outcomes, rule: DecisionRule, grid: Grid, guarantee: Guarantee) -> float | None:
    """The lowest threshold of the grid that is certified.

    Args:
        rows: images that had no part in choosing the rule or the grid.
        rule: score and offset.
        grid: the thresholds in the order of testing.
        guarantee: what is to be certified.

    Returns:
        The threshold, or None if none is certified: big only.
    """
    error_rate = 1 - guarantee.confidence_level
    lost, won = discordant_counts(rows, rule, grid.thresholds)
    p_values = paired_p_values(lost, won, len(rows), guarantee.max_accuracy_loss, error_rate)
    level, certified = 0.0, None
    for place, (p_value, share) in enumerate(zip(p_values.tolist(), grid.shares.tolist(), strict=True)):
        level += share * error_rate
        if level > 0 and p_value <= level:
            certified = place
        else:
            level = 0.0
    return None if certified is None else float(grid.thresholds[certified])
