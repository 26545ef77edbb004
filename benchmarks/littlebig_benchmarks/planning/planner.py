"""The fewest replicas that keep a latency target, and how each of them should serve; by simulation, not by formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from littlebig_benchmarks.planning.arrivals import ClosedLoad, OpenLoad
from littlebig_benchmarks.planning.curves import StageCurve, StageCurves
from littlebig_benchmarks.planning.errors import PlanRefused, TargetUnreachable
from littlebig_benchmarks.planning.outcome import Outcome
from littlebig_benchmarks.planning.simulation import Filled, Layout, simulate

# A replica that answers a smaller share of what comes while it comes has a queue that grows for ever.
_KEEPS_UP = 0.98
# Images that are sent one by one to learn how long one takes that meets nobody.
_LONE = 1000


@dataclass(frozen=True)
class Target:
    """What a deployment must do.

    Attributes:
        load: images per second for all replicas together, and how they come; its number of replicas is not used.
        escalation: share of images that little is unsure of.
        p99_ms: within which 99 % of all images must be answered, in milliseconds.

    Raises:
        PlanRefused: for what cannot be a target.
    """

    load: OpenLoad
    escalation: float
    p99_ms: float

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 <= self.escalation <= 1:
            raise PlanRefused(f"escalation {self.escalation:g} cannot be: choose a fraction from 0 to 1, such as 0.15")
        if not (math.isfinite(self.p99_ms) and self.p99_ms > 0):
            raise PlanRefused(f"a p99 of {self.p99_ms:g} ms cannot be a target: give milliseconds above 0")


@dataclass(frozen=True)
class Search:
    """What is tried, for one instance of each stage up to as many as were measured.

    What more of them would get done together is not known: a GPU that one batch of big fills gives a second one
    nothing, and one that it does not fill gives it much.

    Attributes:
        delays: max_queue_delay of each stage, seconds; the measured one is tried as well.
        replicas: at most so many.
        requests: that each simulation has.
        seed: of all chance; the same one gives the same plan.
    """

    delays: tuple[float, ...] = (0.0, 0.001, 0.003)
    replicas: int = 4096
    requests: int = 20_000
    seed: int = 0


@dataclass(frozen=True)
class Choice:
    """The best that was found for one way to serve.

    Attributes:
        layout: of each replica.
        replicas: devices (GPUs, or machines for the cpu target) that keep the target.
        outcome: of the simulation of one of them.
    """

    layout: Filled
    replicas: int
    outcome: Outcome


@dataclass(frozen=True)
class Plan:
    """The cascade beside big alone.

    Attributes:
        target: that is kept.
        choices: entry (`cascade`, `big`) -> the best of it; an entry that cannot keep the target is not there.
        impossible: entry -> why it cannot, in words.
    """

    target: Target
    choices: dict[str, Choice] = field(default_factory=dict)
    impossible: dict[str, str] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Replicas of big alone over those of the cascade; None where one of them cannot keep the target."""
        if len(self.choices) < 2:
            return None
        return self.choices["big"].replicas / self.choices["cascade"].replicas


def plan(curves: StageCurves, target: Target, search: Search, tell: Callable[[str], None]) -> Plan:
    """Find the fewest replicas for the cascade and for big alone; the same arguments give the same plan.

    Args:
        curves: what was measured.
        target: what must be kept.
        search: what is tried.
        tell: says what happens.

    Raises:
        TargetUnreachable: if no number of replicas keeps the target, neither of the cascade nor of big alone.
    """
    found = Plan(target)
    for entry in ("cascade", "big"):
        tell(f"plan {entry}")
        try:
            found.choices[entry] = _Finder(curves, target, search).best(entry)
        except TargetUnreachable as reason:
            found.impossible[entry] = str(reason)
    if not found.choices:
        raise TargetUnreachable("; ".join(found.impossible.values()))
    return found


class _Finder:
    def __init__(self, curves: StageCurves, target: Target, search: Search) -> None:
        self._curves, self._target, self._search = curves, target, search
        self._best: Choice | None = None

    def best(self, entry: str) -> Choice:
        """Instances first, with the delays that were measured; then each delay in turn, for the best instances."""
        lone = self._check_reachable(entry)
        for layout in self._instances(entry):
            self._try(layout)
        for stage in ("big_delay", "little_delay") if entry == "cascade" else ("big_delay",):
            for delay in self._search.delays:
                if self._best is not None:
                    self._try(_with_delay(self._best.layout, stage, delay))
        if self._best is None:
            raise TargetUnreachable(
                f"{entry}: no layout keeps a p99 of {self._target.p99_ms:g} ms with up to {self._search.replicas} "
                f"replicas ({lone:.1f} ms without other load): allow more milliseconds"
            )
        return self._best

    def _check_reachable(self, entry: str) -> float:
        """The p99 of an image that meets nobody, which no number of replicas can beat, milliseconds."""
        layout = replace(Layout(entry).of(self._curves), little_delay=0.0, big_delay=0.0)
        alone = simulate(self._curves, layout, ClosedLoad(1), self._target.escalation, _LONE, self._search.seed)
        if alone.percentile(99) > self._target.p99_ms:
            raise TargetUnreachable(
                f"{entry}: no number of replicas keeps a p99 of {self._target.p99_ms:g} ms, because an image that "
                f"meets no other takes {alone.percentile(99):.1f} ms (p99) on {self._curves.device.name}: allow more "
                "milliseconds, or take a faster device or pair"
            )
        return alone.percentile(99)

    def _instances(self, entry: str) -> Iterator[Filled]:
        littles = range(1, self._curves.little.instances + 1) if entry == "cascade" else (None,)
        for big in range(1, self._curves.big.instances + 1):
            for little in littles:
                yield Layout(entry, little, big).of(self._curves)

    def _try(self, layout: Filled) -> None:
        """Take a layout that needs fewer replicas than the best so far, or as many with a lower p99."""
        fewest = max(1, math.ceil(self._target.load.rate / most_images_per_second(self._curves, layout, self._target)))
        ceiling = self._search.replicas if self._best is None else self._best.replicas
        if fewest > ceiling:
            return
        # Doubled steps up from the bound until the target is kept, then halves in between.
        below, above, step = fewest - 1, fewest, 1
        kept = self._keeps(layout, above)
        while kept is None and above < ceiling:
            below, above, step = above, min(above + step, ceiling), step * 2
            kept = self._keeps(layout, above)
        if kept is None:
            return
        while above - below > 1:
            middle = (above + below) // 2
            outcome = self._keeps(layout, middle)
            if outcome is None:
                below = middle
            else:
                above, kept = middle, outcome
        best = self._best
        if best is None or (above, kept.percentile(99)) < (best.replicas, best.outcome.percentile(99)):
            self._best = Choice(layout, above, kept)

    def _keeps(self, layout: Filled, replicas: int) -> Outcome | None:
        """One replica's run, if it keeps the target."""
        load = replace(self._target.load, replicas=replicas)
        search, target = self._search, self._target
        outcome = simulate(self._curves, layout, load, target.escalation, search.requests, search.seed)
        keeps_up = outcome.images_per_second >= _KEEPS_UP * outcome.offered_per_second
        return outcome if keeps_up and outcome.percentile(99) <= target.p99_ms else None


def most_images_per_second(curves: StageCurves, layout: Filled, target: Target) -> float:
    """What one replica cannot exceed: its stages at their best batch, sharing the device without a loss.

    Args:
        curves: what was measured.
        layout: of the replica.
        target: for its escalation.

    Returns:
        Images per second.
    """
    parts = {
        "cascade": ((curves.little, layout.little, 1.0), (curves.big, layout.big, target.escalation)),
        "little": ((curves.little, layout.little, 1.0),),
        "big": ((curves.big, layout.big, 1.0),),
    }[layout.entry]
    work, bounds = 0.0, []
    for stage, instances, share in parts:
        seconds = _fewest_seconds_per_image(stage) * share
        work += seconds * min(stage.threads, curves.device.capacity)
        if seconds:
            bounds.append(instances / seconds)
    return min(curves.device.capacity / work, *bounds)


def _fewest_seconds_per_image(stage: StageCurve) -> float:
    most = min(stage.max_batch_size, stage.curve.largest)
    return min(seconds / size for size, seconds in enumerate(stage.curve.seconds(most)) if size)


def _with_delay(layout: Filled, stage: str, delay: float) -> Filled:
    return replace(layout, little_delay=delay) if stage == "little_delay" else replace(layout, big_delay=delay)
