"""Writes files atomically."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from littlebig_export.errors import EngineError


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Replace a file in one step; on failure the old one stays as it was.

    Raises:
        EngineError: if the file cannot be written, for example because the disk is full.
    """
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp's 0600 would lock out a server that runs as another user
        Path(temporary).replace(path)
        temporary = None
    except OSError as reason:
        size = f"{len(data) / 1e6:.0f} MB"
        raise EngineError(f"cannot write '{path}' ({size}): {reason.strerror}; what was there is untouched") from reason
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
