"""Threads for calls that block: some from the start, reused while one is free, and one more whenever all are busy.

Not a pool of fixed size, because a call to a stage that hangs cannot be taken back: it would keep its thread from
everybody else. (`async_exec` runs its calls in the event loop's pool of a few threads, with the same fate.) They are
daemons: Python's own pools wait for their threads at exit, which such a call would make for ever.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Workers:
    """Runs work beside its caller.

    Args:
        ready: threads that are there from the start.
        prepare: what each of these does first.
    """

    def __init__(self, ready: int, prepare: Callable[[], object]) -> None:
        """Start those that are to be ready."""
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._free = ready
        for _ in range(ready):
            threading.Thread(target=self._serve, args=[prepare], daemon=True).start()

    def run(self, work: Callable[[], None]) -> None:
        """Run it soon, on some thread; it must not raise."""
        with self._lock:
            start = self._free == 0
            self._free -= not start
        self._work.put(work)
        if start:
            threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self, prepare: Callable[[], object] | None = None) -> None:
        if prepare is not None:
            prepare()
        while True:
            self._work.get()()
            with self._lock:
                self._free += 1
