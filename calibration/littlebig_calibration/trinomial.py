"""Exact unconditional test of the paired difference in accuracy, for any tolerance from 0 up.

n images are drawn at random. On each of them big alone is right (lost, probability a), the cascade alone is right (won,
probability b), or both are right or wrong. Lost and won counts, L and W, are trinomial. The hypothesis is that the
cascade loses at least the tolerance e: a - b >= e. Small values of

    S = (L - W - n e) / sqrt(max(M, n e)),  M = L + W

speak against it. S is studentised: under the hypothesis' edge a - b = e the variance of L - W is n (q - e^2), where
q = a + b is the discordance rate and M / n estimates it. Tango's score statistic (1998) estimates q from L and W under
the constraint; S is simpler, needs no iteration to be inverted, and the size below leaves little to gain.

**P-value.** On the edge only q is unknown. Berger and Boos (1994) take the supremum of P(S <= observed) over a
confidence set C(M) for q, and add the set's error probability g:

    p = sup over q in C(M) of P_q(S <= s)  +  g

It is valid: with the true q in C(M), p is at least P_q(S <= s) + g, which is below the level with probability
(level - g) at most; q is outside with probability g. It covers a - b > e too: the rejection region {S <= s} grows when
a lost image becomes a neutral or a won one, and moving probability from a to b at the same q does just that.

**The supremum is a bound, not a grid search.** P_q is computed at knots of q. Between two knots at distance h it
exceeds the larger one by at most h^2 / 8 max |P''|, and |P''| <= sqrt(2 P (1 - P)) I(q) for any event: P'' is the
event's covariance with the second-order score, whose standard deviation is at most sqrt(2) I(q), I being the Fisher
information of n images. Knots are spaced by h^2 I = `SPACING`^2. Sums over M leave out what Bernstein's inequality
bounds by `OMITTED`, which is added. So the level is kept for every q, not only at the knots.

**At tolerance 0** this replaces McNemar's exact test, which is valid as well. McNemar's is conditional on M and pays
for the few levels that it can attain: at M = 12 the best of them under 5 % is 1.9 %, at M = 40 it is 4.0 %. The
unconditional test averages over M: with 1,000 images its size is 4.3 to 4.9 % for discordance rates from 0.5 %,
McNemar's 1.2 to 4.4 %.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

from littlebig_calibration._arrays import Array
from littlebig_calibration.exact import binomial_cdf

# Share of the error probability spent on the confidence set for the discordance rate.
NUISANCE_SHARE = 1 / 200
# Distance of neighbouring knots, in standard errors of the discordance rate; wider where there are many.
SPACING, WIDE_SPACING, MANY_IMAGES = 0.1, 0.15, 20_000
# Probability that the sums over the number of discordant images leave out, at most; it is added to every p-value.
OMITTED = 1e-7
# First knot after the lowest rate, in images; up to there the total variation distance is the bound.
FIRST_STEP = 1e-4
# Nothing is certified where more than this fraction of all images might be discordant.
MAX_DISCORDANCE = 0.95
# First statistic tried at a knot, as a multiple of the normal quantile: it passes nearly always.
GUESS = 1.05
# Brackets of critical values are halved down to this width; narrower ones are left alone.
RESOLUTION = 2e-3


@dataclass(frozen=True)
class _Brackets:
    """What is known of the critical values at one level, float64 per knot.

    Attributes:
        passing: largest statistic whose probability is known to be allowed.
        failing: smallest statistic whose probability is known to be too large.
        allowed: largest probability for which the bound between this knot and both neighbours keeps the level.
    """

    passing: Array
    failing: Array
    allowed: Array


class TrinomialTest:
    """The test for one number of images and one tolerance. What it computes is kept for the next question.

    Args:
        images: number of images drawn, n; agreeing ones are among them.
        tolerance: accuracy that may be lost, a fraction, 0 or more.
        error_rate: 1 - confidence level; sets the probability spent on the discordance rate.
    """

    def __init__(self, images: int, tolerance: float, error_rate: float = 0.05) -> None:
        """Place the knots; no probability is computed yet."""
        if images < 1 or not 0 <= tolerance < MAX_DISCORDANCE or not 0 < error_rate < 1:
            raise ValueError(f"no test for {images} images, tolerance {tolerance}, error rate {error_rate}")
        self.images, self.tolerance = images, tolerance
        self.nuisance = error_rate * NUISANCE_SHARE
        self._log_factorial = special.gammaln(np.arange(images + 1) + 1.0)
        self._knots, self._curvature = _place_knots(images, tolerance)
        self._brackets: dict[float, _Brackets] = {}
        self._windows: dict[int, tuple[int, int] | None] = {}

    def statistic(self, lost: int, won: int) -> float:
        """S for counts of lost and won images; 0 where there is nothing to judge."""
        expected = self.images * self.tolerance
        return (lost - won - expected) / (math.sqrt(max(lost + won, expected)) or 1.0)

    def p_value(self, lost: int, won: int) -> float:
        """Upper bound of the supremum, plus the nuisance probability; valid at every level above that.

        Args:
            lost: images that big alone answers rightly.
            won: images that the cascade alone answers rightly.
        """
        statistic = self.statistic(lost, won)
        window = self._window(lost + won)
        if statistic >= 0 or window is None:
            return 1.0
        first, last = window
        ends = np.array([self._probability(knot, statistic) for knot in range(first, last + 1)])
        bounds = _between(np.maximum(ends[:-1], ends[1:]), self._curvature[first:last])
        return float(min(bounds.max() + self.nuisance, 1.0))

    def certifies(self, lost: int, won: int, level: float) -> bool:
        """Whether the p-value is at or below a level; much faster than the p-value when asked many times.

        Args:
            lost: images that big alone answers rightly.
            won: images that the cascade alone answers rightly.
            level: the error probability to test at, above 0.
        """
        left = level - self.nuisance
        statistic = self.statistic(lost, won)
        if left <= OMITTED or statistic >= 0:
            return False
        window = self._window(lost + won)
        if window is None:
            return False
        inside = slice(window[0], window[1] + 1)
        if level not in self._brackets:
            ends = np.full(self._knots.size, np.inf)
            per_interval = _allowed(left, self._curvature)
            self._brackets[level] = _Brackets(-ends, ends, np.minimum(per_interval, np.r_[np.inf, per_interval[:-1]]))
        brackets = self._brackets[level]
        if (brackets.failing[inside] <= statistic).any():
            return False
        open_knots = window[0] + np.flatnonzero(brackets.passing[inside] < statistic)
        if not open_knots.size:
            return True
        guess = max(statistic, float(special.ndtri(left)) * GUESS)
        # Knots in the middle are where a failure is likeliest to show.
        for knot in sorted(open_knots.tolist(), key=lambda knot: abs(2 * knot - window[0] - window[1])):
            if not self._passes(knot, statistic, guess, brackets):
                return False
        return True

    def _passes(self, knot: int, statistic: float, guess: float, brackets: _Brackets) -> bool:
        """Whether a statistic's probability is allowed at a knot; the bracket is halved until it decides."""
        while brackets.passing[knot] < statistic < brackets.failing[knot]:
            passing, failing = brackets.passing[knot], brackets.failing[knot]
            if passing == -np.inf and guess < failing:
                value = guess
            elif RESOLUTION < failing - passing < np.inf:
                value = (passing + failing) / 2
            else:
                value = statistic
            if self._probability(knot, value) <= brackets.allowed[knot]:
                brackets.passing[knot] = value
            else:
                brackets.failing[knot] = value
        return bool(statistic <= brackets.passing[knot])

    def _window(self, discordant: int) -> tuple[int, int] | None:
        """First and last knot around the confidence set for the discordance rate; None where nothing is certified."""
        if discordant not in self._windows:
            self._windows[discordant] = self._find_window(discordant)
        return self._windows[discordant]

    def _find_window(self, discordant: int) -> tuple[int, int] | None:
        rest, tail = self.images - discordant, self.nuisance / 2
        high = special.betaincinv(discordant + 1.0, rest, 1 - tail) if rest else 1.0
        low = special.betaincinv(float(discordant), rest + 1.0, tail) if discordant else 0.0
        if high > self._knots[-1]:
            return None
        if high < self.tolerance:
            # So few are discordant that the hypothesis is outside the set: its edge is the worst case left.
            return 0, 1
        first = max(int(np.searchsorted(self._knots, low, side="right")) - 1, 0)
        return first, max(int(np.searchsorted(self._knots, high, side="left")), first + 1)

    def _probability(self, knot: int, statistic: float) -> float:
        """P(S <= statistic), statistic < 0, on the hypothesis' edge at a knot's discordance rate, rounded up."""
        n, q, e = self.images, float(self._knots[knot]), self.tolerance
        if q == 0:
            return 0.0
        low, high = _probable_range(n, q)
        m = np.arange(low, high + 1)
        # The largest number of lost images that is in the region at each m; the slack lets ties in.
        most = np.floor((m + n * e + statistic * np.sqrt(np.maximum(m, n * e))) / 2 + 1e-9)
        most[m == 0] = 0 if n * e >= statistic**2 else -1
        m, most = m[most >= 0], most[most >= 0]
        factorial = self._log_factorial
        log_weight = factorial[n] - factorial[m] - factorial[n - m] + m * np.log(q) + (n - m) * np.log1p(-q)
        tail = binomial_cdf(np.minimum(most, m), m, min(0.5 + e / (2 * q), 1.0))
        return float(np.exp(log_weight) @ tail) + OMITTED


@lru_cache(maxsize=64)
def trinomial_test(images: int, tolerance: float, error_rate: float = 0.05) -> TrinomialTest:
    """The test, shared by all who ask for the same one: resampled walks ask hundreds of times."""
    return TrinomialTest(images, tolerance, error_rate)


def loss_upper_limit(lost: int, won: int, images: int, confidence_level: float) -> float:
    """The upper confidence limit of the accuracy loss at one threshold fixed beforehand, to 2e-5.

    It is the smallest tolerance that the test certifies.

    Args:
        lost: images that big alone answers rightly.
        won: images that the cascade alone answers rightly.
        images: all images.
        confidence_level: 0.95 for 95 %.

    Returns:
        A fraction in [0, 1].
    """
    error_rate = 1 - confidence_level

    def certified(tolerance: float) -> bool:
        return TrinomialTest(images, tolerance, error_rate).certifies(lost, won, error_rate)

    if certified(0.0):
        return 0.0
    # Four standard errors above the estimate nearly always suffice.
    likely = (max(lost - won, 0) + 4 * math.sqrt(lost + won + 1)) / images
    low, high = (0.0, likely) if likely < MAX_DISCORDANCE and certified(likely) else (0.0, 1.0)
    while high - low > 2e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if middle >= MAX_DISCORDANCE or certified(middle) else (middle, high)
    return high


def _place_knots(n: int, e: float) -> tuple[Array, Array]:
    """Discordance rates at which probabilities are computed, and c = h^2 sqrt(2) max I / 8 between neighbours.

    The first interval has c = -(its total variation), which `_between` and `_allowed` take as it is.
    """
    spacing = SPACING if n <= MANY_IMAGES else WIDE_SPACING

    def information(q: float) -> float:
        return n * (q / ((q - e) * (q + e)) + 1 / (1 - q))

    knots, curvature = [e, e + FIRST_STEP / n], [-FIRST_STEP]
    while knots[-1] < MAX_DISCORDANCE:
        q = knots[-1]
        step = spacing / np.sqrt(information(q))
        curvature.append(step**2 * np.sqrt(2) * max(information(q), information(min(q + step, 0.999))) / 8)
        knots.append(q + step)
    return np.array(knots), np.array([*curvature, 0.0])


def _between(ends: Array, curvature: Array) -> Array:
    """Bound of the probability between two knots: P <= end + c sqrt(P), solved for P."""
    smooth = np.square((curvature + np.sqrt(np.square(curvature) + 4 * ends)) / 2)
    return np.where(curvature < 0, ends - curvature, smooth)


def _allowed(level: float, curvature: Array) -> Array:
    """The largest probability at a knot for which `_between` is at most the level."""
    return np.where(curvature < 0, level + curvature, level - curvature * np.sqrt(level))


def _probable_range(n: int, q: float) -> tuple[int, int]:
    """Numbers of discordant images outside of which less than `OMITTED` lies (Bernstein's inequality)."""
    depth = np.log(2 / OMITTED)
    reach = depth / 3 + np.sqrt(np.square(depth / 3) + 2 * n * q * (1 - q) * depth)
    return max(int(np.floor(n * q - reach)), 0), (min(int(np.ceil(n * q + reach)), n) if q > 0 else 0)
