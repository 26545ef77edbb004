"""Intervals of rates and of paired differences, and the exact distribution below them."""

import numpy as np
from scipy import special

from littlebig_calibration._arrays import Array


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


def paired_interval(lost: int, won: int, images: int, confidence_level: float = 0.95) -> tuple[float, float]:
    """The interval of a paired difference in accuracy, (won - lost) / images (Agresti and Min 2005).

    Wald's interval after half an image is added to each of the four cells; it describes, and guarantees nothing.

    Args:
        lost: images that the second answers rightly and the first wrongly.
        won: the other way round.
        images: all images.
        confidence_level: 0.95 for 95 %.

    Returns:
        Lower and upper end, in [-1, 1].
    """
    total, difference = images + 2, won - lost
    spread = float(special.ndtri((1 + confidence_level) / 2)) * np.sqrt(lost + won + 1 - difference**2 / total)
    return max(float(difference - spread) / total, -1.0), min(float(difference + spread) / total, 1.0)


def binomial_cdf(hits: Array, trials: Array, rate: Array | float) -> Array:
    """P(X <= hits) for X ~ Binomial(trials, rate), elementwise and exact; hits <= trials."""
    # SciPy leaves the regularised incomplete beta function undefined where hits = trials; the probability is 1 there.
    tail = special.betainc(np.maximum(trials - hits, 1), hits + 1.0, 1.0 - np.asarray(rate))
    return np.where(hits >= trials, 1.0, tail)
