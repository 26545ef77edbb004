"""How many labels a proof would probably need, where these did not suffice. An estimate, and called one."""

from __future__ import annotations

import numpy as np
from scipy import special

from littlebig_calibration.certify import STARTS, Grid, Promise, discordant
from littlebig_calibration.outcomes import Decision, Outcomes

# The estimate aims at a proof in four of five draws.
POWER = 0.8


def labels_needed(
    certifying: Outcomes, decision: Decision, grid: Grid, promise: Promise, tuning_share: float
) -> int | None:
    """Estimate the number of labels for which some threshold would be certified in four of five draws.

    The normal approximation of the paired test: q (z_level + z_power)^2 / (tolerance - loss)^2 at the
    threshold where that is smallest, taking the loss and the discordance q measured here for the true ones.

    Args:
        certifying: the images on which nothing could be proved.
        decision: gate and offset.
        grid: the thresholds tried.
        promise: what was to be proved.
        tuning_share: the fraction of all labels that goes into tuning.

    Returns:
        The number, rounded up to two digits; None where even the measured loss is above the tolerance
        everywhere.
    """
    images = len(certifying)
    lost, won = discordant(certifying, decision, grid.thresholds)
    room = promise.max_accuracy_loss - (lost - won) / images
    useful = room > 0
    if not useful.any():
        return None
    level = (1 - promise.confidence_level) * max(share for _, share in STARTS)
    quantiles = special.ndtri(1 - level) + special.ndtri(POWER)
    rate = np.maximum(lost + won, 1) / images
    number = float(np.min((rate * quantiles**2 / np.square(np.where(useful, room, 1.0)))[useful])) / (1 - tuning_share)
    number = max(number, 1.2 * images / (1 - tuning_share))
    unit = 10 ** max(int(np.floor(np.log10(number))) - 1, 0)
    return int(np.ceil(number / unit) * unit)
