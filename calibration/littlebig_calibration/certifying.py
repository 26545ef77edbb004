"""The certified rule: plan a walk on some images, then prove on others what their labels prove."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.disagreements import STAGE_SHARES, Certificate, certificate
from littlebig_calibration.outcomes import DecisionRule, Outcomes, deciding_rows, scores, stands
from littlebig_calibration.table import PLANNING
from littlebig_calibration.walk import disagreements_between, place_shares, walk_thresholds

MIN_PLANNING = 50
SPLIT_SEED = 0


@dataclass(frozen=True)
class Guarantee:
    """At this confidence level, the cascade loses no more accuracy against big than this.

    Attributes:
        max_accuracy_loss: the tolerance, a fraction, 0 or more.
        confidence_level: probability, over samples of the labelled images, that the statement is true.
    """

    max_accuracy_loss: float = 0.0
    confidence_level: float = 0.95

    @property
    def error_rate(self) -> float:
        """Probability that the statement is wrong, at most."""
        return round(1 - self.confidence_level, 12)


@dataclass(frozen=True)
class Pool:
    """Images that certify.

    Attributes:
        rows: a random sample.
        share: of the error probability.
    """

    rows: Outcomes
    share: float = 1.0


@dataclass(frozen=True)
class Certified:
    """The best of the pools' certificates.

    Attributes:
        certificate: with the lowest threshold; that of the last pool where none certifies any.
        pool: its pool.
        labels_used: labels that the walks over all pools read.
    """

    certificate: Certificate
    pool: Pool
    labels_used: int

    @property
    def threshold(self) -> float | None:
        """The lowest threshold that is certified, or None: big only."""
        return self.certificate.threshold


def split(rows: Outcomes, share: float) -> tuple[Outcomes, Outcomes]:
    """Split the images at random but repeatably; a larger share only adds images to the first part.

    Args:
        rows: all images, in an order that does not depend on the answers (tables are sorted by file name).
        share: the fraction of the first part; at least 50 images are taken.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
    size = max(MIN_PLANNING, round(share * len(rows)))
    return rows.take(order[:size]), rows.take(order[size:])


def divided(rows: Outcomes, part: Array) -> tuple[Outcomes, tuple[Pool, ...]]:
    """The parts that `littlebig label` drew.

    Args:
        rows: all images.
        part: int [n], see `PredictionTable`.
    """
    # Each pool has its share even where no other follows: whether one does depends on what this one found.
    pools = (Pool(rows.take(np.flatnonzero(part == place)), share) for place, share in enumerate(STAGE_SHARES, start=1))
    return rows.take(np.flatnonzero(part == PLANNING)), tuple(pool for pool in pools if len(pool.rows))


def certify(planning: Outcomes, pools: Sequence[Pool], rule: DecisionRule, guarantee: Guarantee) -> Certified:
    """Find the lowest threshold that is certified.

    Args:
        planning: images that give thresholds, starts and shares; their labels are not read.
        pools: one or more.
        rule: score and offset, chosen without the pools.
        guarantee: what is to be certified.

    Raises:
        TableError: if labels are missing before a walk's first test.
    """
    score = scores(planning, rule.score)
    standing = stands(planning, rule.offset)
    thresholds = walk_thresholds(score)
    differ = disagreements_between(score, planning.differ if standing is None else planning.differ & ~standing)
    found = []
    for pool in pools:
        error_rate = guarantee.error_rate * pool.share
        shares = place_shares(differ, len(pool.rows), guarantee.max_accuracy_loss, error_rate)
        order, seen = deciding_rows(pool.rows, rule)
        found.append(certificate(order, seen, thresholds, shares, guarantee.max_accuracy_loss, error_rate))
    used = sum(each.labels_used for each in found)
    proved = [place for place, each in enumerate(found) if each.threshold is not None]
    best = min(proved, key=lambda place: found[place].threshold or 0.0, default=len(found) - 1)
    return Certified(found[best], pools[best], used)
