"""The unsure rows of a batch on their way to big, and the requests that wait for them.

Each request is answered exactly once: by `settle`, when big is done or has failed, or at its own time limit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

from littlebig_batch import Batch, Outputs, Response
from littlebig_errors import CALLER_TIMEOUT, BigFailure
from littlebig_images import Images, Pixels
from littlebig_request import Request, longest_timeout_us
from littlebig_timer import Timer

Respond = Callable[[Sequence[tuple[Request, Response]]], None]


class EscalatedBatch:
    """What is left of a batch when `execute` returns. Safe to use from any thread.

    Args:
        batch: decided; at least one request waits.
        is_cancelled: whether a request's caller has cancelled it.
        respond: sends requests their responses.
        timer: for callers' time limits.

    Attributes:
        outputs: names of the outputs that big is asked for.
        rows: images that need big.
        timeout_us: the longest of the callers' time limits in microseconds; 0 if one has none.
    """

    def __init__(self, batch: Batch, is_cancelled: Callable[[Request], bool], respond: Respond, timer: Timer) -> None:
        """Set a deadline for every caller with a time limit."""
        self._batch, self._is_cancelled, self._respond, self._timer = batch, is_cancelled, respond, timer
        self._lock = threading.Lock()
        self._waiting = list(batch.waiting)
        self._asked: list[int] = []  # rows that big was asked for
        self.outputs = batch.outputs
        self.rows = sum(len(batch.needs_big(request)) for request in self._waiting)
        self.timeout_us = longest_timeout_us(self._waiting)
        self._deadlines = [
            timer.at(request.received + request.timeout_us / 1e6, partial(self._expire, request))
            for request in batch.waiting
            if request.timeout_us
        ]

    def images(self, buffer: Pixels | None = None) -> Images:
        """The images for big: those of requests that are neither cancelled nor past their time limit.

        Args:
            buffer: to gather the images in.

        Returns:
            Perhaps no image at all.
        """
        with self._lock:
            for request in self._waiting:
                if self._is_cancelled(request):
                    self._batch.cancel(request)
            self._asked = [row for request in self._waiting for row in self._batch.needs_big(request)]
            return self._batch.images(self._asked, buffer)

    def settle(self, result: Outputs | BigFailure) -> None:
        """Answer all requests that still wait: from big, from little in its place, or with an error."""
        # Deadlines refer to this object. Keeping them would keep its images until the cyclic garbage collector runs.
        while self._deadlines:
            self._timer.cancel(self._deadlines.pop())
        with self._lock:
            requests, self._waiting = self._waiting, []
            if isinstance(result, BigFailure):
                self._batch.finish_without_big(requests, result)
            else:
                self._batch.finish_with_big(requests, self._asked, result)
            responses = [(request, self._batch.response(request)) for request in requests]
        self._respond(responses)

    def _expire(self, request: Request) -> None:
        """Answer a request whose time limit is up; the others wait on."""
        with self._lock:
            if request not in self._waiting:
                return
            self._waiting.remove(request)
            self._batch.finish_without_big([request], CALLER_TIMEOUT)
            responses = [(request, self._batch.response(request))]
        self._respond(responses)
