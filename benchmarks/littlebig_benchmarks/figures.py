"""From rounds to figures: medians with their intervals, bounds, ratios. Refuses what an unstable machine gave.

A ratio is taken within each round, between contenders that met the same machine, and the median is of these ratios:
what drifts from round to round cancels.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
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
        unstable: why it is not to be printed; empty if it is.
    """

    values: tuple[float, ...]
    unstable: str = ""

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the median of many more such rounds would lie; see `interval`."""
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
    """A confidence interval of the median that supposes nothing about how the rounds scatter.

    The true median lies below the k-th lowest of n rounds as rarely as n coins show fewer than k heads (W. J. Conover,
    Practical Nonparametric Statistics, on intervals for quantiles). So the lowest and the highest are left out, as many
    as `CONFIDENCE` allows. Fewer than five rounds do not reach it: the interval is their range then.

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
    """Width of the interval over |median|; 0 where all are 0."""
    low, high = interval(values)
    middle = abs(statistics.median(values))
    return (high - low) / middle if middle else (0.0 if low == high else float("inf"))


def _confidence(rounds: int, left_out: int) -> float:
    """That the true median lies among the rounds without as many of the lowest and of the highest."""
    return 1.0 - 2.0 * 0.5**rounds * sum(math.comb(rounds, heads) for heads in range(left_out + 1))


def bound(little: float, big: float, escalation: float) -> float:
    """Images per second of a cascade that costs nothing but its stages: 1 / (1/little + r/big).

    Args:
        little: images per second of little alone.
        big: images per second of big alone.
        escalation: share of images that big sees, r.
    """
    return 1.0 / (1.0 / little + escalation / big)


def figure(values: Sequence[float], sources: Sequence[Sequence[Measures]], stability: Stability) -> Figure:
    """A figure from its value in each round.

    Args:
        values: one per round.
        sources: the rounds of every case that the values come from, for the load that others put on the machine.
        stability: what is refused.
    """
    others = [run.get("other_load", 0.0) for runs in sources for run in runs]
    if others and statistics.median(others) > stability.other_load:
        return Figure(
            tuple(values),
            f"other processes used {statistics.median(others):.0%} of the machine (at most {stability.other_load:.0%})",
        )
    if spread(values) > stability.spread:
        return Figure(
            tuple(values),
            f"{len(values)} rounds tell the median to {spread(values):.0%} only (at most {stability.spread:.0%})",
        )
    return Figure(tuple(values))


def of_measure(runs: Sequence[Measures], name: str, stability: Stability) -> Figure:
    """One measure of one case."""
    return figure([run[name] for run in runs], [runs], stability)


def ratio(above: Sequence[Measures], below: Sequence[Measures], name: str, stability: Stability) -> Figure:
    """One measure of one case over the same of another, round by round."""
    values = [one[name] / other[name] for one, other in zip(above, below, strict=True)]
    return figure(values, [above, below], stability)


def share_of_bound(
    cascade: Sequence[Measures], little: Sequence[Measures], big: Sequence[Measures], stability: Stability
) -> tuple[Figure, Figure]:
    """A cascade's throughput over its bound, and the bound, each round with its own stages and escalation."""
    bounds = [
        bound(one["images_per_second"], other["images_per_second"], mixed["escalation"])
        for one, other, mixed in zip(little, big, cascade, strict=True)
    ]
    shares = [mixed["images_per_second"] / limit for mixed, limit in zip(cascade, bounds, strict=True)]
    sources = [cascade, little, big]
    return figure(shares, sources, stability), figure(bounds, sources, stability)
