"""The exact curve of what a cascade loses over all thresholds, and the paper's rule on it."""

from dataclasses import dataclass

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.outcomes import DecisionRule, Outcomes, deciding_rows, scores
from littlebig_calibration.walk import UNKNOWN


@dataclass(frozen=True)
class Curve:
    """Every cascade that a threshold can make of these images. Images of equal score are escalated together.

    Where labels are missing, the curve ends above the first image without one.

    Attributes:
        thresholds: float64 [k], ascending: the observed scores, then infinity, which escalates every image.
        escalated: int64 [k], images with a score below the threshold.
        lost: int64 [k], images that big alone answers rightly.
        won: int64 [k], images that the cascade alone answers rightly.
        images: all images.
    """

    thresholds: Array
    escalated: Array
    lost: Array
    won: Array
    images: int

    def place(self, threshold: float | None) -> int:
        """Index of a threshold: escalate below it; None escalates every image."""
        # A threshold between two observed scores acts like the higher one.
        return -1 if threshold is None else int(np.searchsorted(self.thresholds, np.float32(threshold), side="left"))


def cascade_curve(rows: Outcomes, rule: DecisionRule) -> Curve:
    """Compute the curve exactly, with one sort.

    Args:
        rows: the images.
        rule: score and offset.
    """
    score = np.sort(scores(rows, rule.score))
    # The first image of each group of equal scores: a threshold there escalates all images before it.
    first = np.flatnonzero(np.concatenate([[True], score[1:] != score[:-1]]))
    thresholds = np.append(score[first].astype(np.float64), np.inf)
    order, seen = deciding_rows(rows, rule)
    kept = np.searchsorted(-order.enters, -thresholds, side="right")
    gaps = np.flatnonzero(seen == UNKNOWN)
    known = kept <= (gaps[0] if gaps.size else seen.size)
    lost, won = (np.append(0, np.cumsum(seen == sign))[kept[known]] for sign in (1, -1))
    return Curve(thresholds[known], np.append(first, len(rows))[known], lost, won, len(rows))


def paper_threshold(curve: Curve, max_accuracy_loss: float = 0.0) -> float | None:
    """The paper's rule (arXiv 2406.17117): the smallest threshold whose loss on these images is tolerated.

    It guarantees nothing for other images: the true loss exceeds the tolerance in about half of all samples.

    Args:
        curve: the exact curve.
        max_accuracy_loss: the tolerance against big's accuracy, as a fraction.

    Returns:
        The threshold, or None if no threshold keeps the tolerance, short of escalating every image.
    """
    # In whole images: 0.1 % of 1,000 images is 1 image, whatever the rounding of floating point.
    within = np.flatnonzero(curve.lost - curve.won <= np.floor(max_accuracy_loss * curve.images + 1e-9))
    if not within.size or not np.isfinite(curve.thresholds[within[0]]):
        return None
    # The lowest observed score escalates nothing: 0 says so plainly.
    return float(curve.thresholds[within[0]]) if curve.escalated[within[0]] else 0.0


def thin(curve: Curve, points: int) -> Array:
    """Indices of at most so many points, evenly spread over the escalation rate, both ends among them."""
    size = len(curve.thresholds)
    if size <= points:
        return np.arange(size)
    targets = np.linspace(curve.escalated[0], curve.images, points)
    return np.asarray(np.unique(np.searchsorted(curve.escalated, targets).clip(max=size - 1)))
