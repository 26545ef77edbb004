"""Calls back at given times, by the clock alone: nobody has to come by."""

from __future__ import annotations

import contextlib
import sched
import threading
import time
import traceback
from collections.abc import Callable

Alarm = sched.Event


class Alarms:
    """Runs what is due, on one thread that starts with the first alarm; safe to use from any thread."""

    def __init__(self) -> None:
        """None is set."""
        self._schedule = sched.scheduler(time.monotonic)
        self._set = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def at(self, when: float, ring: Callable[[], None]) -> Alarm:
        """Have `ring` called at a time of `time.monotonic`, or soon where that is over."""
        alarm = self._schedule.enterabs(when, 0, ring)
        self._set.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, daemon=True)
                self._thread.start()
        return alarm

    def cancel(self, alarm: Alarm) -> None:
        """Forget an alarm, which may have rung already."""
        with contextlib.suppress(ValueError):
            self._schedule.cancel(alarm)

    def _serve(self) -> None:
        while True:
            try:
                self._set.wait(self._schedule.run(blocking=False))
                self._set.clear()
            except Exception:  # those after it shall ring all the same
                traceback.print_exc()
