"""What the report shows beside the curve: confidences, their reliability, and the classes that escalate most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.outcomes import Outcomes

HISTOGRAM_BINS = 20
RELIABILITY_BINS = 10
# With fewer images than this a class's rate says nothing.
MIN_CLASS_IMAGES = 5


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
    """One class at a threshold; rates and accuracies are over its `images`."""

    label: int
    images: int
    escalation_rate: float
    little_accuracy: float
    big_accuracy: float


def histograms(rows: Outcomes) -> tuple[Array, Array]:
    """Little's confidences in 20 bins over [0, 1], two int64 [20]: of correct answers, and of wrong ones."""
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    correct, _ = np.histogram(rows.little_confidence[rows.little_correct], edges)
    wrong, _ = np.histogram(rows.little_confidence[~rows.little_correct], edges)
    return correct, wrong


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


def most_escalated(rows: Outcomes, labels: Array, escalated: Array, limit: int = 15) -> list[ClassRow]:
    """The classes with the highest escalation rates, among those with at least 5 images.

    Args:
        rows: the images.
        labels: int [n].
        escalated: bool [n].
        limit: how many classes.
    """
    size = int(labels.max()) + 1

    def per_class(values: Array) -> Array:
        return np.asarray(np.bincount(labels, weights=values, minlength=size))

    images = np.bincount(labels, minlength=size)
    divisor = np.maximum(images, 1)
    rate = np.where(images >= MIN_CLASS_IMAGES, per_class(escalated) / divisor, -1.0)
    little, big = per_class(rows.little_correct) / divisor, per_class(rows.big_correct) / divisor
    order = [int(label) for label in np.argsort(-rate, kind="stable")[:limit] if rate[label] >= 0]
    return [
        ClassRow(label, int(images[label]), float(rate[label]), float(little[label]), float(big[label]))
        for label in order
    ]
