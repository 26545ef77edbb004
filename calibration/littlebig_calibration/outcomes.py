"""Both models' answers compared with the labels: all that the statistics use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.errors import PairChoiceError
from littlebig_calibration.table import PredictionTable, check_calibratable
from littlebig_contract.scores import LOGIT_CLIP


@dataclass(frozen=True)
class Outcomes:
    """One row per labelled image.

    Attributes:
        little_correct: bool [n].
        big_correct: bool [n].
        little_confidence: float32 [n].
        big_confidence: float32 [n].
        little_margin: float32 [n], or None where the table has no margins.
    """

    little_correct: Array
    big_correct: Array
    little_confidence: Array
    big_confidence: Array
    little_margin: Array | None = None

    def __len__(self) -> int:
        """The number of images."""
        return len(self.little_correct)

    def take(self, rows: Array) -> Outcomes:
        """The rows of an index, which may name a row more than once."""
        return Outcomes(
            self.little_correct[rows],
            self.big_correct[rows],
            self.little_confidence[rows],
            self.big_confidence[rows],
            None if self.little_margin is None else self.little_margin[rows],
        )


@dataclass(frozen=True)
class DecisionRule:
    """How the gate decides, apart from the threshold.

    Attributes:
        score: little's score that is compared with the threshold, `confidence` or `margin`.
        offset: None where big's answer always counts. Otherwise little's answer stands, after big has run, where
            logit(little's confidence) - logit(big's confidence) > offset.
    """

    score: str = "confidence"
    offset: float | None = None


def outcomes(table: PredictionTable, little: str, big: str) -> Outcomes:
    """Compare two models' answers with the labels.

    Args:
        table: labels and predictions.
        little: the little model's name in the table.
        big: the big model's.

    Raises:
        PairChoiceError: if a name is unknown, labels are too few or of one class, or both models answer alike.
    """
    check_calibratable(table.labels)
    first, second = table.model(little), table.model(big)
    if np.array_equal(first.label, second.label):
        raise PairChoiceError(
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


def scores(rows: Outcomes, score: str) -> Array:
    """Little's scores of a kind.

    Args:
        rows: the images.
        score: `confidence` or `margin`.

    Returns:
        float32 [n].

    Raises:
        PairChoiceError: if margins are asked for and the table has none.
    """
    if score == "confidence":
        return rows.little_confidence
    if rows.little_margin is None:
        raise PairChoiceError("the little model's table has no margins: use --score confidence, or predict again")
    return rows.little_margin


def logit_differences(rows: Outcomes, index: Array) -> Array:
    """logit(little's confidence) - logit(big's confidence).

    Args:
        rows: the images.
        index: int or bool index of the rows that are needed.

    Returns:
        float64, one per row of the index.
    """

    def logit(values: Array) -> Array:
        clipped = np.clip(values[index].astype(np.float64), LOGIT_CLIP, 1 - LOGIT_CLIP)
        return np.asarray(np.log(clipped) - np.log1p(-clipped))

    return np.asarray(logit(rows.little_confidence) - logit(rows.big_confidence))


def accuracy_losses(rows: Outcomes, offset: float | None) -> tuple[Array, Array]:
    """What each image contributes to the accuracy lost against big: if it is kept, and at any threshold.

    Args:
        rows: the images.
        offset: of the decision rule.

    Returns:
        Two int8 [n] of +1 (a correct answer is lost), -1 (one is won) and 0. The first array counts where the image is
        not escalated. The second counts at every threshold: arbitration lets little's answer stand there.
    """
    if_kept = rows.big_correct.astype(np.int8) - rows.little_correct.astype(np.int8)
    fixed = np.zeros_like(if_kept)
    if offset is not None:
        discordant = np.flatnonzero(if_kept)
        stands = discordant[logit_differences(rows, discordant) > offset]
        fixed[stands] = if_kept[stands]
        if_kept[stands] = 0
    return if_kept, fixed
