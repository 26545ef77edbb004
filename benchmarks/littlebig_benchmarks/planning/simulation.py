"""One replica: requests go through the gate, little and perhaps big, or to one stage alone.

The gate is the one of model_repository/little_big: one call of little per batch; sure images are answered when little
is done, and the instance is free; the unsure rows of a batch go to big in one call; a batch that waits for big holds
one of the instance's max_batches_in_flight, without which the instance starts no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from littlebig_benchmarks.planning.arrivals import ClosedLoad, OpenLoad, RecordedLoad, arrivals
from littlebig_benchmarks.planning.clock import Clock
from littlebig_benchmarks.planning.curves import Curve, StageCurve, StageCurves
from littlebig_benchmarks.planning.device import SharedDevice
from littlebig_benchmarks.planning.errors import PlanRefused
from littlebig_benchmarks.planning.outcome import Outcome
from littlebig_benchmarks.planning.station import Batching, Call, Station, Worker

ENTRIES = ("cascade", "little", "big")
_BLOCK = 4096


@dataclass(frozen=True)
class Layout:
    """How one replica serves; what is None is as it was measured.

    Attributes:
        entry: `cascade`, or `little` or `big` alone.
        little: instances of little. The gate has as many at least: each has one call of little under way at a time.
        big: instances of big.
        little_delay: little's max_queue_delay, seconds.
        big_delay: big's, seconds.
    """

    entry: str = "cascade"
    little: int | None = None
    big: int | None = None
    little_delay: float | None = None
    big_delay: float | None = None

    def of(self, curves: StageCurves) -> Filled:
        """The same with every None filled in, and the gate's instances."""
        little = curves.little.instances if self.little is None else self.little
        return Filled(
            self.entry,
            max(curves.gate.instances, little),
            little,
            curves.big.instances if self.big is None else self.big,
            curves.little.max_queue_delay if self.little_delay is None else self.little_delay,
            curves.big.max_queue_delay if self.big_delay is None else self.big_delay,
        )


@dataclass(frozen=True)
class Filled:
    """A layout in which everything is known; see Layout."""

    entry: str
    gate: int
    little: int
    big: int
    little_delay: float
    big_delay: float


def simulate(
    curves: StageCurves,
    layout: Layout | Filled,
    load: OpenLoad | ClosedLoad,
    escalation: float,
    requests: int = 20_000,
    seed: int = 0,
) -> Outcome:
    """Simulate one replica until all its requests are answered; the same arguments give the same outcome.

    Args:
        curves: what was measured.
        layout: how the replica serves.
        load: what is asked of it.
        escalation: share of images that little is unsure of, each independently of the others.
        requests: how many images, one per request.
        seed: of all chance.

    Raises:
        PlanRefused: for what cannot be.
    """
    if layout.entry not in ENTRIES:
        raise PlanRefused(f"there is no entry '{layout.entry}': choose of {', '.join(ENTRIES)}")
    if not 0 <= escalation <= 1:
        raise PlanRefused(f"escalation {escalation:g} cannot be: choose a fraction from 0 to 1, such as 0.15")
    if requests < 100:
        raise PlanRefused(f"{requests} requests are too few for a percentile: give at least 100")
    random = np.random.default_rng(seed)
    return replay(curves, layout, load, random.random(requests) < escalation, random)


def replay(
    curves: StageCurves,
    layout: Layout | Filled,
    load: OpenLoad | ClosedLoad | RecordedLoad,
    unsure: npt.NDArray[np.bool_],
    random: np.random.Generator,
) -> Outcome:
    """Simulate one replica with images that are known to be unsure or not; see `simulate`.

    Args:
        curves: what was measured.
        layout: how the replica serves.
        load: what is asked of it.
        unsure: whether little is unsure of each image, boolean [images].
        random: the source of all other chance.
    """
    filled = layout.of(curves) if isinstance(layout, Layout) else layout
    return _Replica(curves, filled, unsure, random).run(load)


class _Replica:
    def __init__(
        self, curves: StageCurves, layout: Filled, unsure: npt.NDArray[np.bool_], random: np.random.Generator
    ) -> None:
        self._random = random
        self._unsure = unsure
        self._requests = requests = len(unsure)
        self._clock = Clock(SharedDevice(curves.device.capacity))
        little = self._stage(curves.little, layout.little, layout.little_delay)
        big = self._stage(curves.big, layout.big, layout.big_delay)
        self._models: dict[str, Station] = {"little": little, "big": big}
        self._entry: Station
        self._decided: list[float] = []
        if layout.entry == "cascade":
            self._entry = self._models["little_big"] = self._gate(curves, layout.gate, little, big)
        else:
            self._entry = self._models[layout.entry]
        self._transport = self._line(curves)
        self._sent: list[float] = []
        self._answered = [0.0] * requests
        self._again = False
        self._here, self._area, self._since = 0, 0.0, 0.0
        self._work = self._span = 0.0

    def run(self, load: OpenLoad | ClosedLoad | RecordedLoad) -> Outcome:
        if isinstance(load, ClosedLoad):
            self._again = True
            for _ in range(min(load.clients, self._requests)):
                self._clock.at(0.0, self._send)
        else:
            times = iter(arrivals(load, self._requests, self._random).tolist())
            self._clock.at(next(times), partial(self._arrive, times))
        self._clock.run()
        answered = np.array(self._answered)
        return Outcome(
            sent=np.array(self._sent),
            answered=answered,
            unsure=self._unsure,
            mean_in_system=self._area / float(answered.max()),
            busy=self._work / (self._clock.device.capacity * self._span) if self._span else 1.0,
            batch={name: model.images / model.batches for name, model in self._models.items() if model.batches},
            decided=float(np.mean(self._decided)) if self._decided else float("nan"),
        )

    def _arrive(self, times: Iterator[float]) -> None:
        self._send()
        following = next(times, None)
        if following is not None:
            self._clock.at(following, partial(self._arrive, times))

    def _send(self) -> None:
        number = len(self._sent)
        self._sent.append(self._clock.now)
        self._count(+1)
        if len(self._sent) == self._requests:
            self._work, self._span = self._clock.device.work, self._clock.now
        self._transport(lambda: self._entry.put(Call(1, partial(self._answer, number), number)))

    def _answer(self, number: int) -> None:
        self._answered[number] = self._clock.now
        self._count(-1)
        if self._again and len(self._sent) < self._requests:
            self._send()

    def _count(self, change: int) -> None:
        self._area += self._here * (self._clock.now - self._since)
        self._here += change
        self._since = self._clock.now

    def _stage(self, stage: StageCurve, instances: int, delay: float) -> Worker:
        most = min(stage.max_batch_size, stage.curve.largest)
        batching = Batching(instances, most, delay, stage.preferred_batch_size)
        seconds = self._seconds(stage.curve, batching.max_batch_size)
        return Worker(self._clock, batching, seconds, stage.threads, stage.weight)

    def _gate(self, curves: StageCurves, instances: int, little: Worker, big: Worker) -> _Gate:
        gate = curves.gate
        largest = [curve.largest for curve in (gate.curve, curves.little.curve, curves.big.curve)]
        most = min(gate.max_batch_size, curves.little.max_batch_size, curves.big.max_batch_size, *largest)
        seconds, clock = self._seconds(gate.curve, most), self._clock

        def think(rows: int, done: Callable[[], None]) -> None:
            if curves.device.kind == "cpu":
                clock.work(seconds(rows), 1, 1, done)
            else:  # its CPU is not the device
                clock.at(clock.now + seconds(rows), done)

        batching = Batching(instances, most)
        unsure = self._unsure.tolist()
        return _Gate(clock, batching, gate.max_batches_in_flight, think, little, big, unsure, self._decided.append)

    def _line(self, curves: StageCurves) -> Callable[[Callable[[], None]], None]:
        """How a request comes from the client to the server."""
        clock, seconds = self._clock, curves.transport
        if curves.device.kind == "cpu":  # measured with the client on the same cores: one thread of it
            client = Worker(clock, Batching(1, 1), lambda _: seconds, 1, 1)
            return lambda done: client.put(Call(1, done))
        return lambda done: clock.at(clock.now + seconds, done)

    def _seconds(self, curve: Curve, most: int) -> Callable[[int], float]:
        means, scatter = curve.seconds(most), self._scattered(curve.spread)
        return lambda rows: means[rows] * next(scatter)

    def _scattered(self, values: Sequence[float]) -> Iterator[float]:
        """Measured values in a random order, for ever."""
        while True:
            yield from self._random.choice(np.array(values), _BLOCK).tolist()


class _Gate(Station):
    def __init__(
        self,
        clock: Clock,
        batching: Batching,
        in_flight: int,
        think: Callable[[int, Callable[[], None]], None],
        little: Station,
        big: Station,
        unsure: Sequence[bool],
        decided: Callable[[float], None],
    ) -> None:
        super().__init__(clock, batching)
        self._left = [in_flight] * batching.instances
        self._blocked: dict[int, Sequence[Call]] = {}
        self._think, self._little, self._big, self._unsure = think, little, big, unsure
        self._decided = decided

    def start(self, batch: Sequence[Call], instance: int) -> None:
        if not self._left[instance]:
            self._blocked[instance] = batch
            return
        self._left[instance] -= 1
        ask = Call(len(batch), partial(self._decide, batch, instance))
        self._think(len(batch), partial(self._little.put, ask))

    def _decide(self, batch: Sequence[Call], instance: int) -> None:
        waiting = [call for call in batch if self._unsure[call.image]]
        for call in batch:
            self._decided(self.clock.now - call.came)
            if not self._unsure[call.image]:
                call.done()
        if waiting:
            self._big.put(Call(len(waiting), partial(self._settle, waiting, instance)))
        else:
            self._left[instance] += 1
        self.end(instance)

    def _settle(self, waiting: Sequence[Call], instance: int) -> None:
        for call in waiting:
            call.done()
        self._left[instance] += 1
        blocked = self._blocked.pop(instance, None)
        if blocked is not None:
            self.start(blocked, instance)
