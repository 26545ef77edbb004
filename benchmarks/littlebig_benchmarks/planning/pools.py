"""Replicas and costs of a cascade in two pools: little and the gate on one kind of device, big on another."""

from __future__ import annotations

import math
from dataclasses import dataclass

from littlebig_benchmarks.planning.capacity import Capacity, Target, big_capacity, cascade_capacity, replicas
from littlebig_benchmarks.planning.curves import StageCurves
from littlebig_benchmarks.planning.errors import PlanRefused


@dataclass(frozen=True)
class Prices:
    """What one replica costs per hour, in any currency; None where it is not known.

    Attributes:
        little: of the pool of little and the gate.
        big: of the pool of big.

    Raises:
        PlanRefused: for a price that is no amount.
    """

    little: float | None = None
    big: float | None = None

    def __post_init__(self) -> None:
        """Check the amounts."""
        for price in (self.little, self.big):
            if price is not None and not (math.isfinite(price) and price >= 0):
                raise PlanRefused(f"a price of {price:g} per hour is no amount: give 0 or more")


@dataclass(frozen=True)
class Pool:
    """Some replicas of one kind.

    Attributes:
        name: what they compute.
        curves: of their device.
        capacity: of one replica.
        rate: images per second that reach the pool.
        utilisation_limit: largest fraction of a replica's capacity to use.
        price: of a replica per hour, or None.
    """

    name: str
    curves: StageCurves
    capacity: Capacity
    rate: float
    utilisation_limit: float
    price: float | None

    @property
    def replicas(self) -> int:
        """The fewest whose utilisation stays within the limit."""
        return replicas(self.rate, self.capacity, self.utilisation_limit)

    @property
    def utilisation(self) -> float:
        """The fraction of their capacity that these replicas use; 0 without any."""
        return self.rate / (self.replicas * self.capacity.images_per_second) if self.replicas else 0.0

    @property
    def cost(self) -> float | None:
        """Of all replicas per hour."""
        return None if self.price is None else self.price * self.replicas


def split(little: StageCurves, big: StageCurves, target: Target, prices: Prices) -> tuple[Pool, Pool, Pool]:
    """The pools of little and of big, and big alone for all images on big's devices.

    Sending images to big is not counted: the forwarding model does not compute.

    Args:
        little: curves of the device that little and the gate run on.
        big: curves of big's device.
        target: the load.
        prices: per replica.
    """
    # Without escalations, a replica's device works for little and the gate only.
    own, alone = cascade_capacity(little, 0.0), big_capacity(big)
    escalated, limit = target.rate * target.escalation, target.utilisation
    return (
        Pool("little and gate", little, own, target.rate, limit, prices.little),
        Pool("big", big, alone, escalated, limit, prices.big),
        Pool("big alone", big, alone, target.rate, limit, prices.big),
    )
