"""Chooses grid, score and offset on one part of the labels, so that the other part may certify.

The certifying images take no part in these choices; otherwise the guarantee would not hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from littlebig_calibration._arrays import Array
from littlebig_calibration.fixed_sequence import GRID_RATES, Grid, Guarantee, certified_threshold, threshold_grid
from littlebig_calibration.outcomes import DecisionRule, Outcomes, logit_differences, scores

# Share of the images used for tuning: where they only lay the grid, and where they also choose score or offset.
GRID_SHARE, CHOICE_SHARE = 0.05, 0.2
MIN_TUNING = 50
SPLIT_SEED = 0
# Offsets to choose from. Infinity means that big's answer always counts.
OFFSETS = np.concatenate([np.arange(-16, 25) / 4, [np.inf]])
# Candidates are compared at escalation rates of 5 to 40 %, where the thresholds of useful pairs lie.
COMPARED_CENTRE, COMPARED_REACH = 0.225, 0.175


@dataclass(frozen=True)
class TuningOptions:
    """What tuning may choose.

    Attributes:
        scores: `confidence`, `margin` or both.
        arbitrate: whether little's answer may stand after big has run.
    """

    scores: tuple[str, ...] = ("confidence",)
    arbitrate: bool = False

    @property
    def tuning_share(self) -> float:
        """The fraction of the images that is used for tuning."""
        return CHOICE_SHARE if self.arbitrate or len(self.scores) > 1 else GRID_SHARE


def split(rows: Outcomes, share: float) -> tuple[Outcomes, Outcomes]:
    """Split the images at random but repeatably.

    Args:
        rows: all images, in an order that does not depend on the answers (tables are sorted by file name).
        share: the fraction for tuning; at least 50 images are taken.

    Returns:
        The tuning images and the certifying images.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
    size = max(MIN_TUNING, round(share * len(rows)))
    return rows.take(order[:size]), rows.take(order[size:])


def tune(
    tuning: Outcomes,
    options: TuningOptions,
    guarantee: Guarantee,
    certifying: int,
    max_escalation: float | None = None,
) -> tuple[DecisionRule, Grid]:
    """Choose score and offset, and lay the grid for them.

    Without a cost target, the best candidate has the lowest mean of loss plus standard error over the escalation rates
    of `COMPARED_CENTRE` ± `COMPARED_REACH`. This criterion is smoother than the predicted threshold and chooses better.

    Args:
        tuning: the tuning images.
        options: what may be chosen.
        guarantee: what is to be certified.
        certifying: the number of images that will certify it.
        max_escalation: a cost target; the candidate with the best accuracy within it is then chosen instead.
    """
    offsets = OFFSETS if options.arbitrate else OFFSETS[-1:]
    error = float(special.ndtri(guarantee.confidence_level)) / np.sqrt(certifying)
    candidates: list[tuple[float, DecisionRule]] = []
    for score in options.scores:
        loss, discordance = _losses(tuning, score, offsets)
        if max_escalation is None:
            compared = np.abs(GRID_RATES - COMPARED_CENTRE) <= COMPARED_REACH + 1e-9
            value = (loss + error * np.sqrt(discordance))[compared].mean(axis=0)
        else:
            value = loss[max_escalation + 1e-9 >= GRID_RATES].min(axis=0, initial=1.0)
        # On a tie the larger offset wins: it overrules big less often.
        place = len(offsets) - 1 - int(np.argmin(value[::-1]))
        offset = float(offsets[place])
        candidates.append((float(value[place]), DecisionRule(score, None if np.isinf(offset) else offset)))
    rule = min(candidates, key=lambda candidate: candidate[0])[1]
    return rule, threshold_grid(scores(tuning, rule.score))


def tune_and_certify(
    tuning: Outcomes, certifying: Outcomes, options: TuningOptions, guarantee: Guarantee
) -> tuple[DecisionRule, Grid, float | None]:
    """The certified rule: choose on one part of the images, certify on the other.

    Args:
        tuning: the tuning images.
        certifying: the others.
        options: what may be chosen.
        guarantee: what is to be certified.

    Returns:
        Score and offset, the grid, and the threshold, which is None where none is certified.
    """
    rule, grid = tune(tuning, options, guarantee, len(certifying))
    return rule, grid, certified_threshold(certifying, rule, grid, guarantee)


def _losses(rows: Outcomes, score: str, offsets: Array) -> tuple[Array, Array]:
    """Loss and discordance rate, float64 [rates, offsets], at the grid's rates and every offset."""
    values = scores(rows, score)
    ascending = np.quantile(values, GRID_RATES[::-1], method="lower")
    shape = (ascending.size + 1, offsets.size + 1)
    counts = []
    for discordant in (rows.big_correct & ~rows.little_correct, rows.little_correct & ~rows.big_correct):
        threshold_place = np.searchsorted(ascending, values[discordant], side="right")
        offset_place = np.searchsorted(offsets, logit_differences(rows, discordant), side="left")
        cells = np.bincount(threshold_place * shape[1] + offset_place, minlength=shape[0] * shape[1]).reshape(shape)
        # Big's answer counts where the score is below the threshold and the logit difference not above the offset.
        big_answers = cells.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
        counts.append((threshold_place.size - big_answers)[::-1] / len(rows))
    return counts[0] - counts[1], counts[0] + counts[1]
