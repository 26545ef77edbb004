"""When requests come, and which of them one replica gets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from littlebig_benchmarks.planning.errors import PlanRefused

BALANCING = ("random", "round-robin")
# The share of time that bursts take.
_BURSTING = 0.1

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OpenLoad:
    """Requests that come whether or not others were answered.

    Attributes:
        rate: images per second for all replicas together.
        replicas: that share them; the simulated one gets its part.
        balancing: how clients choose a replica: `random`, or `round-robin` over all requests.
        burst: rate in bursts over the mean rate; 1 is a plain Poisson process. Bursts take a tenth of the time.
        burst_seconds: mean length of a burst.

    Raises:
        PlanRefused: for a load that cannot be.
    """

    rate: float
    replicas: int = 1
    balancing: str = "random"
    burst: float = 1.0
    burst_seconds: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not (np.isfinite(self.rate) and self.rate > 0):
            raise PlanRefused(f"a rate of {self.rate:g} images/s cannot be planned for: give one above 0")
        if self.replicas < 1:
            raise PlanRefused(f"{self.replicas} replicas cannot serve: give at least 1")
        if self.balancing not in BALANCING:
            raise PlanRefused(f"there is no balancing '{self.balancing}': choose of {', '.join(BALANCING)}")
        if not 1 <= self.burst < 1 / _BURSTING:
            raise PlanRefused(
                f"bursts of {self.burst:g} times the mean rate cannot be: they take {_BURSTING:.0%} of the time, so "
                f"give a factor from 1 to below {1 / _BURSTING:g}"
            )
        if not self.burst_seconds > 0:
            raise PlanRefused(f"bursts of {self.burst_seconds:g} seconds cannot be: give a length above 0")


@dataclass(frozen=True)
class ClosedLoad:
    """Clients that each send one image after another, the next when the last was answered.

    Attributes:
        clients: of one replica.

    Raises:
        PlanRefused: if there is none.
    """

    clients: int

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.clients < 1:
            raise PlanRefused(f"{self.clients} clients send nothing: give at least 1")


@dataclass(frozen=True)
class RecordedLoad:
    """Requests of one replica that came when they did.

    Attributes:
        times: ascending seconds, one per request.
    """

    times: tuple[float, ...]


def arrivals(load: OpenLoad | RecordedLoad, count: int, random: np.random.Generator) -> Seconds:
    """When the first requests come to one of the replicas.

    Args:
        load: the whole of it.
        count: how many requests of this replica.
        random: the source of chance.

    Returns:
        Ascending seconds [count]; exact for a replica of many, since replicas share nothing but the arrivals.
    """
    if isinstance(load, RecordedLoad):
        return np.array(load.times[:count])
    if load.balancing == "random":
        each = load.rate / load.replicas  # a randomly thinned process of this kind is one again
        return _times(load, each, count, random)
    return _times(load, load.rate, count * load.replicas, random)[:: load.replicas]


def _times(load: OpenLoad, rate: float, count: int, random: np.random.Generator) -> Seconds:
    """A Poisson process whose rate switches between bursts and the time in between."""
    steps = random.exponential(1.0, count).cumsum()  # at rate 1
    if load.burst == 1:
        return np.asarray(steps / rate)
    calm = rate * (1 - _BURSTING * load.burst) / (1 - _BURSTING)
    rates = np.array([calm, rate * load.burst])
    lengths = np.array([load.burst_seconds * (1 - _BURSTING) / _BURSTING, load.burst_seconds])
    # Piece by piece: how many arrivals are expected by the end of each, until there are enough.
    ends, expected = [0.0], [0.0]
    state = int(random.random() < _BURSTING)
    while expected[-1] < steps[-1]:
        length = random.exponential(lengths[state])
        ends.append(ends[-1] + length)
        expected.append(expected[-1] + length * rates[state])
        state = 1 - state
    return np.asarray(np.interp(steps, expected, ends))
