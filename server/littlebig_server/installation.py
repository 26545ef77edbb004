"""Finds the tritonserver to run.

The order is: the given path; the one on PATH; the one of NVIDIA's container; the one in the PyPI wheel nvidia-pytriton.
The first three are complete installations and run in the current environment. The wheel's binary is a bare one, for
which wheel.py prepares arguments and environment.
"""

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
        wheel: the folder of the package `pytriton` that holds it; None for a complete installation.
    """

    binary: Path
    wheel: Path | None = None


def find_tritonserver(
    named: Path | None = None, *, path: str | None = None, container: Path = CONTAINER
) -> Installation:
    """Find the tritonserver to run.

    Args:
        named: use this binary and no other.
        path: folders to search, separated by colons; the environment's PATH by default.
        container: the binary's path in NVIDIA's container.

    Raises:
        InstallationError: if the named binary is missing or not executable, or no binary was found.
    """
    wheel = _pytriton_folder()
    bundled = wheel / "tritonserver" / "bin" / "tritonserver" if wheel else None
    if named is not None:
        if not named.is_file():
            raise InstallationError(f"tritonserver '{named}' does not exist: give the path of the executable")
        if not os.access(named, os.X_OK):
            raise InstallationError(f"tritonserver '{named}' cannot be executed: chmod +x it, or give another path")
        # The wheel's binary needs its preparation however it was found.
        is_bundled = bundled is not None and bundled.is_file() and named.samefile(bundled)
        return Installation(named.absolute(), wheel if is_bundled else None)
    on_path = shutil.which("tritonserver", path=path)
    if on_path:
        return Installation(Path(on_path).absolute())
    if os.access(container, os.X_OK):
        return Installation(container)
    if bundled is not None and os.access(bundled, os.X_OK):
        return Installation(bundled, wheel)
    raise InstallationError(
        f"no tritonserver found (on PATH, at {container}, in nvidia-pytriton): pip install 'littlebig[server]', "
        "or name one with --tritonserver"
    )


def _pytriton_folder() -> Path | None:
    """The folder of the package `pytriton`, without importing it: the import installs signal handlers and loggers."""
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent
