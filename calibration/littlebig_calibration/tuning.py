"""Chooses grid, gate and arbitration on one part of the labels, so that the other part may certify.

Nothing that is looked at here is looked at again by the test: that is what keeps the promise valid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from littlebig_calibration._arrays import Array
from littlebig_calibration.certify import GRID_RATES, Grid, Promise, certified_threshold, threshold_grid
from littlebig_calibration.outcomes import Decision, Outcomes, logit_differences, scores

# Share of the images set aside: few where only the grid's thresholds are taken from them, more where there
# is a choice.
GRID_SHARE, CHOICE_SHARE = 0.05, 0.2
MIN_TUNING = 50
SPLIT_SEED = 0
# The arbitration's offsets that are tried; infinity is "always big's answer".
OFFSETS = np.concatenate([np.arange(-16, 25) / 4, [np.inf]])
# Escalation rates over which candidates are compared: where thresholds of useful pairs lie.
COMPARED_CENTRE, COMPARED_REACH = 0.225, 0.175


@dataclass(frozen=True)
class Choices:
    """What is left open to the labels.

    Attributes:
        gates: the scores that may gate: `confidence`, `margin` or both.
        arbitrate: whether little's answer may stand after big has run.
    """

    gates: tuple[str, ...] = ("confidence",)
    arbitrate: bool = False

    @property
    def tuning_share(self) -> float:
        """The fraction of the images that is set aside for choosing."""
        return CHOICE_SHARE if self.arbitrate or len(self.gates) > 1 else GRID_SHARE


def split(rows: Outcomes, share: float) -> tuple[Outcomes, Outcomes]:
    """Set images aside for tuning, at random but repeatably.

    Args:
        rows: all images, in an order that does not depend on the answers (tables are sorted by file name).
        share: the fraction to set aside; at least 50 images are.

    Returns:
        The tuning part and the certifying part.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
    size = max(MIN_TUNING, round(share * len(rows)))
    return rows.take(order[:size]), rows.take(order[size:])


def tune(
    tuning: Outcomes, choices: Choices, promise: Promise, certifying: int, max_escalation: float | None = None
) -> tuple[Decision, Grid]:
    """Choose gate and offset, and lay the grid for them.

    Without a cost target, the best candidate is the one whose loss plus its margin of error, averaged over
    the escalation rates that matter, is lowest; that is smoother, and chooses better, than its predicted
    threshold.

    Args:
        tuning: the images set aside.
        choices: what is left open.
        promise: what will have to be proved.
        certifying: how many images will prove it.
        max_escalation: with a cost target, the candidate with the best accuracy within it is chosen instead.
    """
    offsets = OFFSETS if choices.arbitrate else OFFSETS[-1:]
    error = float(special.ndtri(promise.confidence_level)) / np.sqrt(certifying)
    best: tuple[float, Decision] | None = None
    for gate in choices.gates:
        loss, rate = _losses(tuning, gate, offsets)
        if max_escalation is None:
            compared = np.abs(GRID_RATES - COMPARED_CENTRE) <= COMPARED_REACH + 1e-9
            value = (loss + error * np.sqrt(rate))[compared].mean(axis=0)
        else:
            value = loss[max_escalation + 1e-9 >= GRID_RATES].min(axis=0, initial=1.0)
        # On a tie the larger offset wins: closer to big's answer, which is the plainer behaviour.
        place = len(offsets) - 1 - int(np.argmin(value[::-1]))
        offset = float(offsets[place])
        found = (float(value[place]), Decision(gate, None if np.isinf(offset) else offset))
        best = found if best is None or found[0] < best[0] else best
    assert best is not None  # noqa: S101  (Choices without a gate cannot be made from the command line)
    return best[1], threshold_grid(scores(tuning, best[1].gate))


def certify(
    tuning: Outcomes, certifying: Outcomes, choices: Choices, promise: Promise
) -> tuple[Decision, Grid, float | None]:
    """The certified rule: choose on one part, prove on the other.

    Args:
        tuning: the images set aside.
        certifying: the others.
        choices: what is left open to the labels.
        promise: what is to be proved.

    Returns:
        Gate and offset, the grid, and the threshold; None as threshold where nothing can be proved.
    """
    decision, grid = tune(tuning, choices, promise, len(certifying))
    return decision, grid, certified_threshold(certifying, decision, grid, promise)


def _losses(rows: Outcomes, gate: str, offsets: Array) -> tuple[Array, Array]:
    """Loss and rate of discordant images, float64 [rates, offsets], at the grid's rates and every offset."""
    score = scores(rows, gate)
    ascending = np.quantile(score, GRID_RATES[::-1], method="lower")
    shape = (ascending.size + 1, offsets.size + 1)
    counts = []
    for discordant in (rows.big_right & ~rows.little_right, rows.little_right & ~rows.big_right):
        place = np.searchsorted(ascending, score[discordant], side="right")
        stands = np.searchsorted(offsets, logit_differences(rows, discordant), side="left")
        cells = np.bincount(place * shape[1] + stands, minlength=shape[0] * shape[1]).reshape(shape)
        # big answers an image if its score is below the threshold and its difference not above the offset.
        big_answers = cells.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
        counts.append((place.size - big_answers)[::-1] / len(rows))
    return counts[0] - counts[1], counts[0] + counts[1]
