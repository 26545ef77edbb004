"""Prepares the bare tritonserver of the wheel nvidia-pytriton.

The wheel is made for PyTriton's own Python API. Without that, its Python backend needs to know where the backend and
the stub for this Python are, which libraries to load, and which environment its models see.
"""

import ctypes
import importlib.metadata
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from littlebig_server.errors import InstallationError

OLDEST_GLIBC = (2, 35)


@dataclass(frozen=True)
class LaunchEnvironment:
    """What an installation adds to a tritonserver's launch.

    Attributes:
        arguments: additions to its command line.
        variables: all of its environment variables.
        folder: temporary folder that `remove` deletes after its end; None if there is none.
    """

    arguments: tuple[str, ...]
    variables: Mapping[str, str]
    folder: Path | None

    def remove(self) -> None:
        """Delete the temporary folder, if there is one."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def inherited_environment() -> LaunchEnvironment:
    """The current environment, for a complete installation: a container's or a system's tritonserver."""
    return LaunchEnvironment(arguments=(), variables=dict(os.environ), folder=None)


def prepare_wheel(wheel: Path) -> LaunchEnvironment:
    """Check that the wheel's tritonserver can run here, and create its backend folder.

    Args:
        wheel: the folder of the package `pytriton`.

    Returns:
        The launch environment; the caller removes it after tritonserver's end.

    Raises:
        InstallationError: if glibc is too old, NumPy too new, or the stub or libpython for this Python is missing.
    """
    for check in requirements(wheel).values():
        check()
    stub = _stub(wheel)
    libraries = [str(wheel.parent / "nvidia_pytriton.libs")]
    libpython = libpython_folder()
    if libpython is not None:
        libraries.append(str(libpython))
    folder = Path(tempfile.mkdtemp(prefix="littlebig-triton-"))
    # Triton expects a backend's library and its stub in one folder; the wheel has them in two.
    backend = folder / "python"
    backend.mkdir()
    for part in (*(wheel / "tritonserver" / "backends" / "python").iterdir(), stub):
        (backend / part.name).symlink_to(part)
    return LaunchEnvironment(
        arguments=(f"--backend-directory={folder}",), variables=wheel_variables(os.environ, libraries), folder=folder
    )


def requirements(wheel: Path) -> dict[str, Callable[[], str]]:
    """What the wheel's tritonserver needs of this machine.

    Args:
        wheel: the folder of the package `pytriton`.

    Returns:
        Name -> a check, which returns what was found or raises InstallationError.
    """

    def python() -> str:
        _stub(wheel)
        return sys.version.split()[0]

    def libpython() -> str:
        folder = libpython_folder()
        return f"libpython{_version()}" + (f" in {folder}" if folder else "")

    return {
        "Python": python,
        "libpython": libpython,
        "glibc": lambda: _check_glibc(_glibc_version()),
        "NumPy": lambda: _check_numpy(_numpy_version()),
    }


def wheel_variables(inherited: Mapping[str, str], libraries: list[str]) -> dict[str, str]:
    """Environment variables with which the wheel's tritonserver and its stubs see this interpreter's packages.

    The stub embeds Python, which finds its packages as a `python3` on PATH does, virtual environment included.

    Args:
        inherited: the environment variables to start from.
        libraries: folders to search first for shared libraries.
    """
    changed = dict(inherited)
    changed["LD_LIBRARY_PATH"] = _prepend(libraries, inherited.get("LD_LIBRARY_PATH"))
    changed["PATH"] = _prepend([str(Path(sys.executable).parent)], inherited.get("PATH"))
    changed["VIRTUAL_ENV"] = sys.prefix
    return changed


def libpython_folder() -> Path | None:
    """The folder of this Python's shared library, to which the stub is linked.

    Returns:
        The folder, or None where the dynamic loader finds the library without it.

    Raises:
        InstallationError: if this machine has no such library.
    """
    name = f"libpython{_version()}.so.1.0"
    for place in (sysconfig.get_config_var("LIBDIR"), Path(sys.base_prefix) / "lib"):
        if place and (Path(place) / name).is_file():
            return Path(place)
    try:
        ctypes.CDLL(name)
    except OSError:
        raise InstallationError(
            f"{name} is missing, which Triton's Python backend needs: apt-get install libpython{_version()} (Debian), "
            "or build this Python with --enable-shared (pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared)"
        ) from None
    return None


def _prepend(first: list[str], rest: str | None) -> str:
    # No trailing colon: to the loader that means the current folder.
    return os.pathsep.join([*first, rest] if rest else first)


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _stub(wheel: Path) -> Path:
    stubs = wheel / "tritonserver" / "python_backend_stubs"
    stub = stubs / _version() / "triton_python_backend_stub"
    if not stub.is_file():
        versions = (folder.name for folder in stubs.iterdir()) if stubs.is_dir() else ()
        known = sorted(versions, key=lambda version: [int(part) for part in version.split(".")])
        raise InstallationError(
            f"nvidia-pytriton has no Python backend for Python {_version()}, only for {', '.join(known) or 'none'}: "
            "use one of these, or name a complete installation with --tritonserver"
        )
    return stub


def _glibc_version() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ""


def _check_glibc(version: str) -> str:
    """Return the version; reject a C library that is not glibc, or is older than the one the wheel was built with."""
    words = version.split()
    if len(words) != 2 or tuple(int(part) for part in words[1].split(".")[:2]) < OLDEST_GLIBC:
        raise InstallationError(
            "the tritonserver of nvidia-pytriton needs glibc 2.35 or newer, "
            f"this system has {version or 'another C library'}: "
            "use Debian 12, Ubuntu 22.04 or newer, or NVIDIA's Triton container"
        )
    return words[1]


def _numpy_version() -> str | None:
    """The version that the stub's embedded Python imports; it ignores PYTHONPATH."""
    ignored = {os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder}
    searched = [folder for folder in sys.path if os.path.abspath(folder) not in ignored]
    numpy = next(iter(importlib.metadata.distributions(name="numpy", path=searched)), None)
    return numpy.version if numpy else None


def _check_numpy(version: str | None) -> str:
    """Return the version; reject NumPy 2.

    The stub is built for NumPy 1 and gets empty tensors with 2 (docs/known-issues.md).
    """
    if version is None:
        raise InstallationError("numpy is missing, which Triton's Python backend needs: pip install 'numpy<2'")
    if int(version.split(".")[0]) >= 2:
        raise InstallationError(
            f"NumPy {version} does not work with nvidia-pytriton's Python backend, its models get empty tensors: "
            "pip install 'numpy<2'"
        )
    return version
