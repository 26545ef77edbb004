"""Certificates from labels where little and big differ: which rows to label, in which order, and what they prove.

Where both models give the same class, cascade and big are right or wrong together, whatever the true class: the
paired difference is 0 without a label. So a walk over n images needs labels only for *deciding* images: those whose
final answer is little's and differs from big's. n stays the number of all images; agreeing ones count as neither lost
nor won.

**Order.** An image is kept at every threshold up to its score. The walk starts at high thresholds, so images are
labelled by descending score, and labelling may stop where the walk stops. Under arbitration little's answer may stand
after big has run, at every threshold alike: such images come first, in every walk. A rule that may give an answer of
neither model would need labels where both agree; `deciding` has no way to state it.

**Why the promise holds.** The images are a random sample, drawn before any label was seen; thresholds, starts and
shares come from other images. Then lost, won and neutral images at each threshold are trinomial over n, exactly as with
all labels: agreeing images are known, not missing. Which labels are read depends on answers and scores, never on a
label seen before, except that the walk may stop, and stopping takes passes away and adds none (`walk`). A gap, an
unlabelled deciding image, ends the walk above it for the same reason. What breaks the promise is a sample that is not
random: images picked because they look odd or because the models differ. Label *where* they differ, but draw them all.

**Pool size.** With a budget of labels, a larger pool proves more at each threshold but runs out of labels higher up.
Before any label is known, `choose_pool` takes the pool with which the budget reaches down to an escalation rate of
10 %, or another that the user expects. A pair that needs more escalation ends its walk early with most of the budget
left. A second walk spends that on a larger pool of *fresh* images, whose size and reach may follow from what the first
one found: given the first, it is a walk like any other. The error probability is split between both (`STAGE_SHARES`),
and the union bound covers them.
"""

from dataclasses import dataclass

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.errors import TableError
from littlebig_calibration.table import NO_LABEL, UNCLEAR
from littlebig_calibration.walk import UNKNOWN, WALK_RATES, place_shares, run_walk

# Escalation rate down to which a budget should last where nothing is known of the pair; and that of a second walk, as a
# fraction of where the first one failed.
EXPECTED_REACH, SECOND_REACH = 0.1, 0.7
# Shares of the error probability for the walks over the first and the second pool.
STAGE_SHARES = (0.85, 0.15)
# With fewer labels even a pair that little wins throughout is hardly certified.
MIN_BUDGET = 50


@dataclass(frozen=True)
class Deciding:
    """The images whose labels decide, in the order in which a walk reads them.

    Attributes:
        images: number of images in the pool, n; agreeing ones are among them.
        rows: int64 [d], their places in the table.
        enters: float32 [d], descending: the highest threshold at which each counts; infinite where it counts
            at every threshold.
    """

    images: int
    rows: Array
    enters: Array


@dataclass(frozen=True)
class PoolChoice:
    """How many images to draw for a budget of labels.

    Attributes:
        images: size of the pool.
        shares: float64 [k], starts and shares of the walk for it.
        labels: labels that the walk is expected to read at most, down to `deepest`.
        deepest: lowest escalation rate that the budget reaches.
    """

    images: int
    shares: Array
    labels: int
    deepest: float


@dataclass(frozen=True)
class Certificate:
    """What the labels proved.

    Attributes:
        threshold: the lowest threshold that is certified, or None: big only.
        lost: images at that threshold that big alone answers rightly; 0 without a threshold, like the next two.
        won: images that the cascade alone answers rightly.
        level: error probability of the test there.
        labels_used: labels that the walk read.
        stopped_at: escalation rate at which the walk ended: by a failed test, or at the last threshold it could reach.
        labels_ran_out: whether it ended at a missing label, so that more labels could prove more.
    """

    threshold: float | None
    lost: int
    won: int
    level: float
    labels_used: int
    stopped_at: float
    labels_ran_out: bool


def deciding(little_label: Array, big_label: Array, score: Array, stands: Array | None = None) -> Deciding:
    """Find the images whose labels decide, and put them in order.

    Args:
        little_label: int [n], little's classes.
        big_label: int [n], big's.
        score: float32 [n], what the gate compares with the threshold.
        stands: bool [n], images on which little's answer stands even after big has run (arbitration); None where
            big's answer is always taken.
    """
    differ = np.flatnonzero(little_label != big_label)
    enters = np.asarray(score, dtype=np.float32)[differ]
    if stands is not None:
        enters = np.where(stands[differ], np.float32(np.inf), enters)
    order = np.argsort(-enters, kind="stable")
    return Deciding(len(little_label), differ[order], enters[order])


def labels_needed(pool: Deciding, thresholds: Array) -> Array:
    """The label-free disagreement curve: how many labels a walk reads down to each threshold.

    Args:
        pool: the deciding images.
        thresholds: float32 [k], descending.

    Returns:
        int64 [k]; the first so many rows of `pool.rows` are the ones.
    """
    return np.searchsorted(-pool.enters, -np.asarray(thresholds, dtype=np.float32), side="right")


def outcome(pool: Deciding, little_label: Array, big_label: Array, labels: Array) -> Array:
    """Compare labels with both answers.

    Args:
        pool: the deciding images.
        little_label: int [n].
        big_label: int [n].
        labels: int [n], the true class, `NO_CLASS` where it is none that the models know, `NO_LABEL` where it is
            missing, `UNCLEAR` where nobody can tell: then it counts as lost, the worst case.

    Returns:
        int8 [d] in the pool's order: +1 lost, -1 won, 0 neither, `UNKNOWN` without a label.
    """
    little, big, true = little_label[pool.rows], big_label[pool.rows], labels[pool.rows]
    difference = ((big == true) | (true == UNCLEAR)).astype(np.int8) - (little == true).astype(np.int8)
    return np.where(true == NO_LABEL, UNKNOWN, difference)


def certificate(
    pool: Deciding, outcomes: Array, thresholds: Array, shares: Array, tolerance: float, error_rate: float = 0.05
) -> Certificate:
    """Walk as far as the labels go.

    Args:
        pool: the deciding images of a random sample.
        outcomes: int8 [d], see `outcome`.
        thresholds: float32 [k], descending, from other images.
        shares: float64 [k], from other images.
        tolerance: accuracy that may be lost, a fraction.
        error_rate: 1 - confidence level.

    Raises:
        TableError: if the first start cannot be tested because labels above it are missing.
    """
    needed = labels_needed(pool, thresholds)
    gaps = np.flatnonzero(outcomes == UNKNOWN)
    known = int(gaps[0]) if gaps.size else outcomes.size
    reached = int(np.count_nonzero(needed <= known))
    first = int(np.flatnonzero(shares)[0])
    if reached <= first:
        raise TableError(
            f"{np.count_nonzero(gaps < needed[first]):,} labels are missing: the walk starts at threshold "
            f"{thresholds[first]:.4g} and needs those of all {needed[first]:,} images on which the models differ "
            "there; 'littlebig label' lists them in a file"
        )
    lost, won = (np.append(0, np.cumsum(outcomes[:known] == sign))[needed[:reached]] for sign in (1, -1))
    proof = run_walk(lost, won, pool.images, tolerance, shares, error_rate)
    used, stopped_at = int(needed[proof.last]), float(WALK_RATES[proof.last])
    ran_out = reached < len(thresholds) and proof.last == reached - 1 and proof.place == proof.last
    if proof.place is None:
        return Certificate(None, 0, 0, 0.0, used, stopped_at, ran_out)
    found = int(lost[proof.place]), int(won[proof.place])
    return Certificate(float(thresholds[proof.place]), *found, proof.level, used, stopped_at, ran_out)


def choose_pool(
    differ: Array,
    budget: int,
    available: int,
    tolerance: float,
    reach: float = EXPECTED_REACH,
    error_rate: float = 0.05 * STAGE_SHARES[0],
) -> PoolChoice:
    """Choose the pool size for a budget of labels, so that it reaches down to an escalation rate.

    Args:
        differ: float64 [k], from `walk.disagreements_between` for images that are not in the pool.
        budget: labels that can be had.
        available: images that can be drawn.
        tolerance: accuracy that may be lost, a fraction.
        reach: escalation rate down to which the labels should last.
        error_rate: of the walk over this pool.

    Raises:
        TableError: if the budget does not reach the walk's first start, with the number that would do.
    """
    needed = np.cumsum(differ)
    place = int(np.argmin(np.abs(WALK_RATES - reach)))
    images = max(min(_rounded_down(budget / max(needed[place], 1 / available)), available), 1)
    shares = place_shares(differ, images, tolerance, error_rate)
    first = int(np.flatnonzero(shares)[0])
    reached = int(np.count_nonzero(needed * images <= budget))
    # The number that a random pool needs varies: three standard deviations more.
    start = float(needed[first] * images)
    enough = max(MIN_BUDGET, int(start + 3 * np.sqrt(start)) + 1)
    if reached <= first or budget < enough:
        raise TableError(f"a budget of {budget:,} labels certifies nothing: give at least {enough:,}")
    return PoolChoice(images, shares, round(float(needed[reached - 1] * images)), float(WALK_RATES[reached - 1]))


def second_pool(
    differ: Array,
    left: int,
    available: int,
    tolerance: float,
    stopped_at: float,
    error_rate: float = 0.05 * STAGE_SHARES[1],
) -> PoolChoice | None:
    """Choose a fresh pool for the labels that the first walk left, or None where that promises nothing.

    Args:
        differ: float64 [k], see `choose_pool`.
        left: labels left.
        available: images left.
        tolerance: accuracy that may be lost, a fraction.
        stopped_at: escalation rate of the threshold at which the first walk failed.
        error_rate: of the second walk.
    """
    if left < MIN_BUDGET:
        return None
    try:
        return choose_pool(differ, left, available, tolerance, SECOND_REACH * stopped_at, error_rate)
    except TableError:
        return None


def _rounded_down(number: float) -> int:
    """To two significant digits: a pool size is an estimate."""
    unit = 10 ** max(int(np.floor(np.log10(max(number, 1.0)))) - 1, 0)
    return int(number // unit * unit)
