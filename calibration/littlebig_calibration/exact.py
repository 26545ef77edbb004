"""Exact tests and intervals for counts of images. docs/calibration.md gives formulas and sources."""

from __future__ import annotations

import numpy as np
from scipy import special

from littlebig_calibration._arrays import Array

# Share of the error probability spent on bounding the nuisance parameter, the rate of discordant images (Berger and
# Boos 1994).
NUISANCE_SHARE = 1 / 200


def clopper_pearson(hits: int, images: int, confidence_level: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a rate (Clopper and Pearson 1934).

    Args:
        hits: images that count, 0 to `images`.
        images: all images, at least 1.
        confidence_level: 0.95 for 95 %.

    Returns:
        Lower and upper end.
    """
    tail = (1 - confidence_level) / 2
    low = special.betaincinv(hits, images - hits + 1, tail) if hits > 0 else 0.0
    high = special.betaincinv(hits + 1, images - hits, 1 - tail) if hits < images else 1.0
    return float(low), float(high)


def binomial_cdf(hits: Array, trials: Array, rate: Array | float) -> Array:
    """P(X <= hits) for X ~ Binomial(trials, rate), elementwise and exact; hits <= trials."""
    # SciPy leaves the regularised incomplete beta function undefined where hits = trials; the probability is 1 there.
    tail = special.betainc(np.maximum(trials - hits, 1), hits + 1.0, 1.0 - np.asarray(rate))
    return np.where(hits >= trials, 1.0, tail)


def paired_p_values(lost: Array, won: Array, images: int, max_accuracy_loss: float, error_rate: float) -> Array:
    """P-values of the null hypothesis "the cascade loses more than the tolerance against big".

    Given the number m = lost + won of discordant images, `lost` is binomial. At tolerance 0 its rate is at least 1/2
    under the null hypothesis: McNemar's exact one-sided test. At tolerance e > 0 it is at least 1/2 + e/(2q), where q
    is the rate of discordant images. q is replaced by its exact upper confidence limit at a small error probability,
    which is added to the p-value. The limit depends on m alone, so the test is valid conditionally on m, and therefore
    for every q.

    Args:
        lost: int [k], images that big answers correctly and the cascade wrongly, at k thresholds.
        won: int [k], the other way round.
        images: all images.
        max_accuracy_loss: the tolerance, a fraction, 0 or more.
        error_rate: 1 - confidence level; determines the probability spent on q.

    Returns:
        float64 [k].
    """
    lost, won = np.asarray(lost), np.asarray(won)
    discordant = lost + won
    if max_accuracy_loss <= 0:
        return binomial_cdf(lost, discordant, 0.5)
    spent = error_rate * NUISANCE_SHARE
    rest = np.maximum(images - discordant, 1)
    limit = np.where(discordant >= images, 1.0, special.betaincinv(discordant + 1.0, rest, 1 - spent))
    rate = 0.5 + max_accuracy_loss / (2 * limit)
    # A rate above 1 means that so many discordant images cannot lose more than the tolerance.
    tail = np.where(rate > 1, 0.0, binomial_cdf(lost, discordant, np.minimum(rate, 1.0)))
    return np.minimum(tail + spent, 1.0)


def loss_upper_limit(lost: int, won: int, images: int, confidence_level: float) -> float:
    """The upper confidence limit of the accuracy loss at one threshold fixed beforehand, to 1e-5.

    It is the smallest tolerance that the paired test certifies.

    Args:
        lost: images that big answers correctly and the cascade wrongly.
        won: the other way round.
        images: all images.
        confidence_level: 0.95 for 95 %.

    Returns:
        A fraction in [0, 1].
    """
    error_rate = 1 - confidence_level

    def certified(tolerance: float) -> bool:
        p_values = paired_p_values(np.array([lost]), np.array([won]), images, tolerance, error_rate)
        return bool(p_values[0] <= error_rate)

    if certified(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if certified(middle) else (middle, high)
    return high
