"""Made-up prediction tables and rows."""

from dataclasses import replace

import numpy as np

from littlebig_calibration.outcomes import Outcomes
from littlebig_calibration.table import NO_LABEL, ModelColumns, PredictionTable

CLASSES = 10


def pair_table(images: int = 2000, seed: int = 1, skill: tuple[float, float] = (1.15, 1.2)) -> PredictionTable:
    """Predictions of two models, `small` and `large`, whose confidences tell how likely they are correct."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, images)
    difficulty = random.normal(size=images)
    models = []
    for name, strength in zip(("small", "large"), skill, strict=True):
        lead = strength - difficulty + 0.6 * random.normal(size=images)
        answer = np.where(lead > 0, labels, (labels + 1) % CLASSES).astype(np.int32)
        confidence = (1 / (1 + np.exp(-2 * np.abs(lead + 0.3 * random.normal(size=images))))).astype(np.float32)
        models.append(ModelColumns(name, answer, confidence, np.maximum(2 * confidence - 1, 0)))
    files = tuple(f"{index:05d}.jpg" for index in range(images))
    return PredictionTable(files, labels.astype(np.int32), tuple(models), classes=CLASSES)


def rows_of(
    little_right: np.ndarray,
    big_right: np.ndarray,
    little_confidence: np.ndarray,
    big_confidence: np.ndarray | None = None,
    little_margin: np.ndarray | None = None,
) -> Outcomes:
    """Rows with every label, from who is right; models that are both wrong give different classes."""
    labels = np.zeros(len(little_right), dtype=np.int32)
    little, big = np.where(little_right, 0, 1), np.where(big_right, 0, 2)
    confidence = little_confidence if big_confidence is None else big_confidence
    return Outcomes(little, big, labels, little_confidence, confidence, little_margin)


def labelled_where_they_differ(table: PredictionTable) -> PredictionTable:
    """The same table without the labels that cannot decide."""
    little, big = table.models
    return replace(table, labels=np.where(little.label == big.label, NO_LABEL, table.labels))
