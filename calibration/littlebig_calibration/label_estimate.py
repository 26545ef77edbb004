"""Estimates how many labels a certificate probably needs, where those given did not suffice."""

import numpy as np
from scipy import special

from littlebig_calibration.certifying import Guarantee
from littlebig_calibration.curve import Curve
from littlebig_calibration.walk import STARTS

# Probability with which the estimated number of images should give a certificate.
POWER = 0.8
MOST_ESCALATED = 0.95


def images_needed(curve: Curve, guarantee: Guarantee) -> int | None:
    """Estimate how many images certify some threshold with a probability of 80 %.

    The normal approximation of the paired test's power: q (z_level + z_power)² / (tolerance - loss)², at the threshold
    where that is smallest. Loss and discordance rate q are those measured here.

    Args:
        curve: of the images on which no threshold was certified.
        guarantee: what was to be certified.

    Returns:
        The number, rounded up to two digits; None where the measured loss is above the tolerance at all thresholds.
    """
    # Where nearly all images are escalated, a handful of images would decide.
    some = curve.escalated <= MOST_ESCALATED * curve.images
    lost, won = curve.lost[some], curve.won[some]
    slack = guarantee.max_accuracy_loss - (lost - won) / curve.images
    useful = slack > 0
    if not useful.any():
        return None
    quantiles = special.ndtri(1 - guarantee.error_rate * STARTS[0][1]) + special.ndtri(POWER)
    rate = np.maximum(lost + won, 1) / curve.images
    number = float(np.min((rate * quantiles**2 / np.square(np.where(useful, slack, 1.0)))[useful]))
    number = max(number, 1.2 * curve.images)
    unit = 10 ** max(int(np.floor(np.log10(number))) - 1, 0)
    return int(np.ceil(number / unit) * unit)
