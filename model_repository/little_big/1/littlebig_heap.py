"""The C library's heap: what one batch of images leaves stays for the next.

Triton's stub copies each request's images out of shared memory into memory of its own, which is free again when the
request is answered. glibc gives free memory at the top of the heap back to Linux once it is twice the largest block
that was ever mapped, here two images, and Linux clears every page of it before the next batch gets it.
"""

from __future__ import annotations

import ctypes

import numpy as np

# Numbers from glibc's malloc.h. mallopt(3): -1 is never, and 32 MiB the most that a 64-bit process may set.
_M_TRIM_THRESHOLD, _NEVER = -1, -1
_M_MMAP_THRESHOLD, _LARGEST = -3, 32 * 2**20
_M_ARENA_MAX = -8


def keep_freed_memory(blocks: int, size: int) -> None:
    """Let this process keep what its heap has ever had.

    Blocks of up to 32 MiB come from the heap then. Setting one of the two alone would stop glibc from raising the
    other as it goes, and every image would be mapped and cleared anew. All threads use one heap: of those that glibc
    makes for threads, each grew for some hundred thousand requests. Other C libraries have no such settings.

    Args:
        blocks: that the heap is to have room for from the start, so that it does not grow bit by bit later.
        size: of each, bytes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
        mallopt(_M_ARENA_MAX, 1)
        for block in [np.empty(size, np.uint8) for _ in range(blocks)]:
            block.fill(0)  # memory that nobody has written to is not there yet
