"""The exact curve of a cascade's accuracy over all thresholds, and the paper's rule on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.outcomes import DecisionRule, Outcomes, accuracy_losses, scores


@dataclass(frozen=True)
class Curve:
    """Every cascade that a threshold can make of these images. Images of equal score are escalated together.

    Attributes:
        thresholds: float64 [k], ascending: the observed scores, then infinity, which escalates every image.
        escalated: int64 [k], images with a score below the threshold.
        correct: int64 [k], images that the cascade answers correctly.
        big_correct: images that big answers correctly.
        images: all images.
    """

    thresholds: Array
    escalated: Array
    correct: Array
    big_correct: int
    images: int

    def at(self, threshold: float | None) -> tuple[float, float]:
        """Escalation rate and accuracy at a threshold.

        Args:
            threshold: escalate below it; None escalates every image.
        """
        # A threshold between two observed scores acts like the higher one.
        place = -1 if threshold is None else int(np.searchsorted(self.thresholds, np.float32(threshold), side="left"))
        return float(self.escalated[place] / self.images), float(self.correct[place] / self.images)


def cascade_curve(rows: Outcomes, rule: DecisionRule) -> Curve:
    """Compute the curve exactly, with one sort.

    Args:
        rows: the labelled images.
        rule: score and offset.
    """
    score = scores(rows, rule.score)
    if_kept, fixed = accuracy_losses(rows, rule.offset)
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    # The first image of each group of equal scores: a threshold there escalates all images before it.
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    lost_above = np.concatenate([np.cumsum(if_kept[order][::-1], dtype=np.int64)[::-1], [0]])
    big_correct = int(np.count_nonzero(rows.big_correct))
    escalated = np.concatenate([first, [len(rows)]])
    thresholds = np.concatenate([ordered[first].astype(np.float64), [np.inf]])
    correct = big_correct - int(fixed.sum()) - lost_above[escalated]
    return Curve(thresholds, escalated, correct, big_correct, len(rows))


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
    allowed = np.floor(max_accuracy_loss * curve.images + 1e-9)
    within = np.flatnonzero(curve.big_correct - curve.correct <= allowed)
    if not within.size or not np.isfinite(curve.thresholds[within[0]]):
        return None
    # The lowest observed score escalates nothing: 0 says so plainly.
    return float(curve.thresholds[within[0]]) if within[0] else 0.0


def thin(curve: Curve, points: int) -> Curve:
    """Keep at most so many points, evenly spread over the escalation rate, both ends among them."""
    if len(curve.thresholds) <= points:
        return curve
    targets = np.linspace(0, curve.images, points)
    kept = np.unique(np.searchsorted(curve.escalated, targets).clip(max=len(curve.escalated) - 1))
    return Curve(curve.thresholds[kept], curve.escalated[kept], curve.correct[kept], curve.big_correct, curve.images)
