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
        ready: threads to start now; others start when all are busy.
        make_buffer: called for each thread.
    """

    def __init__(self, ready: int, make_buffer: Callable[[], Pixels]) -> None:
        """Start the first threads."""
        self._make_buffer = make_buffer
        self._idle = [self._start() for _ in range(ready)]

    def run(self, work: Work) -> None:
        """Run `work` with a buffer, soon, on some thread. It must not raise."""
        try:
            inbox = self._idle.pop()
        except IndexError:
            inbox = self._start()
        inbox.put(work)

    def _start(self) -> queue.SimpleQueue[Work]:
        """Start a thread; returns where it takes its work from."""
        inbox: queue.SimpleQueue[Work] = queue.SimpleQueue()
        threading.Thread(target=self._serve, args=[inbox, self._make_buffer()], daemon=True).start()
        return inbox

    def _serve(self, inbox: queue.SimpleQueue[Work], buffer: Pixels) -> None:
        while True:
            inbox.get()(buffer)
            self._idle.append(inbox)
