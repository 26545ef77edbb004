"""Keeps two processes from writing the same output."""

import fcntl
import os
from pathlib import Path

from littlebig_cli.failures import Failure


def lock(descriptor: int, output: Path) -> None:
    """Lock an open file or folder until it is closed.

    Args:
        descriptor: of what is locked; closed on failure.
        output: what the message names.

    Raises:
        Failure: another process holds the lock, or removed the file while this one waited.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.fstat(descriptor).st_nlink > 0
    except BlockingIOError:
        is_ours = False
    if not is_ours:
        os.close(descriptor)
        raise Failure(f"another process is writing {output}: wait for it, or give another --output")
