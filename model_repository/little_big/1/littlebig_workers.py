"""Threads for calls that block: some from the start, reused while one is free, and one more whenever all are busy.

Not a pool of fixed size, because a call to a stage that hangs cannot be taken back: it would keep its thread from
everybody else. (`async_exec` runs its calls in the event loop's pool of a few threads, with the same fate.) They are
daemons: Python's own pools wait for their threads at exit, which such a call would make for ever.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

_Inbox = queue.SimpleQueue[Callable[[], None]]


class Workers:
    """Runs work beside its caller, on the thread that was busy last: what it keeps may still be in the caches.

    Args:
        ready: threads that are there from the start.
        prepare: what each of these does first.
    """

    def __init__(self, ready: int, prepare: Callable[[], object]) -> None:
        """Start those that are to be ready."""
        self._free = [self._start(prepare) for _ in range(ready)]

    def run(self, work: Callable[[], None]) -> None:
        """Run it soon, on some thread; it must not raise."""
        try:
            inbox = self._free.pop()
        except IndexError:
            inbox = self._start(lambda: None)
        inbox.put(work)

    def _start(self, prepare: Callable[[], object]) -> _Inbox:
        inbox: _Inbox = queue.SimpleQueue()
        threading.Thread(target=self._serve, args=[inbox, prepare], daemon=True).start()
        return inbox

    def _serve(self, inbox: _Inbox, prepare: Callable[[], object]) -> None:
        prepare()
        while True:
            inbox.get()()
            self._free.append(inbox)
