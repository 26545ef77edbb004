"""Images in system shared memory, for a server on this machine: a request then names a region instead of carrying it.

Each request in flight has a region of its own. The server maps a region when it is registered; its name is removed at
once, so nothing stays behind when either process ends. A region whose request was not answered is left alone for long:
the server may still read it.
"""

import contextlib
import mmap
import os
import secrets
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from littlebig_client._errors import InvalidRequest

_FOLDER = "/dev/shm"  # noqa: S108  (where shm_open looks)
_SMALLEST = 1 << 16
# The server keeps a region for good once it is registered; this bounds the memory of a server that answers nothing.
_MOST_ABANDONED = 64


class Region:
    """One region of shared memory.

    Attributes:
        name: the server's name for it, and the key by which the server opens it.
        size: its bytes.
        is_registered: whether the server has mapped it.
    """

    def __init__(self, size: int) -> None:
        """Create it, readable by this user only.

        Raises:
            InvalidRequest: there is no shared memory, or not enough.
        """
        self.name = f"littlebig-client-{secrets.token_hex(8)}"
        self.size = size
        self.is_registered = False
        try:
            file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            try:
                os.posix_fallocate(file, 0, size)  # else a full /dev/shm would kill the process at the first write
                self._memory = mmap.mmap(file, size)
            finally:
                os.close(file)
        except OSError as reason:
            self.remove_name()
            raise InvalidRequest(f"shared memory of {size} bytes in {_FOLDER}: {reason.strerror}") from None

    def write(self, parts: Sequence[Any]) -> int:
        """Write buffers one after the other, and return their length in bytes."""
        end = 0
        for part in parts:
            start, end = end, end + memoryview(part).nbytes
            self._memory[start:end] = memoryview(part).cast("B")
        return end

    def remove_name(self) -> None:
        """Let nobody else open it; those who have mapped it keep it."""
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    @property
    def _path(self) -> str:
        return f"{_FOLDER}/{self.name}"


class Regions:
    """The regions of one client. Safe to use from several threads."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._free: list[Region] = []
        self._abandoned: deque[Region] = deque()

    def take(self, size: int) -> Region:
        """A region of at least `size` bytes that no request uses.

        Raises:
            InvalidRequest: as `Region`.
        """
        with self._lock:
            for position, region in enumerate(self._free):
                if region.size >= size:
                    return self._free.pop(position)
        return Region(max(1 << (size - 1).bit_length(), _SMALLEST))

    def put(self, region: Region, *, is_read: bool) -> None:
        """Return a region after its request.

        Args:
            region: from `take`. One that the server has not mapped is dropped.
            is_read: whether the server answered. If not, the region rests until many later ones were not read either.
        """
        if not region.is_registered:
            region.remove_name()
            return
        with self._lock:
            if is_read:
                self._free.append(region)
                return
            self._abandoned.append(region)
            if len(self._abandoned) > _MOST_ABANDONED:
                self._free.append(self._abandoned.popleft())

    def take_all(self) -> list[Region]:
        """Every region that no request uses, to forget them."""
        with self._lock:
            free, self._free = self._free, []
        return free
