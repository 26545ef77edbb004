"""The exact cascade curve over every threshold that makes a difference, and the paper's rule on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.outcomes import Decision, Outcomes, losses, scores


@dataclass(frozen=True)
class Curve:
    """Every cascade that a threshold can make of these images.

    The last point, at infinity, escalates every image. Images of equal score move together.

    Attributes:
        thresholds: float64 [k], ascending; each an observed score, the last one infinite.
        escalated: int64 [k], images with a score below the threshold.
        right: int64 [k], images that the cascade answers rightly.
        big_right: images that big answers rightly.
        images: how many images there are.
    """

    thresholds: Array
    escalated: Array
    right: Array
    big_right: int
    images: int

    def at(self, threshold: float | None) -> tuple[float, float]:
        """Escalation rate and accuracy at a threshold.

        Args:
            threshold: escalate below it; None escalates every image.
        """
        # The cascade at any threshold is the one at the next observed score.
        place = -1 if threshold is None else int(np.searchsorted(self.thresholds, np.float32(threshold), side="left"))
        return float(self.escalated[place] / self.images), float(self.right[place] / self.images)


def cascade_curve(rows: Outcomes, decision: Decision) -> Curve:
    """Compute the curve, exactly, by one sort.

    Args:
        rows: the labelled images.
        decision: which score gates, and how the two answers are arbitrated.
    """
    score = scores(rows, decision.gate)
    kept, anyway = losses(rows, decision.offset)
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    # first[i]: the first of each group of equal scores; a threshold there escalates the images before it.
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    lost_above = np.concatenate([np.cumsum(kept[order][::-1], dtype=np.int64)[::-1], [0]])
    big_right = int(np.count_nonzero(rows.big_right))
    escalated = np.concatenate([first, [len(rows)]])
    thresholds = np.concatenate([ordered[first].astype(np.float64), [np.inf]])
    return Curve(thresholds, escalated, big_right - int(anyway.sum()) - lost_above[escalated], big_right, len(rows))


def paper_threshold(curve: Curve, max_accuracy_loss: float = 0.0) -> float | None:
    """The paper's rule (arXiv 2406.17117): the smallest threshold that loses nothing here.

    It says nothing about other images: on a fresh draw it fails about every second time.

    Args:
        curve: the exact curve.
        max_accuracy_loss: accuracy that may be lost against big's, as a fraction.

    Returns:
        The threshold, or None if only escalating every image (or not even that, under arbitration) keeps it.
    """
    # In whole images, so that 0.1 % of 1,000 images is 1 image in floating point as well.
    allowed = np.floor(max_accuracy_loss * curve.images + 1e-9)
    good = np.flatnonzero(curve.big_right - curve.right <= allowed)
    if not good.size or not np.isfinite(curve.thresholds[good[0]]):
        return None
    # Where nothing need be escalated, 0 says so plainly.
    return float(curve.thresholds[good[0]]) if good[0] else 0.0


def thin(curve: Curve, points: int) -> Curve:
    """At most so many points of a curve, evenly spread over the escalation rate, both ends kept."""
    if len(curve.thresholds) <= points:
        return curve
    wanted = np.linspace(0, curve.images, points)
    places = np.unique(np.searchsorted(curve.escalated, wanted).clip(max=len(curve.escalated) - 1))
    return Curve(curve.thresholds[places], curve.escalated[places], curve.right[places], curve.big_right, curve.images)
