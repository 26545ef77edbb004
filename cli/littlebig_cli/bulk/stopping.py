"""Stops a run on Ctrl-C or SIGTERM without losing the answers that are on their way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Stopped(KeyboardInterrupt):
    """Ends the wait for the next item."""


class Stop:
    """A request to stop.

    As a context manager, it turns the first signal into such a request; a second one ends the process at once.

    Attributes:
        signal: the signal that asked for it, or None.
    """

    def __init__(self) -> None:
        """Ask for nothing yet."""
        self.signal: int | None = None
        self._is_set = False
        self._is_waiting = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stop:
        """Handle the signals, but for those that are ignored, as under nohup."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *raised: object) -> None:
        """Restore what was there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def set(self) -> None:
        """Take no further items."""
        self._is_set = True

    def limited(self, items: Iterable[T]) -> Iterator[T]:
        """The items until a stop; a stop also ends the wait for the next one."""
        source = iter(items)
        while not self._is_set:
            try:
                self._is_waiting = True
                item = next(source)
                self._is_waiting = False
            except (StopIteration, _Stopped):
                return
            finally:
                self._is_waiting = False
            yield item

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_set:
            raise KeyboardInterrupt
        self.signal, self._is_set = number, True
        if self._is_waiting:
            raise _Stopped
