"""The gate's clock: one thread that runs periodic work and calls back at deadlines."""

from __future__ import annotations

import contextlib
import sched
import threading
import time
from collections.abc import Callable

Deadline = sched.Event


class Timer:
    """Runs callbacks one after another; safe to use from any thread.

    Args:
        report: called with a line about each callback that raises. The others run all the same.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        """Start the thread."""
        self._report = report
        self._schedule = sched.scheduler(time.monotonic)
        self._changed = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def at(self, when: float, callback: Callable[[], None]) -> Deadline:
        """Call `callback` once at `when`, in seconds of `time.monotonic`; at once if that is over."""
        deadline = self._schedule.enterabs(when, 0, callback)
        self._changed.set()
        return deadline

    def cancel(self, deadline: Deadline) -> None:
        """Forget a deadline; one that has passed already is ignored."""
        with contextlib.suppress(ValueError):
            self._schedule.cancel(deadline)

    def every(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call `callback` again and again, `seconds` after the start of the call before."""

        def repeat() -> None:
            self.at(time.monotonic() + seconds, repeat)
            callback()

        self.at(time.monotonic() + seconds, repeat)

    def stop(self) -> None:
        """End the thread, once the callback that it may be running returns."""
        self._stopping = True
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._changed.wait(self._schedule.run(blocking=False))
                self._changed.clear()
            except Exception as problem:
                self._report(f"{type(problem).__name__}: {problem}")
