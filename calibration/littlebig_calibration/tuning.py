"""Divides the images, and chooses score and offset on the part that certifies nothing.

The certifying images take no part in these choices; otherwise the guarantee would not hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.certifying import Guarantee, Pool, divided, split
from littlebig_calibration.options import MIN_DISCORDANT, Candidate, choose_option
from littlebig_calibration.outcomes import DecisionRule, Outcomes, logit_leads, scores

# Share of the images used for planning: where they only place the walk, and where they also choose score or offset.
PLANNING_SHARE, CHOICE_SHARE = 0.05, 0.2
# Offsets to choose from.
OFFSETS = np.arange(-16, 25) / 4


@dataclass(frozen=True)
class TuningOptions:
    """What tuning may choose.

    Attributes:
        scores: `confidence`, `margin` or both; the first one is used where no gain by the other is likely.
        arbitrate: whether little's answer may stand after big has run.
    """

    scores: tuple[str, ...] = ("confidence",)
    arbitrate: bool = False

    @property
    def plain(self) -> bool:
        """Whether there is nothing to choose."""
        return len(self.scores) == 1 and not self.arbitrate


@dataclass(frozen=True)
class Division:
    """Images by what they are used for.

    Attributes:
        tuning: place the walk and choose; they certify nothing.
        pools: certify.
    """

    tuning: Outcomes
    pools: tuple[Pool, ...]

    @property
    def certifying(self) -> int:
        """Number of images that certify."""
        return sum(len(pool.rows) for pool in self.pools)


def divide(rows: Outcomes, part: Array | None, options: TuningOptions) -> Division:
    """Divide the images: as `littlebig label` did, or at random.

    A twentieth is used for tuning; a fifth where there is something to choose and enough images to choose by. Whether
    there are enough is judged by the first twentieth, which certifies nothing in either case.

    Args:
        rows: all images.
        part: int [n], see `PredictionTable`; None to divide at random.
        options: what may be chosen.
    """
    if part is not None:
        return Division(*divided(rows, part))
    tuning, certifying = split(rows, PLANNING_SHARE)
    expected = CHOICE_SHARE * len(rows) / len(tuning) * np.count_nonzero(tuning.lost)
    if not options.plain and tuning.compared and expected >= MIN_DISCORDANT:
        tuning, certifying = split(rows, CHOICE_SHARE)
    return Division(tuning, (Pool(certifying),))


def tune(division: Division, options: TuningOptions, guarantee: Guarantee) -> tuple[DecisionRule, str | None]:
    """Choose score and offset.

    Args:
        division: its tuning images choose.
        options: what may be chosen.
        guarantee: what is to be certified.

    Returns:
        The rule, and why; None where there was nothing to choose.
    """
    plain = DecisionRule(options.scores[0])
    if options.plain:
        return plain, None
    rows = division.tuning
    if not rows.compared:
        return plain, f"{plain.score}: the images that could choose have no labels"
    offsets: Sequence[float | None] = [None, *(OFFSETS.tolist() if options.arbitrate else ())]
    rules = [DecisionRule(score, offset) for score in options.scores for offset in offsets]
    leads = logit_leads(rows)
    candidates = [_candidate(rows, rule, leads) for rule in rules]
    choice = choose_option(candidates, division.certifying, guarantee.confidence_level)
    return rules[choice.place], choice.reason


def _candidate(rows: Outcomes, rule: DecisionRule, leads: Array) -> Candidate:
    stand = np.zeros(len(rows), dtype=bool) if rule.offset is None else leads > rule.offset
    name = rule.score if rule.offset is None else f"{rule.score}, arbitrate at {rule.offset:g}"
    anyway = np.where(stand, rows.lost, 0).astype(np.int8)
    return Candidate(name, scores(rows, rule.score), rows.lost - anyway, anyway)
