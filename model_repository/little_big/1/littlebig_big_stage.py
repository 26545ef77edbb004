"""Calls of the big stage: beside `execute`, bounded in number, with a time limit, behind a circuit breaker.

acquire_slot   wait until one more batch may be in flight
submit         hand an escalated batch to a worker thread, which calls big
_settle        the batch gets big's outputs or the reason why there are none, and its slot is free again
poll           give up calls that are overdue, probe a failed stage, measure its rate
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from littlebig_batch import Call, Outputs
from littlebig_breaker import CLOSED, Breaker
from littlebig_errors import BigFailure, StageFailed
from littlebig_escalated_batch import EscalatedBatch
from littlebig_images import Images, Pixels
from littlebig_overload import ServiceRate
from littlebig_workers import Workers

# Most probes of a hung stage at a time: each holds a thread, here and in Triton, until it returns.
MAX_PROBES = 8


@dataclass(eq=False)
class InFlightSlot:
    """Permission for one escalated batch to wait for big, and what is known of its call.

    Attributes:
        used: whether a batch was submitted with it.
        deadline: of the call, in seconds of the clock.
        asked: images that big was asked for; fewer than the batch's rows if callers have given up.
        sample: one of these images, to probe big with if the call fails.
    """

    used: bool = False
    deadline: float = 0.0
    asked: int = 0
    sample: Images | None = None


class BigStage:
    """The big stage as the gate sees it.

    Args:
        call: of big.
        max_in_flight: most batches that wait for big at a time.
        timeout_s: time limit of one batch, in seconds.
        retry_s: seconds between two probes of a stage that has failed.
        max_batch_size: most images in one call.
        make_buffer: allocates the memory that a worker thread gathers images in.
        clock: seconds.

    Attributes:
        max_in_flight: as given.
        breaker: the circuit breaker.
        rows: images in flight.
    """

    def __init__(
        self,
        call: Call,
        *,
        max_in_flight: int,
        timeout_s: float,
        retry_s: float,
        max_batch_size: int,
        make_buffer: Callable[[], Pixels],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with nothing in flight and a closed breaker."""
        self.max_in_flight = max_in_flight
        self.breaker = Breaker(retry_s)
        self.rows = 0
        self._call, self._timeout_s, self._clock = call, timeout_s, clock
        self._max_batch_size = max_batch_size
        self._permits = threading.BoundedSemaphore(max_in_flight)
        self._workers = Workers(max_in_flight, make_buffer)
        self._lock = threading.Lock()
        self._in_flight: dict[InFlightSlot, EscalatedBatch] = {}
        self._sample: Images | None = None
        self._probes = 0
        self._rate = ServiceRate()
        self._answered, self._busy_s, self._busy_since = 0, 0.0, clock()

    @property
    def batches(self) -> int:
        """Batches in flight."""
        return len(self._in_flight)

    def wait_s(self) -> float:
        """Seconds that big needs for the images in flight."""
        return self._rate.seconds_for(self.rows)

    def seconds_per_image(self) -> float:
        """Seconds that one image occupies big."""
        return self._rate.seconds_for(1)

    @contextmanager
    def acquire_slot(self, max_wait_s: float | None = None) -> Iterator[InFlightSlot | None]:
        """Wait for a slot. At the end of the block it is free again, unless a batch was submitted with it.

        Args:
            max_wait_s: seconds to wait; None for as long as it takes.

        Yields:
            The slot, or None if there was none in time.
        """
        if not self._permits.acquire(timeout=max_wait_s):
            yield None
            return
        slot = InFlightSlot()
        try:
            yield slot
        finally:
            if not slot.used:
                self._permits.release()

    def submit(self, batch: EscalatedBatch, slot: InFlightSlot) -> None:
        """Ask big for a batch. It is settled on another thread, or at once while the breaker is open.

        Args:
            batch: to be settled once.
            slot: from `acquire_slot`; free again when the batch is settled.
        """
        slot.used, slot.deadline = True, self._clock() + self._timeout_s
        with self._lock:
            open_because = self.breaker.reason if self.breaker.state != CLOSED else None
            self._count_busy_time()
            self._in_flight[slot] = batch
            self.rows += batch.rows
        if open_because is None:
            self._workers.run(partial(self._ask, slot, batch))
        else:
            self._settle(slot, BigFailure("breaker_open", f"its circuit breaker is open: {open_because}"))

    def poll(self) -> None:
        """Give up overdue calls, probe a failed stage, measure the rate. To be called often."""
        now = self._clock()
        with self._lock:
            overdue = [slot for slot in self._in_flight if now >= slot.deadline]
        for slot in overdue:
            self._settle(slot, BigFailure("timeout", f"no answer within {self._timeout_s * 1e3:g} ms"))
        with self._lock:
            self._count_busy_time()
            self._rate.observe(self._answered, self._busy_s)
            self._answered, self._busy_s = 0, 0.0
            sample = self._sample if self._probes < MAX_PROBES and self.breaker.probe_due(now) else None
            self._probes += sample is not None
        if sample is not None:
            threading.Thread(target=self._probe, args=(sample, now + self._timeout_s), daemon=True).start()

    def _ask(self, slot: InFlightSlot, batch: EscalatedBatch, buffer: Pixels) -> None:
        """Call big for a batch; runs on a worker thread."""
        result: Outputs | BigFailure
        try:
            images = batch.images(buffer)
            slot.asked, slot.sample = len(images), images.part(0, 1)
            result = self._call_in_parts(images, batch)
        except StageFailed as failure:
            result = BigFailure("error", str(failure), blames_big=failure.blames_stage)
        except Exception as problem:  # whatever it is, the callers must get a response
            result = BigFailure("error", f"{type(problem).__name__}: {problem}")
        self._settle(slot, result)

    def _call_in_parts(self, images: Images, batch: EscalatedBatch) -> Outputs:
        """One call, or several if the batch is larger than big takes; none for no images."""
        limit_us = int(self._timeout_s * 1e6)
        timeout_us = min(batch.timeout_us or limit_us, limit_us)
        parts = [
            self._call(images.part(start, start + self._max_batch_size), batch.outputs, timeout_us)
            for start in range(0, len(images), self._max_batch_size)
        ]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in batch.outputs} if parts else {}

    def _settle(self, slot: InFlightSlot, result: Outputs | BigFailure) -> None:
        """Note what the result says about big, and hand it to the batch, unless that was given up already."""
        with self._lock:
            if slot not in self._in_flight:
                return
            self._count_busy_time()
            batch = self._in_flight.pop(slot)
            self.rows -= batch.rows
            if not isinstance(result, BigFailure):
                if slot.asked:  # otherwise big was not called, which says nothing about it
                    self._answered += slot.asked
                    self.breaker.succeeded()
            elif slot.sample is not None and self._blames_big(batch, result):
                self._sample = slot.sample.copy()
                self.breaker.failed(self._clock(), result.message, result.reason == "timeout")
        try:
            batch.settle(result)
        finally:
            self._permits.release()

    def _blames_big(self, batch: EscalatedBatch, failure: BigFailure) -> bool:
        """Whether a failure counts against big.

        A timeout always does, whatever limits the callers had: while a stage hangs, Triton rejects nothing from its
        queue, and each further call would hold one of Triton's threads. An error does not if it may only mean that
        the callers' own time limit, which is passed on with the call, was too short.
        """
        if not failure.blames_big:
            return False
        impatient = 0 < batch.timeout_us < int(self._timeout_s * 1e6)
        return failure.reason == "timeout" or (failure.reason == "error" and not impatient)

    def _probe(self, sample: Images, deadline: float) -> None:
        """Ask big for one image that no caller waits for; an answer in time closes the breaker."""
        message: str | None = None
        try:
            self._call(sample, ("label",), int(self._timeout_s * 1e6))
        except Exception as problem:
            message = str(problem)
        with self._lock:
            self._probes -= 1
            now = self._clock()
            if message is None and now <= deadline:
                self.breaker.succeeded()
            elif self.breaker.state != CLOSED:
                self.breaker.failed(now, message or self.breaker.reason, timed_out=message is None)

    def _count_busy_time(self) -> None:
        now = self._clock()
        if self.rows:
            self._busy_s += now - self._busy_since
        self._busy_since = now
