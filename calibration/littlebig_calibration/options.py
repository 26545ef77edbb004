"""Whether an option (another score, arbitration) is worth using: only where tuning images make a gain likely.

The option that looks best on few images usually is not, and the images that chose it are missing where the promise
is proved. So the gain is cross-fitted: the best candidate of one half of the tuning images is compared with the plain
rule on the other half, and the other way round. A paired bootstrap of both halves gives the probability of a gain.
Below `LIKELY`, or with fewer than `MIN_DISCORDANT` images on which the models differ in being right, the plain rule
stays, with the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from littlebig_calibration._arrays import Array

LIKELY, MIN_DISCORDANT = 0.9, 60
# Escalation rates over which candidates are compared: where thresholds of useful pairs lie.
COMPARED_RATES = np.linspace(0.4, 0.05, 15)
RESAMPLES, SEED = 500, 0


@dataclass(frozen=True)
class Candidate:
    """A way to decide, seen on the tuning images.

    Attributes:
        name: for the explanation: `margin`, `arbitrate at 0.5` and so on.
        score: float32 [n], what is compared with the threshold.
        kept: int8 [n], +1 where keeping the image loses a right answer of big's, -1 where it gains one, else 0.
        anyway: int8 [n], the same for what is lost or gained at every threshold.
    """

    name: str
    score: Array
    kept: Array
    anyway: Array


@dataclass(frozen=True)
class OptionChoice:
    """Which candidate to use, and why.

    Attributes:
        place: index of the candidate; 0 is the plain rule.
        probability: bootstrap probability that the option gains anything, 0.0 where it was not computed.
        reason: a sentence for the report.
    """

    place: int
    probability: float
    reason: str


def choose_option(candidates: Sequence[Candidate], certifying: int, confidence_level: float = 0.95) -> OptionChoice:
    """Take the best candidate if it probably beats the plain rule, else the plain rule.

    Args:
        candidates: the plain rule first; all seen on the same n tuning images, in random order.
        certifying: number of images that will certify; weighs noise against loss.
        confidence_level: the promise's.
    """
    plain = candidates[0]
    discordant = int(np.count_nonzero(plain.kept + plain.anyway))
    if len(candidates) == 1:
        return OptionChoice(0, 0.0, f"{plain.name}: nothing else was allowed")
    if discordant < MIN_DISCORDANT:
        found = f"the models differ in being right on {discordant} tuning images, {MIN_DISCORDANT} are needed"
        return OptionChoice(0, 0.0, f"{plain.name}: {found} to compare options")
    error = float(special.ndtri(confidence_level)) / np.sqrt(certifying)
    tables = [_table(candidate) for candidate in candidates]
    size = len(plain.score)
    draw = np.random.default_rng(SEED)
    gains = np.zeros(RESAMPLES)
    for fold in (0, 1):
        choosing, judging = (np.flatnonzero(np.arange(size) % 2 == part) for part in (fold, 1 - fold))
        best = int(np.argmin([_cost(table[:, choosing], error) for table in tables]))
        weights = draw.multinomial(judging.size, np.full(judging.size, 1 / judging.size), RESAMPLES)
        costs = [_resampled_costs(tables[place][:, judging], weights, error) for place in (0, best)]
        gains += costs[0] - costs[1]
    probability = float(np.mean(gains > 0))
    best = int(np.argmin([_cost(table, error) for table in tables]))
    if best and probability >= LIKELY:
        return OptionChoice(best, probability, f"{candidates[best].name}: gains with probability {probability:.0%}")
    return OptionChoice(
        0, probability, f"{plain.name}: a gain by other options has a probability of {probability:.0%} only"
    )


def _table(candidate: Candidate) -> Array:
    """+1 lost, -1 won, int8 [rates, n], at the compared escalation rates."""
    thresholds = np.quantile(candidate.score, COMPARED_RATES, method="lower")
    return np.asarray((candidate.score >= thresholds[:, None]) * candidate.kept + candidate.anyway)


def _cost(table: Array, error: float) -> float:
    """Loss plus its margin of error, averaged over the rates."""
    return float(np.mean(table.mean(axis=1) + error * np.sqrt(np.abs(table).mean(axis=1))))


def _resampled_costs(table: Array, weights: Array, error: float) -> Array:
    """The same for each row of weights, float64 [resamples]."""
    images = weights.sum(axis=1, keepdims=True)
    loss, rate = (weights.astype(np.float64) @ values.T / images for values in (table, np.abs(table)))
    return np.asarray((loss + error * np.sqrt(rate)).mean(axis=1))
