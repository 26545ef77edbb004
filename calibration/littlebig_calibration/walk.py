"""Where the walk down the thresholds starts, with which share of the error probability, and how it is walked.

**What is walked.** Thresholds t_1 > t_2 > ... are fixed beforehand, and so are shares w_1, w_2, ... >= 0 with sum 1. At
each threshold the trinomial test asks whether the promise is broken there. A test that passes hands its level on to the
next; a test that fails loses it, and the next one has only its own share (fallback procedure: Wiens 2003; Wiens and
Dmitrienko 2005). The lowest threshold that passed is certified.

**Why it is valid.** Let i_1 < i_2 < ... be the thresholds at which the promise is truly broken. As long as none of them
has passed, all before i_j have failed, and each failure sets the level to 0; so the level at i_j is at most the sum of
the shares in (i_(j-1), i_j] times the error probability. A wrong pass needs a first wrong pass, at some i_j, at that
level, which is fixed: its probability is at most the level. All these levels add up to at most the error probability
(union bound). Three things follow:

- Starts and shares may come from anything but the certifying images: tuning labels, confidences of other images, or the
  user. A poor guess costs escalation, never the promise.
- The walk may stop early for any reason, for example because labels run out: stopping removes passes and adds none.
- Nothing is assumed about the loss as a function of the threshold.

**Where to start.** High thresholds keep too few images to prove anything, low ones lose too much. Little's confident
disagreements are mostly won, in every pair that was measured, so a start is placed where enough of them are kept:
where S would be -2.6 if 80 % of the kept disagreements were discordant and 65 of these 80 won by little. That takes
some 22 disagreements at tolerance 0. Disagreements need no labels, and the rule follows the number of images: with
more of them the start moves up, where wide pairs need it. A quarter of the shares starts lower, at S = -6, for pairs
whose confident disagreements are not won. Where no discordant image at all would be proof (n times the tolerance above
4.6), most of the shares start at the top. Estimating the best start from 50 tuning labels is worse than this rule.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from littlebig_calibration._arrays import Array
from littlebig_calibration.trinomial import trinomial_test

# Escalation rates whose thresholds are tried, in this order; the last one escalates nothing.
WALK_RATES = np.append(np.linspace(0.995, 0.005, 199), 0.0)
# Starts: where the expected statistic first reaches so many times the level's normal quantile, with the shares.
STARTS = ((1.6, 0.75), (3.6, 0.25))
# Of the kept disagreements near a start: how many are won more than lost, and how many are discordant.
NET_WON, DISCORDANT = 0.5, 0.8
# The same for a tolerance so large that no discordant image at all reaches the first of them: the walk starts at the
# top, and again a little below, since a single lost image may stop it there.
TOP_STARTS = ((1.3, 0.7), (2.2, 0.3))
# Smoothing of the disagreements of few images: the power law's exponent in usual pairs, its weight in disagreements,
# and the number of images that the law stands for.
PRIOR_POWER, PRIOR_WEIGHT, SMOOTHED_AS = 3.7, 10.0, 200.0
UNKNOWN = np.int8(-128)


@dataclass(frozen=True)
class Proof:
    """What a walk proved.

    Attributes:
        place: index of the lowest threshold that passed, or None: big only.
        level: the error probability at that test; 0.0 where none passed.
        last: index of the last threshold that was tested, -1 where none was.
    """

    place: int | None
    level: float
    last: int


def walk_thresholds(score: Array) -> Array:
    """Thresholds at the walk's escalation rates, from scores of images that certify nothing; no labels are used.

    Args:
        score: float32 [m].

    Returns:
        float32 [k], descending, equal ones possible where scores are tied, the last one 0.
    """
    return np.append(np.quantile(score, WALK_RATES[:-1], method="linear"), 0.0).astype(np.float32)


def disagreements_between(score: Array, differ: Array) -> Array:
    """Estimate the disagreements that a walk meets from one threshold to the next, per image; no labels are used.

    Args:
        score: float32 [m], the gate's scores of images that certify nothing.
        differ: bool [m], whether the two models give different classes.

    Returns:
        float64 [k].
    """
    ascending = walk_thresholds(score)[::-1]
    place = ascending.size - np.searchsorted(ascending, score[differ], side="right")
    counted = np.bincount(place, minlength=ascending.size)[: ascending.size] / len(score)
    # Of 50 images hardly any is a confident disagreement. Small samples are smoothed by a power law: the rate among
    # the fraction u of the images with the highest scores is D u^k.
    above = 1 - (np.searchsorted(np.sort(score), score[differ], side="left") + 0.5) / len(score)
    power = (PRIOR_WEIGHT + above.size) / (PRIOR_WEIGHT / PRIOR_POWER - np.log(above).sum())
    smooth = differ.mean() * np.diff((1 - WALK_RATES) ** power, prepend=0.0)
    return np.asarray((len(score) * counted + SMOOTHED_AS * smooth) / (len(score) + SMOOTHED_AS))


def place_shares(differ: Array, images: int, tolerance: float, error_rate: float = 0.05) -> Array:
    """Place the starts of a walk by the disagreements that it will meet; no labels are used.

    Args:
        differ: float64 [k], from `disagreements_between`.
        images: number of certifying images, agreeing ones included.
        tolerance: accuracy that may be lost, a fraction.
        error_rate: of this walk.

    Returns:
        float64 [k], summing to 1.
    """
    quantile = -float(special.ndtri(error_rate))
    kept, allowed = np.cumsum(differ) * images, images * tolerance
    shares = np.zeros(WALK_RATES.size)
    statistic = (NET_WON * kept + allowed) / np.sqrt(np.maximum(np.maximum(DISCORDANT * kept, allowed), 1e-9))
    at_the_top = np.sqrt(allowed) >= TOP_STARTS[0][0] * quantile
    for wanted, share in TOP_STARTS if at_the_top else STARTS:
        reached = np.flatnonzero(statistic >= wanted * quantile)
        shares[reached[0] if reached.size else -1] += share
    return shares


def run_walk(lost: Array, won: Array, images: int, tolerance: float, shares: Array, error_rate: float = 0.05) -> Proof:
    """Walk down thresholds and prove what can be proved.

    Args:
        lost: int [j], images kept that big alone answers rightly, at the first j of the k thresholds: where labels
            run out, j is less than k.
        won: int [j], images kept that the cascade alone answers rightly.
        images: number of certifying images, n; agreeing ones are among them.
        tolerance: accuracy that may be lost, a fraction.
        shares: float64 [k], fixed before any certifying label was read.
        error_rate: 1 - confidence level.
    """
    test = trinomial_test(images, tolerance, error_rate)
    level, proved, proved_level, last = 0.0, None, 0.0, -1
    final_share = int(np.flatnonzero(shares)[-1])
    for place, (loses, wins) in enumerate(zip(np.asarray(lost).tolist(), np.asarray(won).tolist(), strict=True)):
        level += float(shares[place]) * error_rate
        if level > 0:
            last = place
            if test.certifies(loses, wins, level):
                proved, proved_level = place, level
            else:
                level = 0.0
        if level == 0 and place >= final_share:
            break
    return Proof(proved, proved_level, last)
