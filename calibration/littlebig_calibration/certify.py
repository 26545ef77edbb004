"""The certified rule: walk down a grid fixed beforehand, and stop where the promise can no longer be proved.

Learn-then-Test (Angelopoulos et al. 2021) with the fallback procedure (Wiens 2003), a fixed sequence with
more than one start: the walk begins at "escalate nearly everything". docs/calibration.md argues why it is
valid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.exact import paired_p_values
from littlebig_calibration.outcomes import Decision, Outcomes, losses, scores

# Escalation rates whose thresholds are tried, in this order; the last threshold is 0: nothing is escalated.
GRID_RATES = np.linspace(0.995, 0.005, 199)
# Where a walk may start, and its share of the error probability. At tolerance 0 the top of the grid rarely
# has enough discordant images to prove anything, hence the second and third start; the third is where proofs
# are easiest.
STARTS = ((0.9, 0.05), (0.7, 0.10), (0.4, 0.85))


@dataclass(frozen=True)
class Promise:
    """What is to be guaranteed: with this confidence, no more accuracy than this is lost against big's.

    Attributes:
        max_accuracy_loss: a fraction, 0 or more.
        confidence_level: probability, over draws of the labelled images, that the promise is kept.
    """

    max_accuracy_loss: float = 0.0
    confidence_level: float = 0.95


@dataclass(frozen=True)
class Grid:
    """Thresholds in the order of the walk, and the share of the error probability that starts at each.

    Attributes:
        thresholds: float32 [k], strictly descending, the last one 0.
        shares: float64 [k], summing to 1.
    """

    thresholds: Array
    shares: Array


def threshold_grid(score: Array) -> Grid:
    """A grid from scores of images on which nothing is certified afterwards; labels are not used.

    Args:
        score: float32 [n], the gate's scores of the tuning images.
    """
    wanted = np.concatenate([np.quantile(score, GRID_RATES, method="lower"), [0.0]]).astype(np.float32)
    shares = np.zeros(wanted.size)
    for rate, share in STARTS:
        shares[int(np.argmin(np.abs(GRID_RATES - rate)))] += share
    # Tied scores give the same threshold for several rates: it is tried once, with the shares of all of them.
    fresh = np.concatenate([[True], wanted[1:] < wanted[:-1]])
    return Grid(wanted[fresh], np.bincount(np.cumsum(fresh) - 1, weights=shares))


def discordant(rows: Outcomes, decision: Decision, thresholds: Array) -> tuple[Array, Array]:
    """Count the images on which cascade and big differ in being right, at each threshold.

    Args:
        rows: the images.
        decision: which score gates, and how the two answers are arbitrated.
        thresholds: float32 [k], descending.

    Returns:
        Two int64 [k]: big right and cascade wrong, and the other way round.
    """
    score = scores(rows, decision.gate)
    kept, anyway = losses(rows, decision.offset)
    ascending = thresholds[::-1]
    counts = []
    for sign in (1, -1):
        # An image is kept at every threshold up to its score. Only discordant images need to be placed.
        place = np.searchsorted(ascending, score[kept == sign], side="right")
        per_place = np.bincount(place, minlength=len(thresholds) + 1)[::-1]
        counts.append(np.cumsum(per_place)[: len(thresholds)] + np.count_nonzero(anyway == sign))
    return counts[0], counts[1]


def certified_threshold(rows: Outcomes, decision: Decision, grid: Grid, promise: Promise) -> float | None:
    """The lowest threshold of the grid for which the promise is proved.

    Args:
        rows: images that had no part in choosing the decision or the grid.
        decision: which score gates, and how the two answers are arbitrated.
        grid: the walk, fixed beforehand.
        promise: what is to be proved.

    Returns:
        The threshold, or None if nothing can be proved: big only.
    """
    error_rate = 1 - promise.confidence_level
    lost, won = discordant(rows, decision, grid.thresholds)
    p_values = paired_p_values(lost, won, len(rows), promise.max_accuracy_loss, error_rate)
    level, proved = 0.0, None
    for place, (p_value, share) in enumerate(zip(p_values.tolist(), grid.shares.tolist(), strict=True)):
        level += share * error_rate
        if level > 0 and p_value <= level:
            proved = place
        else:
            level = 0.0
    return None if proved is None else float(grid.thresholds[proved])
