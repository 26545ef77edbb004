"""The requests of a batch that wait for big: each is answered once, when big is done or when its own time is up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

from littlebig_alarms import Alarms
from littlebig_batch import Accepted, Answer, Batch
from littlebig_escalation import Failure, Outputs
from littlebig_images import Images, Pixels


class Waiting:
    """A batch from the moment on when it is left to other threads than `execute`'s.

    A caller's time limit counts from when the gate took its batch: how long the request stood in Triton's queue before,
    where the queue policy heeds the same limit, Python is not told.

    Args:
        batch: some of its requests wait for big.
        since: when the gate took it, by `time.monotonic`.
        answer: sends requests their answers; on the thread that has them first.
        alarms: for callers' limits.
    """

    def __init__(
        self, batch: Batch, since: float, answer: Callable[[Sequence[tuple[Accepted, Answer]]], None], alarms: Alarms
    ) -> None:
        """Set an alarm for every caller with a limit."""
        self._batch, self._answer, self._alarms = batch, answer, alarms
        self._lock = threading.Lock()
        self._set = [
            alarms.at(since + one.timeout_us / 1e6, partial(self._give_up, one))
            for one in tuple(batch.waiting)
            if one.timeout_us
        ]

    def images(self, cancelled: Callable[[Accepted], bool], room: Pixels) -> Images:
        """Those for big, as `Batch.escalated` gives them."""
        with self._lock:
            return self._batch.escalated(cancelled, room)

    def settle(self, result: Outputs | Failure) -> None:
        """Answer all that still wait with big's answers, or what takes their place."""
        # None is kept: an alarm holds this object, and with it the images, until the cyclic collector runs.
        while self._set:
            self._alarms.cancel(self._set.pop())
        with self._lock:
            answers = [(one, self._batch.answer(one)) for one in self._batch.take(result)]
        self._answer(answers)

    def _give_up(self, one: Accepted) -> None:
        with self._lock:
            answers = [(one, self._batch.answer(one))] if self._batch.give_up(one) else []
        self._answer(answers)
