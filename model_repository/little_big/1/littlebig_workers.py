"""Threads for calls that block: reused while one is free, and one more whenever all are busy.

Not a pool of fixed size, because a call to a stage that hangs cannot be taken back: it would keep its thread from
everybody else. (`async_exec` runs its calls in the event loop's pool of a few threads, with the same fate.) They are
daemons: Python's own pools wait for their threads at exit, which such a call would make for ever.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Inbox = queue.SimpleQueue[Callable[[], None]]


class Workers:
    """Runs work beside its caller."""

    def __init__(self) -> None:
        """No thread yet."""
        self._free: list[Inbox] = []

    def run(self, work: Callable[[], None]) -> None:
        """Run it soon, on some thread; it must not raise."""
        try:
            # The one that was busy last: the memory that it keeps for images is still in the caches.
            self._free.pop().put(work)
        except IndexError:
            inbox: Inbox = queue.SimpleQueue()
            inbox.put(work)
            threading.Thread(target=self._serve, args=(inbox,), daemon=True).start()

    def _serve(self, inbox: Inbox) -> None:
        while True:
            inbox.get()()
            self._free.append(inbox)
