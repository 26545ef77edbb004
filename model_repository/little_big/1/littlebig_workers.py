"""Threads for calls of big, which block.

Not a pool of fixed size: a call of a stage that hangs cannot be taken back and keeps its thread, so there is always a
thread more than hung calls. (`async_exec` runs its calls in the event loop's pool of a few threads, where hung calls
would block all others.) The threads are daemons, because Python's own pools wait for their threads at exit.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from littlebig_images import Pixels

Work = Callable[[Pixels], None]


class Workers:
    """Runs work on other threads. Each thread has a buffer of its own, so that no two calls share one.

    Args:
        ready: threads that are started at once; others start when all are busy.
        make_buffer: called by each thread when it starts.
    """

    def __init__(self, ready: int, make_buffer: Callable[[], Pixels]) -> None:
        """Start the first threads, and wait until their buffers are there."""
        self._make_buffer = make_buffer
        self._work: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        for _ in range(ready):
            self._start(idle=True)
        for _ in range(ready):
            self._idle.acquire()
        for _ in range(ready):
            self._idle.release()

    def run(self, work: Work) -> None:
        """Run `work` with a buffer, soon, on some thread. It must not raise."""
        if not self._idle.acquire(blocking=False):
            self._start(idle=False)
        self._work.put(work)

    def _start(self, idle: bool) -> None:
        threading.Thread(target=self._serve, args=[idle], daemon=True).start()

    def _serve(self, idle: bool) -> None:
        buffer = self._make_buffer()
        while True:
            if idle:
                self._idle.release()
            self._work.get()(buffer)
            idle = True
