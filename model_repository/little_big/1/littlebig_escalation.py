"""Calls of the big stage: beside the requests, bounded, with a time limit, behind the circuit breaker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from littlebig_breaker import CLOSED, Breaker
from littlebig_images import Images
from littlebig_overload import ServiceRate
from littlebig_workers import Workers

Outputs = Mapping[str, npt.NDArray[np.generic]]
# Probes of a hung stage that may wait for it at a time; each holds a thread, here and in Triton, until it is back.
MOST_PROBES = 8


class StageFailed(Exception):
    """A stage's call came back with an error."""


@dataclass(frozen=True)
class Failure:
    """Why big gave no answer.

    Attributes:
        reason: `error`, `timeout` or `breaker_open`.
        message: for the caller.
    """

    reason: str
    message: str


class Place:
    """Room for one batch among those in flight, free again at the end of the block unless `ask` has used it.

    Args:
        slots: as many as batches may be in flight.
        patience: seconds to wait for one; None for as long as it takes.
    """

    def __init__(self, slots: threading.Semaphore, patience: float | None) -> None:
        """Wait for it."""
        self._granted = slots.acquire(timeout=patience)
        self._slots = slots
        self.used = False

    def __enter__(self) -> Place | None:
        """The place, or None if there was none in time."""
        return self if self._granted else None

    def __exit__(self, *reason: object) -> None:
        """Whatever went wrong, it is free again."""
        if self._granted and not self.used:
            self._slots.release()


@dataclass(eq=False)
class _Call:
    rows: int
    deadline: float
    patient: bool
    settle: Callable[[Outputs | Failure], None]
    asked: int = 0  # fewer than `rows` where callers have gone or given up meanwhile
    sample: Images | None = None


class BigStage:
    """The big stage as the gate sees it.

    Args:
        call: (images, output names, timeout in microseconds or 0) -> outputs; blocks; raises StageFailed.
        in_flight: how many batches may wait for big at a time.
        timeout: seconds that one call may take.
        retry: seconds between two probes of a stage that has failed.
        max_batch_size: most images in one call.
        prepare: what each thread does at once that will call for one of the batches in flight.
        clock: seconds.
    """

    def __init__(
        self,
        call: Callable[[Images, Sequence[str], int], Outputs],
        *,
        in_flight: int,
        timeout: float,
        retry: float,
        max_batch_size: int,
        prepare: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is in flight and the breaker is closed."""
        self.limit = in_flight
        self.breaker = Breaker(retry)
        self.rate = ServiceRate()
        self.batches = 0
        self.rows = 0
        self._call, self._timeout, self._clock = call, timeout, clock
        self._max_batch_size = max_batch_size
        self._slots = threading.BoundedSemaphore(in_flight)
        self._lock = threading.Lock()
        self._workers = Workers(in_flight, prepare)
        self._calls: list[_Call] = []
        self._sample: Images | None = None
        self._probes = 0
        self._answered, self._busy, self._since = 0, 0.0, clock()

    def seconds(self) -> float:
        """How long the images in flight will take, seconds."""
        return self.rate.seconds_for(self.rows)

    def seconds_per_image(self) -> float:
        """How long one image occupies the stage."""
        return self.rate.seconds_for(1)

    def reserve(self, patience: float | None = None) -> Place:
        """Wait until one more batch may be in flight, or for `patience` seconds; see Place."""
        return Place(self._slots, patience)

    def ask(
        self,
        place: Place,
        images: Callable[[], Images],
        rows: int,
        outputs: Sequence[str],
        timeout_us: int,
        settle: Callable[[Outputs | Failure], None],
    ) -> None:
        """Ask big for a batch's unsure rows.

        Args:
            place: from `reserve`; free again once this batch is settled.
            images: gives them, in the call's own thread; may leave some out, even all. One of them may be asked again,
                to see whether a stage that has failed is back.
            rows: how many at most.
            outputs: names of the outputs wanted.
            timeout_us: the callers' own limit in microseconds for waiting in big's queue, 0 for none.
            settle: called once, on some thread, with big's outputs or the reason why there are none.
        """
        limit_us = int(self._timeout * 1e6)
        patient = timeout_us == 0 or timeout_us >= limit_us
        call = _Call(rows, self._clock() + self._timeout, patient, settle)
        place.used = True
        with self._lock:
            reason = self.breaker.reason if self.breaker.state != CLOSED else None
            self._account()
            self._calls.append(call)
            self.batches += 1
            self.rows += rows
        if reason is not None:
            self._settle(call, Failure("breaker_open", f"left alone since it failed: {reason}"))
            return
        patience_us = min(timeout_us or limit_us, limit_us)
        self._workers.run(partial(self._run, call, images, outputs, patience_us))

    def tick(self) -> None:
        """Give up what has run out of time, probe a failed stage, measure the rate. To be called often."""
        now = self._clock()
        with self._lock:
            overdue = [call for call in self._calls if now >= call.deadline]
        for call in overdue:
            self._settle(call, Failure("timeout", f"no answer within {self._timeout * 1e3:g} ms"))
        with self._lock:
            self._account()
            self.rate.observe(self._answered, self._busy)
            self._answered, self._busy = 0, 0.0
            sample = self._sample if self._probes < MOST_PROBES and self.breaker.probe_due(now) else None
            self._probes += sample is not None
        if sample is not None:
            self._workers.run(partial(self._probe, sample, now + self._timeout))

    def _run(self, call: _Call, images: Callable[[], Images], outputs: Sequence[str], timeout_us: int) -> None:
        result: Outputs | Failure
        try:
            batch = images()
            call.asked = len(batch)
            call.sample = batch.part(0, 1)
            result = self._in_parts(batch, outputs, timeout_us)
        except StageFailed as reason:
            result = Failure("error", str(reason))
        except Exception as reason:  # whatever it is, the callers must hear of it
            result = Failure("error", f"{type(reason).__name__}: {reason}")
        self._settle(call, result)

    def _in_parts(self, images: Images, outputs: Sequence[str], timeout_us: int) -> Outputs:
        """One call, or several where the batch is larger than big takes."""
        size = self._max_batch_size
        starts = range(0, len(images), size)
        parts = [self._call(images.part(start, start + size), outputs, timeout_us) for start in starts]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in outputs} if parts else {}

    def _settle(self, call: _Call, result: Outputs | Failure) -> None:
        """Hand the result over, unless it comes too late; then note what it says about the stage."""
        with self._lock:
            if call not in self._calls:
                return
            self._account()
            self._calls.remove(call)
            self.batches -= 1
            self.rows -= call.rows
            if not isinstance(result, Failure):
                if call.asked:  # else nobody was left to ask for, which says nothing about the stage
                    self._answered += call.asked
                    self.breaker.succeeded()
            elif call.sample is not None and _blames_big(call, result):
                self._sample = call.sample.copy()
                self.breaker.failed(self._clock(), result.message, result.reason == "timeout")
        try:
            call.settle(result)
        finally:
            self._slots.release()

    def _probe(self, sample: Images, deadline: float) -> None:
        """See whether big is back; an answer that comes too late says that it is not."""
        failure: Any = None
        try:
            self._call(sample, ("label",), int(self._timeout * 1e6))
        except StageFailed as reason:
            failure = str(reason)
        with self._lock:
            self._probes -= 1
            now = self._clock()
            if failure is None and now <= deadline:
                self.breaker.succeeded()
            elif self.breaker.state != CLOSED:
                self.breaker.failed(now, failure or self.breaker.reason, timed_out=failure is None)

    def _account(self) -> None:
        now = self._clock()
        if self.rows:
            self._busy += now - self._since
        self._since = now


def _blames_big(call: _Call, failure: Failure) -> bool:
    """Whether a failed call says that something is wrong with big.

    No answer within the gate's own time does, whatever limit the callers had: while a stage hangs Triton rejects
    nothing from its queue, and each further call would hold one of its threads for ever.
    An error may only say that the callers did not want to wait for so long.
    """
    return failure.reason == "timeout" or (failure.reason == "error" and call.patient)
