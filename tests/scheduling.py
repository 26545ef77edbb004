"""What the kernel says of how it schedules a process."""

import ctypes
import os
import platform

import pytest
from littlebig_scheduling import _SchedAttr

GETATTR = {"x86_64": 315, "aarch64": 275}
KERNEL = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])

needs_the_call = pytest.mark.skipif(
    platform.machine() not in GETATTR, reason="the number of sched_getattr is known for x86_64 and aarch64"
)
needs_slices = pytest.mark.skipif(
    KERNEL < (6, 12), reason="needs Linux 6.12, which is the first to let a process choose its slice"
)


def attributes(process: int = 0) -> _SchedAttr:
    """Of a process, or of the calling thread."""
    found = _SchedAttr()
    call = (GETATTR[platform.machine()], process, ctypes.byref(found), ctypes.sizeof(found), 0)
    assert ctypes.CDLL(None, use_errno=True).syscall(*call) == 0, os.strerror(ctypes.get_errno())
    return found
