"""Estimates how many labels a certificate probably needs, where those given did not suffice."""

from __future__ import annotations

import numpy as np
from scipy import special

from littlebig_calibration.fixed_sequence import STARTS, Grid, Guarantee, discordant_counts
from littlebig_calibration.outcomes import DecisionRule, Outcomes

# Probability with which the estimated number of labels should give a certificate.
POWER = 0.8


def labels_needed(
    certifying: Outcomes, rule: DecisionRule, grid: Grid, guarantee: Guarantee, tuning_share: float
) -> int | None:
    """Estimate how many labels certify some threshold with a probability of 80 %.

    The normal approximation of the paired test's power: q (z_level + z_power)² / (tolerance - loss)², at the threshold
    where that is smallest. Loss and discordance rate q are those measured here.

    Args:
        certifying: the images on which no threshold was certified.
        rule: score and offset.
        grid: the thresholds tested.
        guarantee: what was to be certified.
        tuning_share: the fraction of all labels that goes into tuning.

    Returns:
        The number, rounded up to two digits; None where the measured loss is above the tolerance at all thresholds.
    """
    images = len(certifying)
    lost, won = discordant_counts(certifying, rule, grid.thresholds)
    slack = guarantee.max_accuracy_loss - (lost - won) / images
    useful = slack > 0
    if not useful.any():
        return None
    level = (1 - guarantee.confidence_level) * max(share for _, share in STARTS)
    quantiles = special.ndtri(1 - level) + special.ndtri(POWER)
    rate = np.maximum(lost + won, 1) / images
    number = float(np.min((rate * quantiles**2 / np.square(np.where(useful, slack, 1.0)))[useful])) / (1 - tuning_share)
    number = max(number, 1.2 * images / (1 - tuning_share))
    unit = 10 ** max(int(np.floor(np.log10(number))) - 1, 0)
    return int(np.ceil(number / unit) * unit)
