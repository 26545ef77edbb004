"""Finds the tritonserver to run.

In this order: the one that was named; the one on PATH; the place in NVIDIA's container; the one that the PyPI wheel
nvidia-pytriton carries. The first three are complete installations and run in the environment they are found in.
The wheel's binary is a bare one: wheel.py puts around it what it needs.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from littlebig_server.errors import InstallationError

CONTAINER = Path("/opt/tritonserver/bin/tritonserver")


@dataclass(frozen=True)
class Installation:
    """A tritonserver on this machine.

    Attributes:
        binary: the executable.
        wheel: the folder of the package `pytriton` that carries it; None if it is a complete installation.
    """

    binary: Path
    wheel: Path | None = None


def find_tritonserver(
    named: Path | None = None, *, path: str | None = None, container: Path = CONTAINER
) -> Installation:
    """Find the tritonserver to run.

    Args:
        named: the binary to take and no other.
        path: folders to search, separated by colons; the environment's PATH by default.
        container: where NVIDIA's container has it.

    Raises:
        InstallationError: if the named one is not there, or none is.
    """
    wheel = _pytriton_folder()
    carried = wheel / "tritonserver" / "bin" / "tritonserver" if wheel else None
    if named is not None:
        if not named.is_file():
            raise InstallationError(f"tritonserver '{named}' does not exist: give the path of the executable")
        if not os.access(named, os.X_OK):
            raise InstallationError(f"tritonserver '{named}' cannot be executed: chmod +x it, or give another path")
        # The wheel's binary needs its surroundings however it was found.
        same = carried is not None and carried.is_file() and named.samefile(carried)
        return Installation(named.absolute(), wheel if same else None)
    on_path = shutil.which("tritonserver", path=path)
    if on_path:
        return Installation(Path(on_path).absolute())
    if os.access(container, os.X_OK):
        return Installation(container)
    if carried is not None and os.access(carried, os.X_OK):
        return Installation(carried, wheel)
    raise InstallationError(
        f"no tritonserver found (on PATH, at {container}, in nvidia-pytriton): pip install 'littlebig[server]', "
        "or name one with --tritonserver"
    )


def _pytriton_folder() -> Path | None:
    """The folder of the package, without importing it: its import changes signal handling and starts loggers."""
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent
