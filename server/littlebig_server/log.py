"""Reads tritonserver's log, so that a full pipe never blocks the server."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import IO

# The start of a large repository at verbose level 0 fits; some MB of memory.
KEPT_LINES = 5000


class ServerLog:
    """The log of one server: its last lines are kept, all are written to a file and passed to a callback.

    One thread only reads the pipe. Another one calls the callback, which may block (a terminal stopped with Ctrl-S).
    Lines that find the queue between the two full are counted and not passed on.
    """

    def __init__(
        self, stream: IO[str], file: IO[str] | None = None, on_line: Callable[[str], None] | None = None
    ) -> None:
        """Start to read.

        Args:
            stream: the log's source; read to its end and closed.
            file: also write the log there; closed when the stream ends.
            on_line: called with each line, without its line end, in its own thread.
        """
        self._stream = stream
        self._file = file
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._lock = threading.Lock()
        self._on_line = on_line
        self._queue: queue.Queue[str | None] = queue.Queue(maxsize=KEPT_LINES)
        self._threads = [threading.Thread(target=self._read, name="triton-log", daemon=True)]
        if on_line is not None:
            self._threads.append(threading.Thread(target=self._forward, name="triton-log-out", daemon=True))
        for thread in self._threads:
            thread.start()

    def tail(self, lines: int = KEPT_LINES) -> Sequence[str]:
        """The last lines, oldest first.

        Args:
            lines: how many at most; 5,000 are kept.
        """
        with self._lock:
            return list(self._lines)[-lines:] if lines > 0 else []

    def finish(self, timeout: float = 5.0) -> None:
        """Wait until the stream has ended and every line was passed on.

        Args:
            timeout: seconds for each of the two; the callback may block.
        """
        for thread in self._threads:
            thread.join(timeout)

    def _read(self) -> None:
        skipped = 0
        with self._stream:
            for raw in self._stream:
                line = raw.rstrip("\n")
                with self._lock:
                    self._lines.append(line)
                if self._file is not None:
                    self._file.write(raw)
                    self._file.flush()
                skipped = self._offer(line, skipped)
        if self._file is not None:
            self._file.close()
        if self._on_line is not None:
            self._queue.put(None)

    def _offer(self, line: str, skipped: int) -> int:
        """Queue a line for the callback; returns how many lines were skipped since the last one that was queued."""
        if self._on_line is None:
            return 0
        try:
            if skipped:
                self._queue.put_nowait(f"({skipped} lines of the log left out: they came faster than they were read)")
                skipped = 0
            self._queue.put_nowait(line)
        except queue.Full:
            return skipped + 1
        return 0

    def _forward(self) -> None:
        assert self._on_line is not None  # noqa: S101  (this thread exists only then)
        is_open = True
        while (line := self._queue.get()) is not None:
            try:
                if is_open:
                    self._on_line(line)
            except OSError:  # a closed terminal; the server runs on
                is_open = False
