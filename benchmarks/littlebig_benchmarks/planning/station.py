"""A model in Triton: a queue, the dynamic batcher, instances.

The batcher's rule: when an instance is free, a batch leaves if it is full or if its oldest request has waited for
max_queue_delay. Full is the largest preferred size where there is one (smaller ones are not simulated). Requests are
never split and never overtake one another; a larger one is a batch of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from littlebig_benchmarks.planning.clock import Clock


class Call:
    """One request to a model.

    Args:
        rows: its images.
        done: called when it is answered.
        image: which image of the simulation it is, where it is one.
    """

    __slots__ = ("came", "done", "image", "rows")

    def __init__(self, rows: int, done: Callable[[], None], image: int = -1) -> None:
        """Not in a queue yet."""
        self.rows = rows
        self.done = done
        self.image = image
        self.came = 0.0


@dataclass(frozen=True)
class Batching:
    """How a model is served.

    Attributes:
        instances: how many batches it works on at a time.
        max_batch_size: most images in a batch.
        max_queue_delay: how long a batch may wait to be full, seconds.
        preferred_batch_size: up to which requests are merged; 0 for max_batch_size.
    """

    instances: int
    max_batch_size: int
    max_queue_delay: float = 0.0
    preferred_batch_size: int = 0

    @property
    def full(self) -> int:
        """Images of a batch to which nothing is added."""
        return min(self.preferred_batch_size or self.max_batch_size, self.max_batch_size)


class Station(ABC):
    """One model; what it does with a batch is its subclass's.

    Args:
        clock: the simulation's.
        batching: how it is served.
    """

    def __init__(self, clock: Clock, batching: Batching) -> None:
        """Empty, all instances free."""
        self.clock = clock
        self.batches = 0
        self.images = 0
        self._batching = batching
        self._free = deque(range(batching.instances))
        self._queue: deque[Call] = deque()
        self._waiting = 0
        self._alarm = -1.0

    @abstractmethod
    def start(self, batch: Sequence[Call], instance: int) -> None:
        """Begin to work on a batch; `end` must be called when it is over."""

    def put(self, call: Call) -> None:
        """A request arrives."""
        call.came = self.clock.now
        self._queue.append(call)
        self._waiting += call.rows
        self._go()

    def end(self, instance: int) -> None:
        """An instance has finished its batch."""
        self._free.append(instance)
        self._go()

    def _go(self) -> None:
        while self._free and self._queue:
            due = self._queue[0].came + self._batching.max_queue_delay
            if self._waiting < self._batching.full and self.clock.now < due:
                if self._alarm != due:
                    self._alarm = due
                    self.clock.at(due, self._go)
                return
            self.start(self._take(), self._free.popleft())

    def _take(self) -> list[Call]:
        batch: list[Call] = []
        rows = 0
        while self._queue and (not batch or rows + self._queue[0].rows <= self._batching.full):
            call = self._queue.popleft()
            batch.append(call)
            rows += call.rows
        self._waiting -= rows
        self.batches += 1
        self.images += rows
        return batch


class Worker(Station):
    """A model that works on the shared device and then answers the whole batch.

    Args:
        clock: the simulation's.
        batching: how it is served.
        seconds: images -> how long a batch takes alone.
        threads: of the device's capacity that a batch can use.
        weight: of each.
    """

    def __init__(
        self, clock: Clock, batching: Batching, seconds: Callable[[int], float], threads: float, weight: float
    ) -> None:
        """Empty, all instances free."""
        super().__init__(clock, batching)
        self._seconds, self._threads, self._weight = seconds, threads, weight

    def start(self, batch: Sequence[Call], instance: int) -> None:
        """Work for as long as the batch takes."""
        seconds = self._seconds(sum(call.rows for call in batch))
        self.clock.work(seconds, self._threads, self._weight, partial(self._finish, batch, instance))

    def _finish(self, batch: Sequence[Call], instance: int) -> None:
        for call in batch:
            call.done()
        self.end(instance)
