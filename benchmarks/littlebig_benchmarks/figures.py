"""From rounds to figures: medians with intervals, bounds, ratios. Refuses figures of an unstable machine.

A ratio is taken within each round, between contenders that met the same machine, and its median over the rounds: drift
from round to round cancels.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from littlebig_benchmarks.rounds import Measures
from littlebig_benchmarks.scenario import Stability

# Of a figure's interval. Five rounds reach it with all of them, eight without the lowest and the highest.
CONFIDENCE = 0.9


@dataclass(frozen=True)
class Figure:
    """One number of the report.

    Attributes:
        values: one per round.
        unstable: why the figure is not printed; empty if it is.
    """

    values: tuple[float, ...]
    unstable: str = ""

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """The confidence interval of the median; see `interval`."""
        return interval(self.values)

    def text(self, digits: int = 1, *, percent: bool = False) -> str:
        """`median (interval)`, or why there is no figure."""
        if self.unstable:
            return f"unstable: {self.unstable}"
        low, high = self.interval
        first, middle, last = (
            f"{value:.{digits}%}" if percent else f"{value:,.{digits}f}" for value in (low, self.median, high)
        )
        return f"{middle} ({first} to {last})"


def interval(values: Sequence[float]) -> tuple[float, float]:
    """A distribution-free confidence interval of the median, at `CONFIDENCE`.

    The true median lies below the k-th lowest of n rounds as rarely as n coins show fewer than k heads (W. J. Conover,
    Practical Nonparametric Statistics, on intervals for quantiles), so as many of the lowest and highest values are
    left out as the confidence allows. Fewer than five rounds do not reach it; the interval is then their range.

    Args:
        values: one per round, at least one.

    Returns:
        Its lower and upper end.
    """
    ascending, left_out = sorted(values), 0
    while _confidence(len(values), left_out + 1) >= CONFIDENCE:
        left_out += 1
    return ascending[left_out], ascending[-1 - left_out]


def spread(values: Sequence[float]) -> float:
    """Width of the interval over |median|; 0 where all values are 0."""
    low, high = interval(values)
    middle = abs(statistics.median(values))
    return (high - low) / middle if middle else (0.0 if low == high else float("inf"))


def _confidence(rounds: int, left_out: int) -> float:
    """The probability that the true median lies within the rounds without the `left_out` lowest and highest."""
    return 1.0 - 2.0 * 0.5**rounds * sum(math.comb(rounds, heads) for heads in range(left_out + 1))


def bound(little: float, big: float, escalation: float) -> float:
    """Images per second of a cascade whose gate costs nothing: 1 / (1/little + r/big).

    Args:
        little: images per second of little alone.
        big: images per second of big alone.
        escalation: fraction of images that big sees, r.
    """
    return 1.0 / (1.0 / little + escalation / big)


def figure(values: Sequence[float], sources: Sequence[Sequence[Measures]], stability: Stability) -> Figure:
    """A figure from its value in each round.

    Args:
        values: one per round.
        sources: the rounds of every case that the values come from, for the load of other processes.
        stability: when it is refused.
    """
    other = [run.get("other_load", 0.0) for runs in sources for run in runs]
    if other and statistics.median(other) > stability.other_load:
        return Figure(
            tuple(values),
            f"other processes used {statistics.median(other):.0%} of the machine (at most {stability.other_load:.0%})",
        )
    if spread(values) > stability.spread:
        return Figure(
            tuple(values),
            f"the median of {len(values)} rounds is known to {spread(values):.0%} only "
            f"(at most {stability.spread:.0%})",
        )
    return Figure(tuple(values))


def of_measure(runs: Sequence[Measures], name: str, stability: Stability) -> Figure:
    """One measure of one case."""
    return figure([run[name] for run in runs], [runs], stability)


def ratio(above: Sequence[Measures], below: Sequence[Measures], name: str, stability: Stability) -> Figure:
    """One measure of one case over the same of another, round by round."""
    values = [ours[name] / theirs[name] for ours, theirs in zip(above, below, strict=True)]
    return figure(values, [above, below], stability)


def exceeds_bound(shares: Iterable[Figure]) -> bool:
    """Whether a contender is faster than the bound: then the bound, from stages measured alone, is an estimate.

    Args:
        shares: each contender's share of the bound.
    """
    return any(not share.unstable and share.median > 1 for share in shares)


def share_of_bound(
    cascade: Sequence[Measures], little: Sequence[Measures], big: Sequence[Measures], stability: Stability
) -> tuple[Figure, Figure]:
    """A cascade's throughput over its bound, and the bound; each round with its own stages and escalation rate."""
    rate = "images_per_second"
    bounds = [
        bound(of_little[rate], of_big[rate], of_cascade["escalation"])
        for of_little, of_big, of_cascade in zip(little, big, cascade, strict=True)
    ]
    shares = [run[rate] / limit for run, limit in zip(cascade, bounds, strict=True)]
    sources = [cascade, little, big]
    return figure(shares, sources, stability), figure(bounds, sources, stability)
