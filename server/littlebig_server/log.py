"""Reads what tritonserver says, so that it never waits for anybody to read it."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import IO

# Enough for the start of a large repository at verbose level 0 and for looking back at what went wrong: some MB.
KEPT_LINES = 5000


class ServerLog:
    """The log of one server: kept (its last lines), written to a file, handed on line by line.

    Two threads: one does nothing but read the pipe, so that it cannot fill; one hands lines on, and may be held up
    by whoever takes them (a terminal stopped with Ctrl-S). Lines that find the queue between the two full are counted
    and left out of what is handed on.
    """

    def __init__(
        self, stream: IO[str], file: IO[str] | None = None, hand_on: Callable[[str], None] | None = None
    ) -> None:
        """Start to read.

        Args:
            stream: where the log comes from; read to its end and closed.
            file: also write the log there; closed when the stream ends.
            hand_on: called with each line, without its line end, in a thread of ours.
        """
        self._stream = stream
        self._file = file
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._lock = threading.Lock()
        self._hand_on = hand_on
        self._waiting: queue.Queue[str | None] = queue.Queue(maxsize=KEPT_LINES)
        self._threads = [threading.Thread(target=self._read, name="triton-log", daemon=True)]
        if hand_on is not None:
            self._threads.append(threading.Thread(target=self._forward, name="triton-log-out", daemon=True))
        for thread in self._threads:
            thread.start()

    def tail(self, lines: int = KEPT_LINES) -> Sequence[str]:
        """The last lines, oldest first.

        Args:
            lines: how many at most; no more than 5,000 are kept.
        """
        with self._lock:
            return list(self._lines)[-lines:] if lines > 0 else []

    def finish(self, timeout: float = 5.0) -> None:
        """Wait until the stream has ended and everything is handed on.

        Args:
            timeout: seconds for each of the two; whoever takes the lines may never come back.
        """
        for thread in self._threads:
            thread.join(timeout)

    def _read(self) -> None:
        left_out = 0
        with self._stream:
            for raw in self._stream:
                line = raw.rstrip("\n")
                with self._lock:
                    self._lines.append(line)
                if self._file is not None:
                    self._file.write(raw)
                    self._file.flush()
                left_out = self._offer(line, left_out)
        if self._file is not None:
            self._file.close()
        if self._hand_on is not None:
            self._waiting.put(None)

    def _offer(self, line: str, left_out: int) -> int:
        """Queue a line for handing on; returns how many were left out since the last one that found room."""
        if self._hand_on is None:
            return 0
        try:
            if left_out:
                self._waiting.put_nowait(
                    f"({left_out} lines of the log left out: they came faster than they were read)"
                )
                left_out = 0
            self._waiting.put_nowait(line)
        except queue.Full:
            return left_out + 1
        return 0

    def _forward(self) -> None:
        assert self._hand_on is not None  # noqa: S101  (this thread exists only then)
        is_wanted = True
        while (line := self._waiting.get()) is not None:
            try:
                if is_wanted:
                    self._hand_on(line)
            except OSError:  # whoever took the lines is gone (a closed terminal): the server runs on
                is_wanted = False
