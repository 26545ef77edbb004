"""Exact tests and intervals for counts of images. Formulas and sources are in docs/calibration.md."""

from __future__ import annotations

import numpy as np
from scipy import special

from littlebig_calibration._arrays import Array

# Share of the error probability spent on bounding how many images are discordant at all (Berger and Boos
# 1994).
NUISANCE_SHARE = 1 / 200


def clopper_pearson(hits: int, images: int, confidence_level: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval for a rate (Clopper and Pearson 1934).

    Args:
        hits: images for which it was true, 0 to `images`.
        images: at least 1.
        confidence_level: 0.95 for 95 %.

    Returns:
        Lower and upper end.
    """
    tail = (1 - confidence_level) / 2
    low = special.betaincinv(hits, images - hits + 1, tail) if hits > 0 else 0.0
    high = special.betaincinv(hits + 1, images - hits, 1 - tail) if hits < images else 1.0
    return float(low), float(high)


def binomial_tail(hits: Array, trials: Array, rate: Array | float) -> Array:
    """P(X <= hits) for X ~ Binomial(trials, rate), elementwise and exact; hits <= trials."""
    # The regularised incomplete beta function is 1 where every outcome counts, which SciPy leaves undefined.
    tail = special.betainc(np.maximum(trials - hits, 1), hits + 1.0, 1.0 - np.asarray(rate))
    return np.where(hits >= trials, 1.0, tail)


def paired_p_values(lost: Array, won: Array, images: int, max_accuracy_loss: float, error_rate: float) -> Array:
    """P-values for "the cascade loses more than the tolerance against big", from discordant images.

    Given the number m = lost + won of discordant images, `lost` is binomial with the probability that a
    discordant image is a lost one. At tolerance 0 that is at least 1/2 under the hypothesis: McNemar's exact
    one-sided test. At tolerance e > 0 it is at least 1/2 + e/(2q), where q is the rate of discordant images.
    q is bounded from above by its exact upper confidence limit at a fixed small error probability, which is
    added to the p-value. The limit depends on m alone, so the test stays valid conditionally on m, and
    therefore for every q.

    Args:
        lost: int [k], images that big answers rightly and the cascade wrongly, at k thresholds.
        won: int [k], the other way round.
        images: how many images were drawn.
        max_accuracy_loss: the tolerance, a fraction, 0 or more.
        error_rate: 1 - confidence level; sets the probability spent on q.

    Returns:
        float64 [k].
    """
    lost, won = np.asarray(lost), np.asarray(won)
    discordant = lost + won
    if max_accuracy_loss <= 0:
        return binomial_tail(lost, discordant, 0.5)
    spent = error_rate * NUISANCE_SHARE
    rest = np.maximum(images - discordant, 1)
    limit = np.where(discordant >= images, 1.0, special.betaincinv(discordant + 1.0, rest, 1 - spent))
    rate = 0.5 + max_accuracy_loss / (2 * limit)
    # Where even the largest possible discordance is below the tolerance, the hypothesis is impossible.
    tail = np.where(rate > 1, 0.0, binomial_tail(lost, discordant, np.minimum(rate, 1.0)))
    return np.minimum(tail + spent, 1.0)


def loss_bound(lost: int, won: int, images: int, confidence_level: float) -> float:
    """The smallest tolerance (to 1e-5) that the paired test certifies for one threshold fixed beforehand.

    Args:
        lost: images that big answers rightly and the cascade wrongly.
        won: the other way round.
        images: how many images were drawn.
        confidence_level: 0.95 for 95 %.

    Returns:
        A fraction in [0, 1].
    """
    error_rate = 1 - confidence_level

    def certified(tolerance: float) -> bool:
        values = paired_p_values(np.array([lost]), np.array([won]), images, tolerance, error_rate)
        return bool(values[0] <= error_rate)

    if certified(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if certified(middle) else (middle, high)
    return high
