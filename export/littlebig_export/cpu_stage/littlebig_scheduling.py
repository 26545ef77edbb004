"""What Linux's scheduler is told of a stage: that it computes for long, and may be interrupted at any time.

From Linux 6.12 on a process can state its time slice, and one with a shorter slice takes the core from one with a
longer slice as soon as it wakes. All slices alike, it waits until the other's is over, up to a tick of the scheduler
(4 ms at 250 Hz), and that at each of the ten wake-ups that an image needs on its way through Triton, gate and stage.
Earlier kernels accept the slice and do nothing with it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform

# sched_setattr(2) has no function in glibc before 2.41, and none in Python: its number, from the kernel's tables.
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}


class _SchedAttr(ctypes.Structure):
    """`struct sched_attr` in its first version, from include/uapi/linux/sched/types.h."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),  # nanoseconds; of an ordinary thread the slice
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def set_slice(milliseconds: float) -> None:
    """Set the time slice of the calling thread, and of threads that it starts from now on.

    Args:
        milliseconds: from 0.1 to 100, to which the kernel clips it.

    Raises:
        OSError: if the kernel refuses, or the processor is none whose call is known.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"the number of sched_setattr on {platform.machine()} is not known")
    nanoseconds = round(milliseconds * 1e6)
    wanted = _SchedAttr(
        ctypes.sizeof(_SchedAttr), os.sched_getscheduler(0), 0, os.getpriority(os.PRIO_PROCESS, 0), 0, nanoseconds, 0, 0
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, 0, ctypes.byref(wanted), 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
