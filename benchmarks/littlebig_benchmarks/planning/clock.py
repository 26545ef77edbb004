"""The simulation's time: what happens next, an event or the end of a job on the shared device."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from littlebig_benchmarks.planning.device import Job, SharedDevice


class Clock:
    """Runs events and a device's jobs in the order of time; ties in the order in which they were scheduled.

    Args:
        device: what jobs share.
    """

    def __init__(self, device: SharedDevice) -> None:
        """At second 0, with nothing to do."""
        self.now = 0.0
        self.device = device
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Do something at a second that is not before now."""
        heapq.heappush(self._events, (when, next(self._count), do))

    def work(self, seconds: float, threads: float, weight: float, done: Callable[[], None]) -> None:
        """Start work on the shared device; without any, it is done at once, but after what happens now."""
        if seconds <= 0:
            self.at(self.now, done)
        else:
            self.device.add(Job(seconds, threads, weight, done))

    def run(self) -> None:
        """Run until nothing is left to do."""
        events, device = self._events, self.device
        while events or device.jobs:
            if device.jobs:
                seconds, job = device.next_end()
                if not events or self.now + seconds < events[0][0]:
                    device.advance(seconds)
                    self.now += seconds
                    device.remove(job)
                    job.done()
                    continue
            when, _, do = heapq.heappop(events)
            device.advance(when - self.now)
            self.now = when
            do()
