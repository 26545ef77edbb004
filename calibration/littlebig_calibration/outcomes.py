"""What a pair's two answers to every labelled image were worth: all that the statistics ever look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.errors import PairError
from littlebig_calibration.table import PredictionTable, check_calibratable

GATES = ("confidence", "margin")
# Confidences are clipped here before the logit, in the gate as well: float32 softmax gives exact ones.
LOGIT_CLIP = 1e-6


@dataclass(frozen=True)
class Outcomes:
    """One row per labelled image.

    Attributes:
        little_right: bool [n].
        big_right: bool [n].
        little_confidence: float32 [n].
        big_confidence: float32 [n].
        little_margin: float32 [n], or None where the table has no margins.
    """

    little_right: Array
    big_right: Array
    little_confidence: Array
    big_confidence: Array
    little_margin: Array | None = None

    def __len__(self) -> int:
        """The number of images."""
        return len(self.little_right)

    def take(self, rows: Array) -> Outcomes:
        """The rows given by index; an index may occur more than once."""
        return Outcomes(
            self.little_right[rows],
            self.big_right[rows],
            self.little_confidence[rows],
            self.big_confidence[rows],
            None if self.little_margin is None else self.little_margin[rows],
        )


@dataclass(frozen=True)
class Decision:
    """How the gate decides, apart from the threshold.

    Attributes:
        gate: the little model's score that is compared with the threshold, `confidence` or `margin`.
        offset: None where big's answer is always taken. Otherwise little's answer stands after all where
            logit(little's confidence) - logit(big's confidence) > offset.
    """

    gate: str = "confidence"
    offset: float | None = None


def outcomes(table: PredictionTable, little: str, big: str) -> Outcomes:
    """Compare two models' answers with the labels.

    Args:
        table: labels and predictions.
        little: the little model's name in it.
        big: the big model's.

    Raises:
        PairError: if a name is unknown, labels are too few or of one class, or both models answer alike.
    """
    check_calibratable(table.labels)
    first, second = table.model(little), table.model(big)
    if np.array_equal(first.label, second.label):
        raise PairError(
            f"'{little}' and '{big}' give the same answer to every image: a pair of them saves nothing; "
            "name two different models by --little and --big"
        )
    return Outcomes(
        first.label == table.labels,
        second.label == table.labels,
        first.confidence,
        second.confidence,
        first.margin,
    )


def scores(rows: Outcomes, gate: str) -> Array:
    """The little model's scores that a gate compares with the threshold.

    Args:
        rows: the images.
        gate: `confidence` or `margin`.

    Returns:
        float32 [n].

    Raises:
        PairError: if margins are asked for and the table has none.
    """
    if gate == "confidence":
        return rows.little_confidence
    if rows.little_margin is None:
        raise PairError("the little model's table has no margins: use --gate confidence, or predict again")
    return rows.little_margin


def logit_differences(rows: Outcomes, chosen: Array) -> Array:
    """logit(little's confidence) - logit(big's confidence) of the chosen rows.

    Args:
        rows: the images.
        chosen: int or bool index into them.

    Returns:
        float64, one per chosen row.
    """

    def logit(values: Array) -> Array:
        clipped = np.clip(values[chosen].astype(np.float64), LOGIT_CLIP, 1 - LOGIT_CLIP)
        return np.asarray(np.log(clipped) - np.log1p(-clipped))

    return np.asarray(logit(rows.little_confidence) - logit(rows.big_confidence))


def losses(rows: Outcomes, offset: float | None) -> tuple[Array, Array]:
    """What is lost against big's answers by not escalating an image, and what is lost in any case.

    Args:
        rows: the images.
        offset: the arbitration's, see `Decision`.

    Returns:
        int8 [n]: +1 where keeping the image loses a right answer of big's, -1 where it gains one, 0 where
        both are right or both wrong, or where little's answer is given whatever the threshold; and the int8
        [n] array of those that are lost or gained whatever the threshold.
    """
    difference = rows.big_right.astype(np.int8) - rows.little_right.astype(np.int8)
    anyway = np.zeros_like(difference)
    if offset is not None:
        discordant = np.flatnonzero(difference)
        stands = discordant[logit_differences(rows, discordant) > offset]
        anyway[stands] = difference[stands]
        difference[stands] = 0
    return difference, anyway
