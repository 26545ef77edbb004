"""glibc's heap: keep freed memory for the next batch.

Triton's stub copies each request's images into memory of its own, which it frees with the request. By default glibc
returns free memory at the top of the heap to Linux, which clears every page of it again for the next batch.
"""

from __future__ import annotations

import ctypes

import numpy as np

# Numbers of malloc.h. See mallopt(3): a trim threshold of -1 means never; 32 MiB is the largest mmap threshold.
_M_TRIM_THRESHOLD, _NEVER = -1, -1
_M_MMAP_THRESHOLD, _LARGEST = -3, 32 * 2**20
_M_ARENA_MAX = -8


def keep_freed_memory(blocks: int, size: int) -> None:
    """Let this process keep all memory that its heap has had, and allocate the first of it now.

    Both thresholds are needed: setting one stops glibc from adapting the other. Blocks of up to 32 MiB then come from
    the heap. All threads share one heap, because each of the heaps that glibc would make for threads grows for some
    hundred thousand requests. Other C libraries have no such settings, and nothing is done.

    Args:
        blocks: number of blocks to pre-fault.
        size: of each, in bytes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
        mallopt(_M_ARENA_MAX, 1)
        for block in [np.empty(size, np.uint8) for _ in range(blocks)]:
            block.fill(0)  # pages exist once they are written to
