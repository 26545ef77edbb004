"""Images per second of one replica, and how many replicas a rate needs. A replica is one GPU, or one machine (cpu)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from littlebig_benchmarks.planning.curves import Curve, StageCurve, StageCurves
from littlebig_benchmarks.planning.errors import PlanRefused

UTILISATION = 0.7


@dataclass(frozen=True)
class Target:
    """The load that a deployment must carry.

    Attributes:
        rate: images per second for all replicas together.
        escalation: fraction of images that big sees.
        utilisation: largest fraction of a replica's capacity to use.

    Raises:
        PlanRefused: for a value that is out of range.
    """

    rate: float
    escalation: float
    utilisation: float = UTILISATION

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise PlanRefused(f"a rate of {self.rate:g} images/s cannot be planned for: give one above 0")
        if not 0 <= self.escalation <= 1:
            raise PlanRefused(f"escalation {self.escalation:g} is no fraction: give one from 0 to 1, such as 0.15")
        if not 0 < self.utilisation <= 1:
            raise PlanRefused(f"utilisation {self.utilisation:g} is no fraction: give one above 0 and up to 1")


@dataclass(frozen=True)
class Capacity:
    """What one replica can answer.

    Attributes:
        images_per_second: with every stage at its best batch size.
        limit: what sets it: `device`, or the instances of `little`, `big` or the `gate`.
    """

    images_per_second: float
    limit: str


@dataclass(frozen=True)
class Plan:
    """The cascade beside big alone.

    Attributes:
        target: the load.
        cascade: capacity of a replica of the cascade.
        big: capacity of a replica that serves big alone.
    """

    target: Target
    cascade: Capacity
    big: Capacity

    def replicas(self, capacity: Capacity) -> int:
        """The fewest replicas whose utilisation stays within the target's."""
        return replicas(self.target.rate, capacity, self.target.utilisation)

    def utilisation(self, capacity: Capacity) -> float:
        """The fraction of their capacity that these replicas use."""
        return self.target.rate / (self.replicas(capacity) * capacity.images_per_second)

    @property
    def cost_ratio(self) -> float:
        """Replicas of big alone over replicas of the cascade."""
        return self.replicas(self.big) / self.replicas(self.cascade)


def replicas(rate: float, capacity: Capacity, utilisation: float) -> int:
    """The fewest replicas that answer a rate and use no more than a fraction of their capacity."""
    return math.ceil(round(rate / (capacity.images_per_second * utilisation), 9))


def plan(curves: StageCurves, target: Target) -> Plan:
    """Plan the cascade and big alone for a load."""
    return Plan(target, cascade_capacity(curves, target.escalation), big_capacity(curves))


def cascade_capacity(curves: StageCurves, escalation: float) -> Capacity:
    """Capacity of one replica of the cascade.

    The device does `capacity` seconds of lone work per second, and an image needs little's seconds and, with the
    probability of an escalation, big's. An instance of the gate waits for little, so it is occupied for its own time
    and little's.

    Args:
        curves: what was measured.
        escalation: fraction of images that big sees.
    """
    little, big = (_seconds_per_image(stage) for stage in (curves.little, curves.big))
    work = little * curves.little.threads + escalation * big * curves.big.threads
    if curves.device.kind == "cpu":  # the gate computes on the same cores
        work += _best(curves.gate.curve, curves.gate.max_batch_size)
    limits = {
        "device": curves.device.capacity / work,
        "little": curves.little.instances / little,
        "gate": curves.gate.instances * _gate_images_per_second(curves),
    }
    if escalation:
        limits["big"] = curves.big.instances / (escalation * big)
    return _tightest(limits)


def big_capacity(curves: StageCurves) -> Capacity:
    """Capacity of one replica that serves big alone, without the gate."""
    big = _seconds_per_image(curves.big)
    return _tightest({"device": curves.device.capacity / (big * curves.big.threads), "big": curves.big.instances / big})


def _tightest(limits: dict[str, float]) -> Capacity:
    name = min(limits, key=lambda limit: limits[limit])
    return Capacity(limits[name], name)


def _seconds_per_image(stage: StageCurve) -> float:
    return _best(stage.curve, stage.max_batch_size)


def _best(curve: Curve, max_batch_size: int) -> float:
    """Seconds per image at the best batch size that was measured and is allowed."""
    seconds = curve.seconds(min(max_batch_size, curve.largest))
    return min(seconds[size] / size for size in range(1, len(seconds)))


def _gate_images_per_second(curves: StageCurves) -> float:
    """Of one instance of the gate at its best batch size."""
    gate, little = curves.gate, curves.little
    largest = min(gate.max_batch_size, gate.curve.largest, little.max_batch_size, little.curve.largest)
    own, stage = gate.curve.seconds(largest), little.curve.seconds(largest)
    return max(size / (own[size] + stage[size]) for size in range(1, largest + 1))
