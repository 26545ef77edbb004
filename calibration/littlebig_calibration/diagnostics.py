"""What the report shows beside the curve: confidences, their reliability, and the classes that escalate most."""

from dataclasses import dataclass

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.exact import clopper_pearson

HISTOGRAM_BINS = 20
RELIABILITY_BINS = 10
# With fewer images a class's rate is known to no better than ± 18 points.
MIN_CLASS_IMAGES = 30


@dataclass(frozen=True)
class Reliability:
    """Accuracy against confidence, in bins of equal width.

    Attributes:
        confidence: float64 [k], mean confidence in each bin that holds images.
        accuracy: float64 [k].
        images: int64 [k].
        error: expected calibration error: the mean gap between both, weighted by images.
    """

    confidence: Array
    accuracy: Array
    images: Array
    error: float


@dataclass(frozen=True)
class ClassRow:
    """One class at a threshold; rates and accuracies are over its `images`, with the rate's interval."""

    label: int
    images: int
    escalation_rate: float
    interval: tuple[float, float]
    little_accuracy: float
    big_accuracy: float


def histograms(score: Array, correct: Array) -> tuple[Array, Array]:
    """Scores in 20 bins over [0, 1], two int64 [20]: of correct answers, and of wrong ones."""
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    return np.histogram(score[correct], edges)[0], np.histogram(score[~correct], edges)[0]


def reliability(confidence: Array, correct: Array) -> Reliability:
    """The reliability diagram of one model.

    Args:
        confidence: float [n].
        correct: bool [n].
    """
    bins = np.minimum((confidence * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)
    images = np.bincount(bins, minlength=RELIABILITY_BINS)
    filled = images > 0
    mean = np.bincount(bins, weights=confidence, minlength=RELIABILITY_BINS)[filled] / images[filled]
    accuracy = np.bincount(bins, weights=correct, minlength=RELIABILITY_BINS)[filled] / images[filled]
    error = float(np.sum(images[filled] * np.abs(mean - accuracy)) / len(correct))
    return Reliability(mean, accuracy, images[filled], error)


def most_escalated(
    labels: Array, escalated: Array, little_correct: Array, big_correct: Array, limit: int = 15
) -> list[ClassRow]:
    """The classes with the highest escalation rates, among those with at least `MIN_CLASS_IMAGES` images.

    Args:
        labels: int [n], the true classes; negative ones are left out.
        escalated: bool [n].
        little_correct: bool [n].
        big_correct: bool [n].
        limit: how many classes.
    """
    known = labels >= 0
    size = int(labels.max()) + 1

    def per_class(values: Array) -> Array:
        return np.asarray(np.bincount(labels[known], weights=values[known], minlength=size))

    images = per_class(np.ones(len(labels)))
    enough = np.flatnonzero(images >= MIN_CLASS_IMAGES)
    hits, little, big = (per_class(values) for values in (escalated, little_correct, big_correct))
    order = enough[np.argsort(-hits[enough] / images[enough], kind="stable")][:limit]
    return [
        ClassRow(
            label,
            int(images[label]),
            hits[label] / images[label],
            clopper_pearson(int(hits[label]), int(images[label])),
            little[label] / images[label],
            big[label] / images[label],
        )
        for label in order.tolist()
    ]
