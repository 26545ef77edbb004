"""Both models' answers and scores beside the labels, as far as these are known: all that the statistics use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.disagreements import Deciding, deciding, outcome
from littlebig_calibration.errors import PairChoiceError
from littlebig_calibration.table import NO_LABEL, UNCLEAR, PredictionTable, check_calibratable
from littlebig_calibration.walk import UNKNOWN
from littlebig_contract.scores import LOGIT_CLIP

# A table of disagreements alone is no random sample: no pair that is worth serving differs more often.
MAX_DISAGREEMENT = 0.95


@dataclass(frozen=True)
class Outcomes:
    """One row per image.

    Attributes:
        little_label: int [n], little's classes.
        big_label: int [n].
        labels: int [n], the true classes, `NO_LABEL`, `NO_CLASS` and `UNCLEAR` among them.
        little_confidence: float32 [n].
        big_confidence: float32 [n].
        little_margin: float32 [n], or None where the table has no margins.
    """

    little_label: Array
    big_label: Array
    labels: Array
    little_confidence: Array
    big_confidence: Array
    little_margin: Array | None = None

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    def take(self, rows: Array) -> Outcomes:
        """The rows of an index, which may name a row more than once."""
        return Outcomes(
            self.little_label[rows],
            self.big_label[rows],
            self.labels[rows],
            self.little_confidence[rows],
            self.big_confidence[rows],
            None if self.little_margin is None else self.little_margin[rows],
        )

    @cached_property
    def differ(self) -> Array:
        """Whether the models give different classes, bool [n]."""
        return np.asarray(self.little_label != self.big_label)

    @cached_property
    def lost(self) -> Array:
        """Int8 [n]: +1 where only big is right, -1 where only little is, 0 where neither or both, else `UNKNOWN`."""
        everyone = Deciding(len(self), np.arange(len(self)), self.little_confidence)
        return np.where(self.differ, outcome(everyone, self.little_label, self.big_label, self.labels), 0)

    @cached_property
    def compared(self) -> bool:
        """Whether every image on which the models differ has a label, so that `lost` is known everywhere."""
        return not np.any(self.lost == UNKNOWN)

    @cached_property
    def labelled(self) -> bool:
        """Whether every image has a label that is clear, so that accuracies are known."""
        return not np.any(np.isin(self.labels, (NO_LABEL, UNCLEAR)))


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
    """Put two models' answers beside the labels.

    Args:
        table: labels and predictions.
        little: the little model's name in the table.
        big: the big model's.

    Raises:
        PairChoiceError: if a name is unknown, labels are too few or of one class, both models answer alike, or the
            images were chosen by the models' answers.
    """
    check_calibratable(table.labels)
    first, second = table.model(little), table.model(big)
    rows = Outcomes(first.label, second.label, table.labels, first.confidence, second.confidence, first.margin)
    rate = rows.differ.mean()
    if rate == 0:
        raise PairChoiceError(
            f"'{little}' and '{big}' give the same answer to every image: a pair of them saves nothing; "
            "name two different models by --little and --big"
        )
    if rate > MAX_DISAGREEMENT:
        raise PairChoiceError(
            f"'{little}' and '{big}' give different answers to {rate:.0%} of the images: either these were chosen by "
            "their answers (give all that were drawn; where the models agree no label is needed), or the models number "
            "their classes differently"
        )
    return rows


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


def logit_leads(rows: Outcomes) -> Array:
    """logit(little's confidence) - logit(big's confidence), float64 [n]."""

    def logit(values: Array) -> Array:
        clipped = np.clip(values.astype(np.float64), LOGIT_CLIP, 1 - LOGIT_CLIP)
        return np.asarray(np.log(clipped) - np.log1p(-clipped))

    return np.asarray(logit(rows.little_confidence) - logit(rows.big_confidence))


def stands(rows: Outcomes, offset: float | None) -> Array | None:
    """Where little's answer stands even after big has run: bool [n], or None without arbitration."""
    return None if offset is None else logit_leads(rows) > offset


def deciding_rows(rows: Outcomes, rule: DecisionRule) -> tuple[Deciding, Array]:
    """The images whose labels decide, in the order in which a walk reads them, and what their labels say.

    Returns:
        The images, and int8 [d]: +1 lost, -1 won, 0 neither, `UNKNOWN` without a label.
    """
    order = deciding(rows.little_label, rows.big_label, scores(rows, rule.score), stands(rows, rule.offset))
    return order, outcome(order, rows.little_label, rows.big_label, rows.labels)


def discordant_counts(rows: Outcomes, rule: DecisionRule, thresholds: Array) -> tuple[Array, Array]:
    """Count the images on which either big or the cascade is right, but not both, at each threshold.

    Args:
        rows: the images; those without a label count as neither.
        rule: score and offset.
        thresholds: float32 [k], in any order.

    Returns:
        Two int64 [k]: lost (only big is right) and won (only the cascade is).
    """
    order, seen = deciding_rows(rows, rule)
    kept = np.searchsorted(-order.enters, -np.asarray(thresholds, dtype=np.float32), side="right")
    lost, won = (np.append(0, np.cumsum(seen == sign))[kept] for sign in (1, -1))
    return lost, won
